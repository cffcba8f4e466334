// Package api holds the bodies of Latchkey's HTTP API as Go types, for the
// server and for Go clients. The contract is openapi.yaml in package server;
// the tests hold the two together.
package api

import "time"

// Media types.
const (
	JSON        = "application/json"
	NDJSON      = "application/x-ndjson"
	ProblemJSON = "application/problem+json"
)

// StartUnblock is the body of POST /v1/unblocks.
type StartUnblock struct {
	Card     string `json:"card"` // serial number
	Operator string `json:"operator,omitempty"`
	Reason   string `json:"reason,omitempty"` // policies may demand one
	Ticket   string `json:"ticket,omitempty"` // the help desk's own reference
	// Verification is how the operator made sure of who the holder is: call-back,
	// video, manager, code or document.
	Verification string `json:"verification,omitempty"`
	// Override is a supervisor's reason for going on beyond the card's attempts.
	Override string `json:"override,omitempty"`
}

// Challenge is the body of POST /v1/unblocks/{id}/response.
type Challenge struct {
	Challenge string `json:"challenge"`
	Confirmed bool   `json:"confirmed,omitempty"` // read again after challenge-suspicious
}

// ReadChallenge is the body of POST /v1/unblocks/{id}/read-back.
type ReadChallenge struct {
	Challenge string `json:"challenge"`
}

// ReadBack is a challenge as it was understood, to be read to whoever named it.
type ReadBack struct {
	Challenge string   `json:"challenge"` // upper-case hex
	Grouped   string   `json:"grouped"`   // the same in groups of four
	Spoken    string   `json:"spoken"`    // the same to be read aloud
	Attempts  Attempts `json:"attempts"`
	Warnings  []string `json:"warnings"` // what speaks against answering it
}

// Attempts tells how many responses may still be given out for a card.
type Attempts struct {
	Unconfirmed int  `json:"unconfirmed"`     // given out since one last worked
	Limit       int  `json:"limit,omitempty"` // not there where there is none
	Left        *int `json:"left,omitempty"`
}

// PendingUnblock is a process that waits for a second person's approval, or did.
type PendingUnblock struct {
	Unblock   Unblock `json:"unblock"`
	Statement string  `json:"statement"` // the hash by which it is approved, hex
}

// PendingUnblocks is the answer of GET /v1/approvals.
type PendingUnblocks struct {
	Approvals []PendingUnblock `json:"approvals"`
}

// ApproveUnblock is the body of POST /v1/unblocks/{id}/approve.
type ApproveUnblock struct {
	Statement string `json:"statement"` // as it is shown with the process
	Reason    string `json:"reason"`
}

// RefuseUnblock is the body of POST /v1/unblocks/{id}/refuse.
type RefuseUnblock struct {
	Reason string `json:"reason"`
}

// Respond is the body of POST /v1/cards/{serial}/response.
type Respond struct {
	Operator  string `json:"operator,omitempty"`
	Challenge string `json:"challenge"`
	Confirmed bool   `json:"confirmed,omitempty"` // read again after challenge-suspicious
	Reason    string `json:"reason,omitempty"`    // policies may demand one
	// Ticket, Verification and Override are those of StartUnblock.
	Ticket       string `json:"ticket,omitempty"`
	Verification string `json:"verification,omitempty"`
	Override     string `json:"override,omitempty"`
}

// Response is a response that was given out. It is shown once and never stored.
type Response struct {
	Unblock  string   `json:"unblock"`  // the process's ID
	Response string   `json:"response"` // upper-case hex
	Grouped  string   `json:"grouped"`  // the same in groups of four
	Spoken   string   `json:"spoken"`   // the same to be read aloud
	Attempts Attempts `json:"attempts"`
	Warnings []string `json:"warnings,omitempty"`
	Repeated bool     `json:"repeated,omitempty"` // given out before, under the same idempotency key
	Checks   []string `json:"checks"`             // what was checked, in order
}

// Complete is the body of POST /v1/unblocks/{id}/complete.
type Complete struct {
	Outcome string `json:"outcome"` // pin-changed, failed or unknown
}

