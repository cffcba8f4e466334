package dualcontrol

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Kind says which room a proposal is of.
type Kind string

// The kinds.
const (
	Keys     Kind = "key"
	Policies Kind = "policy"
)

// Header is what every statement holds, of whatever kind.
type Header struct {
	ID string `json:"id"`
	// Proposer is the name of the client that proposed, Person the ID of the person
	// behind it, "" where that is not known.
	Proposer string `json:"proposer"`
	Person   string `json:"person,omitempty"`
	// Approvals is how many officers besides the proposer have to approve.
	Approvals int       `json:"approvals"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Canonical is a statement, or anything else of which encoding/json knows how to
// write it, in the one form that RFC 8785 allows. What cannot be written is a mistake
// in the program.
func Canonical(statement any) string {
	text, err := json.Marshal(statement)
	canonical := jsontext.Value(text)
	if err == nil {
		err = canonical.Canonicalize()
	}
	if err != nil {
		panic(fmt.Sprintf("dual control: a statement is always JSON: %v", err)) // strings, whole numbers and times of four-digit years
	}
	return string(canonical)
}

// Hash is SHA-256 over the UTF-8 text of a statement, in lower-case hex.
func Hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// Parse reads a statement's text and refuses any other form of it than Canonical's.
func Parse[S any](text string) (S, error) {
	var s, none S
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return none, fmt.Errorf("statement of a proposal: %w", err)
	}
	if Canonical(s) != text {
		return none, fmt.Errorf("statement of a proposal: not in its canonical form")
	}
	return s, nil
}

// State is where a proposal stands.
type State string

// The states of a proposal.
const (
	Open      State = "open"      // waits for approvals
	Executing State = "executing" // approved; its room is at work
	Executed  State = "executed"
	Failed    State = "failed"   // approved, and could not be done: nothing was changed
	Unknown   State = "unknown"  // approved, and cut off on the way
	Rejected  State = "rejected" // by an officer
	Withdrawn State = "withdrawn"
	Expired   State = "expired" // too few approvals in time
)

// States lists the states of a proposal, in the order of its life.
func States() []State {
	return []State{Open, Executing, Executed, Failed, Unknown, Rejected, Withdrawn, Expired}
}

// Approval is one officer's yes.
type Approval struct {
	Officer string    `json:"officer"`          // client name
	Person  string    `json:"person,omitempty"` // behind it, "" where that is not known
	Hash    string    `json:"hash"`             // of the statement that the officer saw
	At      time.Time `json:"at"`
}

// Progress is how far a proposal has come.
type Progress struct {
	State    State
	Approved []Approval // in order
	// Wanted is how many approvals it takes: as many as the statement says, or as
	// the configuration asks for now where that is more. It is not stored.
	Wanted    int
	EndedBy   string // who rejected or withdrew it
	EndReason string
	EndedAt   time.Time // zero while open or executing

	// Revision counts the writes, from 1: a write names the revision it was made
	// from, and is refused if another came in between.
	Revision int64
}

// Proposal is something on its way from being wanted to being done.
type Proposal struct {
	Header // as the statement has it
	Kind   Kind
	// Text is the statement.
	Text string
	Progress
	// Result is what came of it, JSON of the room's; empty for nothing.
	Result json.RawMessage
}

// Hash is the hash of the statement.
func (p Proposal) Hash() string { return Hash(p.Text) }

// Why says why it failed, or why nobody knows; "" where neither is so.
func (p Proposal) Why() string {
	var f Failure
	_ = json.Unmarshal(p.Result, &f) // a result that cannot be read says nothing
	return f.Error
}

// ReadHeader takes the header from the statement's text, which is all that is said of
// a proposal apart from its progress. It refuses a text in another form than
// Canonical's.
func (p *Proposal) ReadHeader() error {
	canonical := jsontext.Value(p.Text).Clone()
	if err := canonical.Canonicalize(); err != nil || string(canonical) != p.Text {
		return errors.New("statement of a proposal: not in its canonical form")
	}
	if err := json.Unmarshal([]byte(p.Text), &p.Header); err != nil {
		return fmt.Errorf("statement of a proposal: %w", err)
	}
	return nil
}

// at is the state at a moment: a proposal that waited too long has expired,
// whether or not that was written down.
func (p Proposal) at(now time.Time) State {
	if p.State == Open && !now.Before(p.ExpiresAt) {
		return Expired
	}
	return p.State
}

// same tells whether two officers are one: by client, or by the person behind it.
func same(client, person, otherClient, otherPerson string) bool {
	return client == otherClient || person != "" && person == otherPerson
}

// isBy tells whether the officer proposed it.
func (p Proposal) isBy(who Officer) bool {
	return same(who.Client, who.Person, p.Proposer, p.Person)
}

// hasApproved tells whether the officer approved already.
func (p Proposal) hasApproved(who Officer) bool {
	return slices.ContainsFunc(p.Approved, func(a Approval) bool { return same(who.Client, who.Person, a.Officer, a.Person) })
}

// open refuses a proposal that waits for nothing any more.
func (p Proposal) open(now time.Time) *Refusal {
	switch state := p.at(now); state {
	case Open:
		return nil
	case Expired:
		return Refuse(ProposalExpired, "The proposal waited too long for approvals. Propose it again.")
	default:
		return Refuse(ProposalClosed, fmt.Sprintf("The proposal is %s. Nothing more can be done with it.", state))
	}
}

// mayApprove says why this approval does not count, or nil.
func (p Proposal) mayApprove(who Officer, hash string, now time.Time) *Refusal {
	if no := p.open(now); no != nil {
		return no
	}
	switch {
	case p.isBy(who):
		return Refuse(ProposalOwn, "Nobody approves what they proposed. Another officer has to.")
	case p.hasApproved(who):
		return Refuse(ProposalTwice, "You have approved this already. Another officer has to.")
	case !strings.EqualFold(hash, p.Hash()):
		return Refuse(ProposalHash, "The hash is not that of this proposal. Look at what is proposed again, and approve the hash that is shown with it.")
	}
	for _, a := range p.Approved {
		if a.Hash != p.Hash() {
			return Refuse(ProposalHash, "An approval before yours is of another hash: the proposal was changed in the database. Reject it, and find out how.")
		}
	}
	return nil
}

// ReadPage reads what the proposals of a page say, with the cursor of the page after.
// Its arguments are what Control.Proposals gives, and how a room reads a proposal.
func ReadPage[P any](read func(Proposal, error) (P, error), found []Proposal, next string, err error) ([]P, string, error) {
	if err != nil {
		return nil, "", err
	}
	page := make([]P, len(found))
	for i, p := range found {
		if page[i], err = read(p, nil); err != nil {
			return nil, "", err
		}
	}
	return page, next, nil
}
