package unblock

import (
	"context"
	"errors"
	"time"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/policy"
)

// Errors that a Ledger gives back and this package acts on.
var (
	// ErrConflict says that the process was changed by somebody else meanwhile.
	ErrConflict = errors.New("the process was changed meanwhile")
	// ErrOnce says that the idempotency key belongs to another process.
	ErrOnce = errors.New("the idempotency key was used before")
	// ErrBusy says that another process is under way for the card.
	ErrBusy = errors.New("another process is under way for the card")
	// ErrChallenge says that the card's challenge was answered before.
	ErrChallenge = errors.New("the challenge was answered before")
	// ErrRate says that an account has no room for the decision.
	ErrRate = errors.New("a limit of rate is reached")
	// ErrAttempts says that the card's unconfirmed responses have reached the limit.
	ErrAttempts = errors.New("the card has no attempt left to give")
	// ErrCardSource says that the source which knows the card could not be asked, or
	// did not answer in a way that can be trusted. Cards gives it, not a Ledger.
	ErrCardSource = errors.New("the source of card data cannot be asked")
	// ErrGrounds says that what the checks were passed on was changed by somebody
	// else meanwhile.
	ErrGrounds = errors.New("the card, its type, its count or its master key was changed meanwhile")
)

// Cards finds card data. It gives card.ErrNotFound for what is not there, and
// ErrCardSource where that is not known.
type Cards interface {
	Card(ctx context.Context, serial string) (card.Card, error)
	CardType(ctx context.Context, id string) (card.Type, error)
	// Dossier tells all that is known of a card, as it was at one moment.
	Dossier(ctx context.Context, q Question) (Dossier, error)
}

// Question asks for a card's dossier.
type Question struct {
	Card string // serial
	// Challenge, in hex and empty for none, is looked for among those that were answered
	// for the card in other processes than Process.
	Challenge, Process string
}

// Dossier is all that the checks of an answer ask of a card, read at one moment: what a
// caller waits for is one look-up.
type Dossier struct {
	Card     card.Card
	Type     card.Type // its zero value where the card's type is not registered
	Standing Standing
	// Answered tells that the challenge was answered before.
	Answered bool
}

// Profiles finds card profiles. It gives card.ErrNotFound for what is not there.
type Profiles interface {
	Profile(id string) (card.Profile, error)
}

// Operators finds operators. It gives card.ErrNotFound for what is not there, and
// identity.ErrInactive for somebody who may do nothing.
type Operators interface {
	Operator(ctx context.Context, id string) (policy.Operator, error)
}

// Policy decides whether an operator may unblock a card, and know of it at all.
type Policy interface {
	Decide(ctx context.Context, r policy.Request) (policy.Decision, error)
	View(ctx context.Context, r policy.ViewRequest) (policy.Decision, error)
}

// Keys knows in which state of their life master keys are.
type Keys interface {
	// Usable says why cards of a master key version cannot be unblocked, as in "is
	// suspended", or "" where they can.
	Usable(ctx context.Context, key string, version int) (why string, err error)
}

// HSM derives a card admin key and encrypts the challenge with it.
type HSM interface {
	Respond(ctx context.Context, key card.AdminKey, alg card.Algorithm, challenge card.Challenge) (card.Response, error)
}

// Change is one durable write: a process as it is to be, with the audit entry
// that tells of it. Both are on disk when Apply returns nil, or neither is. The
// entry's time is the moment of the write.
type Change struct {
	Process Process
	// From is the revision that Process was made from, 0 for a new process. A new
	// one, and one that is answered, has to find its card free; see Process.Holds.
	From int64
	// Repeat tells that nothing changes and a response is given out once more: the
	// process has to be at the revision From, which is its own.
	Repeat bool
	// Answer tells that this change gives out a response: the card's count of
	// unconfirmed responses goes up by one, unless it has reached
	// MaxUnconfirmed (0: no limit), which is ErrAttempts.
	Answer         bool
	MaxUnconfirmed int
	// Again allows an answer to a challenge that was answered before for the card.
	Again bool
	// Grounds is what the checks of an answer were passed on. Where it no longer
	// stands, the change is refused with ErrGrounds.
	Grounds *Grounds
	// Confirm tells that the card took the process's response: it and those given
	// out before it count no longer, those given out after it still do.
	Confirm bool
	// Charges are the accounts that the decision is on. Where one has no room the
	// change is refused with ErrRate.
	Charges []Charge
	Entry   audit.Entry
	// Decided is what policies were asked for the entry and what they said, which is kept
	// with it; nil for nothing.
	Decided *policy.Decided
}

// Grounds is what an answer rests on and others may change while the HSM works: a
// card that is revoked, or a key that is suspended, in that time gets no answer.
type Grounds struct {
	Card card.Card // as it was read; SyncedAt aside
	Type card.Type // as it was read
	// Master and Version are the master key, which must not be in a state in which
	// it does not answer.
	Master  string
	Version int
	// Counted tells that policies were asked about Unconfirmed, the card's count, which
	// has to be the same still.
	Counted     bool
	Unconfirmed int
}

// Standing is what is known of a card's processes.
type Standing struct {
	// Unconfirmed counts the responses given out for the card since one last worked.
	Unconfirmed int
	// Latest is the process that was begun last, its zero value where none was: its
	// ID and state, whose it is, and when it started and expires.
	Latest Process
}

// Ledger keeps processes, accounts and the audit log. It gives card.ErrNotFound for
// a process that is not there.
type Ledger interface {
	// Apply makes the change durable. It gives one of this package's errors, with
	// nothing changed, where the change does not fit what is stored.
	Apply(ctx context.Context, c Change) error
	// Deny makes a refusal's audit entry durable, with what policies were asked for it,
	// nil for nothing. The accounts that have room are charged.
	Deny(ctx context.Context, e audit.Entry, charges []Charge, decided *policy.Decided) error
	Process(ctx context.Context, id string) (Process, error)
	// ProcessOf finds the process that was started or answered under an idempotency
	// key, by Once.Key.
	ProcessOf(ctx context.Context, key string) (Process, error)
	// WaitingProcesses lists the processes that wait for approval at the moment, the
	// oldest first, a few hundred at most.
	WaitingProcesses(ctx context.Context, now time.Time) ([]Process, error)
	Standing(ctx context.Context, serial string) (Standing, error)
	// OpenProcesses lists the card's processes that are under way, and those answered
	// without an outcome whose responses still count; the oldest first, a few dozen at most.
	OpenProcesses(ctx context.Context, serial string, now time.Time) ([]Process, error)
	// Arrivals tells how accounts stand, by key; those without one are left out.
	Arrivals(ctx context.Context, keys ...string) (map[string]time.Time, error)
}