// Unblock is an unblock process with its card and holder.
type Unblock struct {
	ID       string `json:"id"`
	State    string `json:"state"`
	Outcome  string `json:"outcome,omitempty"`
	Operator string `json:"operator"`
	Reason   string `json:"reason"`
	// Client is what the operator called through, Delegation how the operator was
	// established. Ticket, Verification and Override are those of the start.
	Client       string `json:"client"`
	Delegation   string `json:"delegation"`
	Ticket       string `json:"ticket,omitempty"`
	Verification string `json:"verification,omitempty"`
	Override     string `json:"override,omitempty"`
	// Approval is the role of the second person who has to approve; Approver and
	// Verdict say who decided, and why.
	Approval  string     `json:"approval,omitempty"`
	Approver  string     `json:"approver,omitempty"`
	Verdict   string     `json:"verdict,omitempty"`
	DecidedAt *time.Time `json:"decided_at,omitempty"`

	StartedAt  time.Time  `json:"started_at"`
	ExpiresAt  time.Time  `json:"expires_at"`
	AnsweredAt *time.Time `json:"answered_at,omitempty"`
	FinishedAt *time.Time `json:"finished_at,omitempty"`
	Card       Card       `json:"card"`
	// ChallengeDigits is how many hex digits the card's challenge has, Attempts how
	// many responses it has left, with Warnings, and Checks what was checked, in
	// order; all only in the answer to the start.
	ChallengeDigits int       `json:"challenge_digits,omitempty"`
	Attempts        *Attempts `json:"attempts,omitempty"`
	Warnings        []string  `json:"warnings,omitempty"`
	Checks          []string  `json:"checks,omitempty"`
}

// Card is a card with its holder.
type Card struct {
	Serial           string `json:"serial"`
	Type             string `json:"type"`
	State            string `json:"state"`
	CUID             string `json:"cuid,omitempty"` // hex
	KDD              string `json:"kdd,omitempty"`  // hex, 10 bytes
	MasterKeyVersion int    `json:"master_key_version,omitempty"`
	// WrappedKey is the card's admin key wrapped under the master key, in hex. The
	// server takes it and never tells it; it tells whether there is one.
	WrappedKey    string    `json:"wrapped_key,omitempty"`
	HasWrappedKey bool      `json:"has_wrapped_key,omitempty"` // set by the server
	Unit          string    `json:"unit,omitempty"`            // the card's own, not its holder's
	Assurance     string    `json:"assurance,omitempty"`       // how sure its issuer was of the holder
	Holder        Holder    `json:"holder"`
	Source        string    `json:"source,omitempty"`   // who confirmed the data last; set by the server
	SyncedAt      time.Time `json:"synced_at,omitzero"` // set by the server
}

// Holder is the person whom a card was issued to.
type Holder struct {
	ID             string   `json:"id"`
	Name           string   `json:"name"`
	Email          string   `json:"email,omitempty"`
	EmployeeNumber string   `json:"employee_number,omitempty"`
	Unit           string   `json:"unit,omitempty"`
	Groups         []string `json:"groups,omitempty"`
	Privileged     bool     `json:"privileged,omitempty"`
	State          string   `json:"state"`
}

// WrappedKey is the wrapped admin key of a card that is registered, a line of a
// bulk import of keys.
type WrappedKey struct {
	Serial           string `json:"serial"`
	WrappedKey       string `json:"wrapped_key"` // hex
	MasterKeyVersion int    `json:"master_key_version,omitempty"`
}

// Cards is a page of a card search. Next is the cursor of the page after, empty
// on the last.
type Cards struct {
	Cards []Card `json:"cards"`
	Next  string `json:"next,omitempty"`
}

// ImportLine is the result of one line of a bulk import.
type ImportLine struct {
	Line    int      `json:"line"` // from 1
	Serial  string   `json:"serial,omitempty"`
	Result  string   `json:"result"` // created, updated, unchanged or refused
	Problem *Problem `json:"problem,omitempty"`
}

// ImportSummary is the last line of a bulk import's answer.
type ImportSummary struct {
	Summary ImportCounts `json:"summary"`
	Sync    *CardSync    `json:"sync,omitempty"` // finished, where the import was a part of one
}

// BeginCardSync is the body of POST /v1/card-syncs.
type BeginCardSync struct {
	SHA256 string `json:"sha256"` // of the whole file, hex
	Lines  int    `json:"lines"`  // that it has, blank ones too
}

