package dualcontrol

import (
	"context"
	"errors"
	"time"

	"latchkey/audit"
	"latchkey/identity"
)

// ErrConflict says that a Change does not fit what is stored: somebody else
// changed the proposal, or what it is about, meanwhile.
var ErrConflict = errors.New("the proposal or what it is about was changed meanwhile")

// ErrQuery says that a cursor is not one that came with a page.
var ErrQuery = errors.New("the cursor is not one that came with a page; start again without it")

// Officer is who calls, as the server authenticated it. That the caller has the
// role is the server's to check.
type Officer struct {
	Client string // the authenticated client's name
	// Person is the ID of the person behind it, and Means how that was established;
	// empty where nobody knows.
	Person    string
	Means     identity.Means
	Address   string
	RequestID string
}

// Entry begins the audit entry of what the officer does.
func (w Officer) Entry(now time.Time, action audit.Action) audit.Entry {
	return audit.Entry{
		Time: now, Action: action, Client: w.Client, Operator: w.Person, Delegation: string(w.Means),
		Address: w.Address, RequestID: w.RequestID,
	}
}

// Change is one durable write: what it names is stored with its audit entries, or
// nothing is. Effect is what a room's own records become.
type Change[E any] struct {
	// Proposal as it is to be, made from revision From, 0 for a new one; nil where
	// no proposal changes.
	Proposal *Proposal
	From     int64
	Effect   *E // nil for none
	Entries  []audit.Entry
}

// Query asks for proposals.
type Query struct {
	Kind  Kind
	State State     // only those in this state, "" for all
	At    time.Time // the moment at which an open one counts as expired
	Limit int       // the most to give
	After string    // the cursor that came with the page before, or ""
}

// Book keeps proposals, and the audit log.
type Book interface {
	// Append makes a lone audit entry durable.
	Append(ctx context.Context, e audit.Entry) error
	// Proposal finds a proposal of the kind, or gives card.ErrNotFound.
	Proposal(ctx context.Context, kind Kind, id string) (Proposal, error)
	// Proposals gives a page of the proposals, the newest first, and the cursor of
	// the page after, "" on the last.
	Proposals(ctx context.Context, q Query) (page []Proposal, next string, err error)
}

// Room is what stands under dual control, and knows what its proposals are about.
type Room[E any] interface {
	// Describe says in words what is proposed and writes into the entry what it is
	// about. It gives an error for a statement that is none of the room's.
	Describe(p Proposal, e *audit.Entry) (words string, err error)
	// Prepare looks whether it can be done as things are, and says what it comes to.
	Prepare(ctx context.Context, p Proposal, now time.Time) (Step[E], *Refusal)
}

// Step is what carrying out a proposal comes to.
type Step[E any] struct {
	// Effect is kept together with the last approval; nil for none.
	Effect *E
	// Begun tells that this is only the beginning: the proposal is then Executing, and
	// the room carries it out and writes down what came of it.
	Begun bool
}

// Actions are what the steps of a kind of proposal are called in the audit log.
type Actions struct{ Propose, Approve, Reject, Withdraw, Execute audit.Action }
