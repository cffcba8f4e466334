package unblock

import "errors"

import "time"

// Code names one reason for saying no. Codes are stable: they are the last part
// of the problem type that API callers act on.
type Code string

// The codes, in the order of the checks.
const (
	CallerUnknown     Code = "caller-unknown"
	OperatorRequired  Code = "operator-required"
	OperatorMismatch  Code = "operator-mismatch"
	DelegationRefused Code = "delegation-refused"
	OperatorUnknown   Code = "operator-unknown"
	OperatorInactive  Code = "operator-inactive"
	SelfServiceOff    Code = "self-service-off"
	SecondFactor      Code = "second-factor-required"
	CardUnknown       Code = "card-unknown"
	CardNotActive     Code = "card-not-active"
	HolderNotActive   Code = "holder-not-active"
	UseCaseOff        Code = "use-case-off"
	CardDataStale     Code = "card-data-stale"
	CardDataMissing   Code = "card-data-missing"
	PolicyDenied      Code = "policy-denied"
	AttemptsExhausted Code = "attempts-exhausted"
	KeyNotUsable      Code = "key-not-usable"

	ChallengeNotHex    Code = "challenge-not-hex"
	ChallengeAmbiguous Code = "challenge-ambiguous"
	ChallengeLength    Code = "challenge-length"

	HSMUnavailable   Code = "hsm-unavailable"
	HSMRefused       Code = "hsm-refused"
	AuditUnavailable Code = "audit-unavailable"
	StoreUnavailable Code = "store-unavailable"
	// CardSourceUnavailable is a Cards that gave ErrCardSource.
	CardSourceUnavailable Code = "card-source-unavailable"
	PolicyFailed          Code = "policy-failed"
	ProfileUnusable       Code = "profile-unusable"

	// RateLimited comes from the limits that all nodes share.
	RateLimited          Code = "rate-limited"
	CardBusy             Code = "card-busy"
	OverrideForbidden    Code = "override-forbidden"
	ChallengeSuspicious  Code = "challenge-suspicious"
	IdempotencyKeyReused Code = "idempotency-key-reused"

	ApprovalRequired  Code = "approval-required"
	ApprovalForbidden Code = "approval-forbidden"
	ApprovalOwn       Code = "approval-own"
	ApprovalHash      Code = "approval-hash"

	ProcessUnknown     Code = "process-unknown"
	ProcessAnswered    Code = "process-answered"
	ProcessNotAnswered Code = "process-not-answered"
	ProcessFinished    Code = "process-finished"
	ProcessCancelled   Code = "process-cancelled"
	ProcessExpired     Code = "process-expired"
	ProcessConflict    Code = "process-conflict"
	ProcessWaiting     Code = "process-waiting"
	ProcessNotWaiting  Code = "process-not-waiting"
	ProcessRefused     Code = "process-refused"
)

// Refusal is a no, with its reason. Detail is for the person at the other end;
// the cause, where there is one, is for our own log only.
type Refusal struct {
	Code   Code
	Check  Check  // the check that refused, empty outside the order of checks
	Detail string // a sentence that says what to do
	// Says tells apart the sentences that one code has, empty for the usual one, and
	// Facts are the particulars in Detail by name: for whoever puts them into another
	// language.
	Says  string
	Facts Facts
	// Process is the ID of the caller's own process that stands in the way, with
	// CardBusy.
	Process string
	// RetryAfter is how long to wait before the next try, with RateLimited.
	RetryAfter time.Duration
	cause      error
}

// Facts are the particulars of a refusal by name: strings, numbers, times and
// durations.
type Facts map[string]any

func (r *Refusal) Error() string {
	if r.cause != nil {
		return string(r.Code) + ": " + r.Detail + ": " + r.cause.Error()
	}
	return string(r.Code) + ": " + r.Detail
}

// Unwrap gives the internal cause.
func (r *Refusal) Unwrap() error { return r.cause }

// failure tells whether the no comes from a part that did not work rather than
// from a check that did.
func (r *Refusal) failure() bool {
	switch r.Code {
	case HSMUnavailable, HSMRefused, AuditUnavailable, StoreUnavailable, CardSourceUnavailable, PolicyFailed, ProfileUnusable:
		return true
	default:
		return false
	}
}

// Unavailable is the refusal of a room above that asked the store by itself and
// got no answer; the cause is for our own log.
func Unavailable(detail string, cause error) *Refusal { return fail(StoreUnavailable, detail, cause) }

// CardUnread is the refusal where Cards could not find out about a card.
func CardUnread(cause error) *Refusal {
	if errors.Is(cause, ErrCardSource) {
		return fail(CardSourceUnavailable, "The card's data could not be looked up where it comes from. Try again later.", cause)
	}
	return fail(StoreUnavailable, "The card could not be looked up. Try again later.", cause)
}

func refuse(code Code, detail string) *Refusal { return &Refusal{Code: code, Detail: detail} }

// of gives the refusal the particulars of its usual sentence.
func (r *Refusal) of(facts Facts) *Refusal { return r.saying("", facts) }

// saying gives the refusal the name of its sentence and its particulars.
func (r *Refusal) saying(which string, facts Facts) *Refusal {
	r.Says, r.Facts = which, facts
	return r
}

func fail(code Code, detail string, cause error) *Refusal {
	return &Refusal{Code: code, Detail: detail, cause: cause}
}
