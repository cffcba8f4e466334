package unblock

import (
	"slices"
	"time"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/identity"
	"latchkey/policy"
)

// State is where an unblock process stands.
type State string

// The states. A process starts at once, or waits for approval first where policy
// asks for it; it is answered, then completed or failed by the outcome that is
// reported. It can be cancelled until it is finished. While it waits for an
// approval or a challenge it expires by itself; an outcome may come late.
const (
	Waiting   State = "waiting"   // every check passed but for a second person's approval
	Started   State = "started"   // every check passed; waits for the challenge
	Answered  State = "answered"  // a response was given out
	Completed State = "completed" // the holder has a new PIN, or nobody knows
	Failed    State = "failed"    // the card did not accept the response
	Cancelled State = "cancelled"
	Refused   State = "refused" // the approval was
	Expired   State = "expired" // seen by the clock, not written down
)

// moves lists, for each state, the states that a process may go to from it: the
// whole life of a process. The empty state is before the process. The store holds
// to the same table.
func moves() map[State][]State {
	return map[State][]State{
		"":        {Waiting, Started, Answered},
		Waiting:   {Started, Refused, Cancelled, Expired},
		Started:   {Answered, Cancelled, Expired},
		Answered:  {Completed, Failed, Cancelled},
		Completed: nil, Failed: nil, Cancelled: nil, Refused: nil, Expired: nil,
	}
}

// States lists all states, in the order of a process's life.
func States() []State {
	return []State{Waiting, Started, Answered, Completed, Failed, Cancelled, Refused, Expired}
}

// May tells whether a process may go from the state to another. From the empty
// state it may be made.
func (s State) May(to State) bool { return slices.Contains(moves()[s], to) }

// Outcome is what became of an answered process.
type Outcome string

// The outcomes.
const (
	PINChanged     Outcome = audit.PINChanged
	OutcomeFailed  Outcome = "failed"
	OutcomeUnknown Outcome = "unknown"
)

// Outcomes lists all outcomes.
func Outcomes() []Outcome { return []Outcome{PINChanged, OutcomeFailed, OutcomeUnknown} }

// Process is one attempt to unblock one card.
type Process struct {
	ID       string
	State    State
	Outcome  Outcome // set once completed or failed
	Card     string  // serial
	Client   string  // who started it, and alone may go on with it
	Operator string
	// Means is how the operator was established. One who was authenticated himself
	// has to be so again to go on.
	Means        identity.Means
	Reason       string
	Ticket       string
	Verification policy.Verification
	Override     string // a supervisor's reason for going on beyond the card's attempts

	// Approval is the role of the second person whom policy asks for, empty where
	// it asks for none. Approver is who approved or refused, Verdict their reason,
	// Approved the hash of the statement that they approved.
	Approval  identity.Role
	Approver  *identity.Person
	Verdict   string
	Approved  string
	DecidedAt time.Time // zero until approved or refused

	// Challenge is the one that was answered, in hex.
	Challenge string
	// Begun and Given are the idempotency keys of the calls that started and that
	// answered the process; see Once.
	Begun, Given Once

	StartedAt  time.Time
	ExpiresAt  time.Time // while it waits: for approval, then for the challenge
	AnsweredAt time.Time // zero until answered
	FinishedAt time.Time // zero until completed, failed, refused or cancelled

	// Revision counts the writes, from 1: a write names the revision it was
	// made from, and is refused if another came in between.
	Revision int64
}

// ClocksDiffer is by how much the clocks of nodes, or one clock before and after it is
// set, may differ without that anything is made of it.
const ClocksDiffer = 5 * time.Minute

// late tells whether the process's time is over. It is, too, for one that begins in
// the future: a clock was wrong then or is now, and the process would last until that
// time has come.
func (p Process) late(now time.Time) bool {
	return !now.Before(p.ExpiresAt) || p.StartedAt.After(now.Add(ClocksDiffer))
}

// at is the state at a moment: a process that nobody approved or answered in time
// has expired, whether or not that was written down.
func (p Process) at(now time.Time) State {
	if (p.State == Waiting || p.State == Started) && p.late(now) {
		return Expired
	}
	return p.State
}

// Holds tells whether the process keeps an operator from starting another on its
// card: while it waits, and while another operator's answer is fresh and nobody
// knows what became of it.
func (p Process) Holds(operator string, now time.Time) bool {
	switch p.at(now) {
	case Waiting, Started:
		return true
	case Answered:
		return p.Operator != operator && !p.late(now)
	default:
		return false
	}
}

// Statement is the hash of what a second person is asked to approve: hex of the
// SHA-256 of who asks for what, on what grounds and beyond what limit, and of whose card
// it is, as netstrings. It is computed from the process and its card as they stand, so
// that an approval of anything else is none.
func (p Process) Statement(c card.Card) string {
	return digest("latchkey unblock approval 1", p.ID, p.Card, p.Client, p.Operator, string(p.Means), p.Reason, p.Ticket,
		string(p.Verification), p.Override, string(p.Approval), p.StartedAt.UTC().Truncate(time.Microsecond).Format(time.RFC3339Nano),
		c.Type, c.Holder.ID, c.Holder.Name, c.Holder.Email, c.Holder.EmployeeNumber)
}

// Once is an idempotency key with what was asked under it, both as hashes in hex;
// empty where the caller gave no key. The key's hash has the owner and the kind of
// call in it, so that nobody's key is another's.
type Once struct{ Key, Content string }
