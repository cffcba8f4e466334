package unblock

import "time"

// State is where an unblock process stands.
type State string

// The states. A process is started, then answered, then completed or failed by
// the outcome that is reported. It can be cancelled until it is finished, and it
// expires by itself while it waits for a challenge; an outcome may come late.
const (
	Started   State = "started"   // every check passed; waits for the challenge
	Answered  State = "answered"  // a response was given out
	Completed State = "completed" // the holder has a new PIN, or nobody knows
	Failed    State = "failed"    // the card did not accept the response
	Cancelled State = "cancelled"
	Expired   State = "expired"
)

// Outcome is what became of an answered process.
type Outcome string

// The outcomes.
const (
	PINChanged     Outcome = "pin-changed"
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
	Reason   string

	StartedAt  time.Time
	ExpiresAt  time.Time
	AnsweredAt time.Time // zero until answered
	FinishedAt time.Time // zero until completed, failed or cancelled

	// Revision counts the writes, from 1: a write names the revision it was
	// made from, and is refused if another came in between.
	Revision int64
}

// at is the state at a moment: a process that nobody answered in time has
// expired, whether or not that was written down.
func (p Process) at(now time.Time) State {
	if p.State == Started && !now.Before(p.ExpiresAt) {
		return Expired
	}
	return p.State
}
