package custody

// Code names one reason for saying no. Codes are stable: they are the last part
// of the problem type that API callers act on.
type Code string

// The codes.
const (
	KeyUnknown    Code = "key-unknown"
	KeyExists     Code = "key-exists"
	KeyTransition Code = "key-transition"
	KeyUnfit      Code = "key-unfit"
	// KeyNotUsable is the code that package unblock refuses with for such a key.
	KeyNotUsable Code = "key-not-usable"

	ProposalUnknown  Code = "proposal-unknown"
	ProposalOwn      Code = "proposal-own"
	ProposalTwice    Code = "proposal-approved-already"
	ProposalHash     Code = "proposal-hash-differs"
	ProposalClosed   Code = "proposal-closed"
	ProposalExpired  Code = "proposal-expired"
	ProposalNotYours Code = "proposal-not-yours"
	ProposalToken    Code = "proposal-other-token"
	ProposalConflict Code = "proposal-conflict"

	HSMUnavailable   Code = "hsm-unavailable"
	StoreUnavailable Code = "store-unavailable"
	AuditUnavailable Code = "audit-unavailable"
)

// Refusal is a no, with its reason. Detail is for the person at the other end;
// the cause, where there is one, is for our own log only.
type Refusal struct {
	Code   Code
	Detail string // a sentence that says what to do
	cause  error
}

func (r *Refusal) Error() string {
	if r.cause != nil {
		return string(r.Code) + ": " + r.Detail + ": " + r.cause.Error()
	}
	return string(r.Code) + ": " + r.Detail
}

// Unwrap gives the internal cause.
func (r *Refusal) Unwrap() error { return r.cause }

// failure tells whether the no comes from a part that did not work rather than
// from a rule.
func (r *Refusal) failure() bool {
	switch r.Code {
	case HSMUnavailable, StoreUnavailable, AuditUnavailable:
		return true
	default:
		return false
	}
}

func refuse(code Code, detail string) *Refusal { return &Refusal{Code: code, Detail: detail} }

func fail(code Code, detail string, cause error) *Refusal {
	return &Refusal{Code: code, Detail: detail, cause: cause}
}
