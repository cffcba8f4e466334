package dualcontrol

// Code names one reason for saying no. Codes are stable: they are the last part
// of the problem type that API callers act on. The rooms add their own.
type Code string

// The codes.
const (
	ProposalUnknown  Code = "proposal-unknown"
	ProposalOwn      Code = "proposal-own"
	ProposalTwice    Code = "proposal-approved-already"
	ProposalHash     Code = "proposal-hash-differs"
	ProposalClosed   Code = "proposal-closed"
	ProposalExpired  Code = "proposal-expired"
	ProposalNotYours Code = "proposal-not-yours"
	ProposalConflict Code = "proposal-conflict"

	StoreUnavailable Code = "store-unavailable"
	AuditUnavailable Code = "audit-unavailable"
)

// Refusal is a no, with its reason. Detail is for the person at the other end;
// the cause, where there is one, is for our own log only.
type Refusal struct {
	Code   Code
	Detail string // a sentence that says what to do
	cause  error
	failed bool
}

func (r *Refusal) Error() string {
	if r.cause != nil {
		return string(r.Code) + ": " + r.Detail + ": " + r.cause.Error()
	}
	return string(r.Code) + ": " + r.Detail
}

// Unwrap gives the internal cause.
func (r *Refusal) Unwrap() error { return r.cause }

// Refuse says no by a rule.
func Refuse(code Code, detail string) *Refusal { return &Refusal{Code: code, Detail: detail} }

// Fail says no because a part did not work.
func Fail(code Code, detail string, cause error) *Refusal {
	return &Refusal{Code: code, Detail: detail, cause: cause, failed: true}
}
