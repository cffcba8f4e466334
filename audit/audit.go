// Package audit says what goes into the log that auditors read: one Entry for
// every decision. An entry holds who asked, on whose behalf, about which card,
// what was decided and by what; it never holds a response, a PIN or key bytes.
//
// The entries are written by package store in the same durable write as the
// change that they tell of, so that neither can exist without the other.
//
// The log is a Merkle tree (RFC 6962) with an entry's JSON as a leaf. Checkpoints
// are signed statements on it (C2SP tlog-checkpoint). Export writes the log with
// both as JSON lines, and Verify finds in such an export any change, cut, swap or
// insertion, with nothing but the public key that signs the checkpoints.
package audit

import "time"

// Outcome is how a decision went.
type Outcome string

// The outcomes.
const (
	Permit  Outcome = "permit"  // every check passed, and it was done
	Deny    Outcome = "deny"    // a check said no
	Failure Outcome = "failure" // a part that was needed did not work
)

// Action is what was asked for.
type Action string

// The actions.
const (
	UnblockStart    Action = "unblock.start"
	UnblockRespond  Action = "unblock.respond"
	UnblockComplete Action = "unblock.complete"
	UnblockCancel   Action = "unblock.cancel"
	UnblockApprove  Action = "unblock.approve" // a second person lets a process go on
	UnblockRefuse   Action = "unblock.refuse"  // a second person ends it
	CardPut         Action = "card.put"

	// The same of holders who unblock their own cards, Unblock PIN offline.
	SelfStart    Action = "self-unblock.start"
	SelfRespond  Action = "self-unblock.respond"
	SelfComplete Action = "self-unblock.complete"
	SelfCancel   Action = "self-unblock.cancel"

	CardKeyPut  Action = "card.key-put"
	CardTypePut Action = "card-type.put"
	OperatorPut Action = "operator.put"

	KeyPropose   Action = "key.propose"
	KeyApprove   Action = "key.approve"
	KeyReject    Action = "key.reject"
	KeyWithdraw  Action = "key.withdraw"
	KeyExecute   Action = "key.execute"   // what was approved is done, or could not be
	KeyTransport Action = "key.transport" // the token's transport key was made or shown

	PolicyPropose  Action = "policy.propose"
	PolicyApprove  Action = "policy.approve"
	PolicyReject   Action = "policy.reject"
	PolicyWithdraw Action = "policy.withdraw"
	PolicyActivate Action = "policy.activate" // other operator policies decide from then on, or could not be made to

	// Stays in the console.
	SessionBegin  Action = "session.begin"
	SessionRefuse Action = "session.refused" // somebody did not get in
	SessionEnd    Action = "session.end"

	// The log's own acts.
	AuditExport Action = "audit.export" // somebody read the log
	AuditPrune  Action = "audit.prune"  // bodies of old entries were taken away
	AuditKey    Action = "audit.key"    // checkpoints are signed by another key from here on

	// NotifyGiveUp is a notification that could not be delivered and is not tried again.
	NotifyGiveUp Action = "notify.give-up"

	// AccessRefused is a caller who was turned away at the door: not known, with a bad
	// token, or without a role that may.
	AccessRefused Action = "access.refused"
)

// Repetition is the Detail of a response that was given out before, to the same call.
const Repetition = "repetition of a response that was given out before"

// PINChanged is the Detail of a completion by which the card has a new PIN.
const PINChanged = "pin-changed"

// Entry is one decision. Fields that do not apply are empty.
type Entry struct {
	Sequence int64     `json:"sequence"` // given by the log, from 1
	Time     time.Time `json:"time"`
	Action   Action    `json:"action"`
	Outcome  Outcome   `json:"outcome"`
	// Check and Code say which check refused and with which problem code.
	Check string `json:"check,omitempty"`
	Code  string `json:"code,omitempty"`
	// Client is the authenticated caller, Operator the person on whose behalf it
	// called, Delegation how the operator was established.
	Client     string `json:"client"`
	Operator   string `json:"operator,omitempty"`
	Delegation string `json:"delegation,omitempty"`
	Address    string `json:"address,omitempty"`
	RequestID  string `json:"request_id,omitempty"`
	Process    string `json:"process,omitempty"`
	Card       string `json:"card,omitempty"`
	CardType   string `json:"card_type,omitempty"`
	Profile    string `json:"profile,omitempty"`
	MasterKey  string `json:"master_key,omitempty"`
	KeyVersion int    `json:"key_version,omitempty"`
	// Subject is the ID of the operator whose record an administrator changed.
	Subject string `json:"subject,omitempty"`
	// Proposal is the ID of the proposal that an officer acted on, ProposalHash the
	// hash of what it says.
	Proposal     string `json:"proposal,omitempty"`
	ProposalHash string `json:"proposal_hash,omitempty"`
	// Policies are the IDs of the policies that decided, PolicyVersion the
	// fingerprint of the policy set that they are in.
	Policies      []string `json:"policies,omitempty"`
	PolicyVersion string   `json:"policy_version,omitempty"`
	Challenge     string   `json:"challenge,omitempty"`
	Reason        string   `json:"reason,omitempty"`
	// Ticket is the help desk's reference, Verification how the operator made sure
	// of the holder, Override a supervisor's reason for going on beyond the card's
	// limit of attempts, Approver the second person who approved.
	Ticket       string `json:"ticket,omitempty"`
	Verification string `json:"verification,omitempty"`
	Override     string `json:"override,omitempty"`
	Approver     string `json:"approver,omitempty"`
	Detail       string `json:"detail,omitempty"`
	// Pruned is the number of the last entry whose body was taken away.
	Pruned int64 `json:"pruned,omitempty"`
	// LatencyMicros is the time in microseconds from the request to the moment
	// the entry was handed to the log.
	LatencyMicros int64 `json:"latency_us,omitempty"`
}