// CardSync is a synchronisation of all cards of a source.
type CardSync struct {
	ID     string `json:"id"`
	Source string `json:"source"`
	SHA256 string `json:"sha256"`
	Lines  int    `json:"lines"`
	// Done is how many of the lines are done; the next part begins with the line
	// after. The four others count their results.
	Done       int        `json:"done"`
	Created    int        `json:"created"`
	Updated    int        `json:"updated"`
	Unchanged  int        `json:"unchanged"`
	Refused    int        `json:"refused"`
	StartedAt  time.Time  `json:"started_at"`
	ChangedAt  time.Time  `json:"changed_at"`
	FinishedAt *time.Time `json:"finished_at,omitempty"`
	// NotInSync is how many other cards of the source there are, once it is finished.
	NotInSync int `json:"not_in_sync"`
	// SameAs is the last finished synchronisation of the same file; only in the answer
	// to the beginning.
	SameAs string `json:"same_as,omitempty"`
}

// CardSyncs is a page of synchronisations, the newest first.
type CardSyncs struct {
	CardSyncs []CardSync `json:"card_syncs"`
	Next      string     `json:"next,omitempty"`
}

// ImportCounts counts the lines of a bulk import by result.
type ImportCounts struct {
	Lines     int `json:"lines"`
	Created   int `json:"created"`
	Updated   int `json:"updated"`
	Unchanged int `json:"unchanged"`
	Refused   int `json:"refused"`
}

// CardType is a kind of card with the use case's switches, and those of self-service.
// States that are not in them are off.
type CardType struct {
	ID            string          `json:"id"`
	Name          string          `json:"name"`
	Profile       string          `json:"profile"`
	UnblockRemote map[string]bool `json:"unblock_remote"`
	UnblockSelf   map[string]bool `json:"unblock_self,omitempty"`
	UpdatedBy     string          `json:"updated_by,omitempty"` // set by the server
	UpdatedAt     time.Time       `json:"updated_at,omitzero"`  // set by the server
}

// CardTypes lists the card types.
type CardTypes struct {
	CardTypes []CardType `json:"card_types"`
}

// Operator is what is registered of a person.
type Operator struct {
	ID             string         `json:"id"`
	Name           string         `json:"name"`
	Roles          []string       `json:"roles"`
	Groups         []string       `json:"groups,omitempty"`
	Unit           string         `json:"unit,omitempty"`
	Email          string         `json:"email,omitempty"`
	EmployeeNumber string         `json:"employee_number,omitempty"`
	Token          *OperatorToken `json:"token,omitempty"`
	State          string         `json:"state"`                // active or inactive
	UpdatedBy      string         `json:"updated_by,omitempty"` // set by the server
	UpdatedAt      time.Time      `json:"updated_at,omitzero"`  // set by the server
}

// OperatorToken says whose tokens are an operator's: the provider's issuer and
// its name for the person.
type OperatorToken struct {
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
}

// Operators is one page of operators. Next is empty on the last one.
type Operators struct {
	Operators []Operator `json:"operators"`
	Next      string     `json:"next,omitempty"`
}

// Health is the body of /healthz and /readyz. Checks holds "ok" or "unavailable"
// for each part that was asked; what is wrong with it is in the server's log.
type Health struct {
	Status  string            `json:"status"`            // ok or unavailable
	Version string            `json:"version,omitempty"` // told to known clients only
	Checks  map[string]string `json:"checks,omitempty"`
}

// ProblemKind is the body of /problems/{code}: what a problem code means and what
// the caller can do about it.
type ProblemKind struct {
	Type   string `json:"type"`
	Code   string `json:"code"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Remedy string `json:"remedy"`
}

// Problem is an RFC 9457 problem document. Type is /problems/ and Code; both are
// stable, the texts are not.
type Problem struct {
	Type     string  `json:"type"`
	Title    string  `json:"title"`
	Status   int     `json:"status"`
	Detail   string  `json:"detail,omitempty"`
	Instance string  `json:"instance,omitempty"` // urn:request: and the request ID
	Code     string  `json:"code"`
	Check    string  `json:"check,omitempty"`   // the check that refused
	Process  string  `json:"process,omitempty"` // with card-busy: the caller's own process
	Faults   []Fault `json:"faults,omitempty"`  // with invalid-request: every fault
}

// Fault is one thing wrong with a request's body.
type Fault struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

func (p *Problem) Error() string {
	text := p.Code + ": " + p.Detail
	for i, f := range p.Faults {
		if i > 0 {
			text += ";"
		}
		text += " " + f.Field + ": " + f.Detail
	}
	return text
}
