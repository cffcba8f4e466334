package custody

import (
	"slices"
	"time"

	"latchkey/card"
	"latchkey/hsm"
)

// State is where a master key version stands in its life, by NIST SP 800-57 part 1
// revision 5, section 7.
type State string

// The states.
const (
	// PreActive is a key that was made and is not used yet: its check value can be
	// compared first.
	PreActive State = "pre-active"
	// Active is a key that is used, for cards that exist and for new ones.
	Active State = "active"
	// Suspended is a key that answers nothing until it is looked into.
	Suspended State = "suspended"
	// Deactivated is a key that gets no new cards. It still answers for its own:
	// what was protected with a key may be processed after it went out of use.
	Deactivated State = "deactivated"
	// Compromised is a key that somebody else may know. It answers nothing, for
	// good, and its cards have to be issued anew.
	Compromised State = "compromised"
	// Destroyed is a key that is no longer in the token.
	Destroyed State = "destroyed"
)

// States lists all states.
func States() []State {
	return []State{PreActive, Active, Suspended, Deactivated, Compromised, Destroyed}
}

// Answers tells whether cards whose admin key comes from a key in this state can
// be unblocked.
func (s State) Answers() bool { return s == Active || s == Deactivated }

// TakesCards tells whether a key in this state may be written down for a card
// that is registered for the first time.
func (s State) TakesCards() bool { return s == Active }

// move is what an act does to a key's state.
type move struct {
	from []State // nil where there must be no key yet
	to   State   // "" where it stays as it is
}

// moves is the table of transitions. It is narrower than the standard's: an active
// key is never destroyed at once, since all its cards would go with it.
func moves() map[Act]move {
	return map[Act]move{
		Generate:           {nil, PreActive},
		GenerateWithBackup: {nil, PreActive},
		ImportWrapped:      {nil, PreActive},
		ImportUnder:        {nil, PreActive},
		Activate:           {[]State{PreActive}, Active},
		Suspend:            {[]State{Active}, Suspended},
		Resume:             {[]State{Suspended}, Active},
		Deactivate:         {[]State{Active, Suspended}, Deactivated},
		MarkCompromised:    {[]State{PreActive, Active, Suspended, Deactivated}, Compromised},
		Destroy:            {[]State{PreActive, Deactivated, Compromised}, Destroyed},
		MakeCurrent:        {[]State{Active}, ""},
	}
}

// From lists the states in which a key may be for the act; none where the act
// makes a key.
func (a Act) From() []State { return slices.Clone(moves()[a].from) }

// To is the state that the act leaves the key in, "" where that does not change.
func (a Act) To() State { return moves()[a].to }

// Record is what the ledger holds of one master key version.
type Record struct {
	Key     string // label
	Version int
	State   State
	// What the token said of the key when it was made or first registered; the
	// check values are empty where that is not known.
	Type card.KeyType
	Use  hsm.Use
	KCV  []hsm.KCV

	// Proposal is the ID of the proposal that led to the state, ChangedAt when.
	Proposal  string
	CreatedAt time.Time
	ChangedAt time.Time

	// Revision counts the writes, from 1.
	Revision int64
}
