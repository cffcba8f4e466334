package dualcontrol

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"latchkey/audit"
	"latchkey/card"
)

// Config is what a Control works with. All fields are required.
type Config[E any] struct {
	Kind    Kind
	Room    Room[E]
	Book    Book
	Keep    func(ctx context.Context, c Change[E]) error // gives ErrConflict with nothing changed
	Actions Actions

	// Approvals is how many officers besides the proposer have to approve. Where it
	// is raised, proposals that are open need as many too; where it is lowered they
	// need as many as their statement says.
	Approvals int
	// Lifetime is how long a proposal waits for them.
	Lifetime time.Duration

	Now   func() time.Time
	NewID func() string // unique
}

const (
	// recordTimeout is the time for writing down what came of an approved proposal.
	recordTimeout = 10 * time.Second
	// ConflictTries is how often a change is made anew that others came before.
	ConflictTries = 16
)

// Control takes the proposals of one kind through their life. It is safe for
// concurrent use and keeps nothing in memory between calls.
type Control[E any] struct{ Config[E] }

// New makes a Control, or says what is missing from the configuration.
func New[E any](c Config[E]) (*Control[E], error) {
	var missing []string
	for name, is := range map[string]bool{
		"Kind": c.Kind == "", "Room": c.Room == nil, "Book": c.Book == nil, "Keep": c.Keep == nil,
		"Approvals": c.Approvals < 1, "Lifetime": c.Lifetime <= 0, "Now": c.Now == nil, "NewID": c.NewID == nil,
		"Actions": slices.Contains([]audit.Action{c.Actions.Propose, c.Actions.Approve, c.Actions.Reject, c.Actions.Withdraw, c.Actions.Execute}, ""),
	} {
		if is {
			missing = append(missing, name)
		}
	}
	if len(missing) != 0 {
		slices.Sort(missing)
		return nil, fmt.Errorf("dual control: not set: %s", strings.Join(missing, ", "))
	}
	return &Control[E]{c}, nil
}

// Propose writes a proposal down, of which the room makes the statement. One that an
// officer may carry out alone is carried out.
func (c *Control[E]) Propose(ctx context.Context, who Officer, alone bool, statement func(Header) any) (Proposal, error) {
	now := c.Moment()
	p := Proposal{
		Kind: c.Kind,
		Header: Header{
			ID: c.NewID(), Proposer: who.Client, Person: who.Person,
			Approvals: c.Approvals, CreatedAt: now, ExpiresAt: now.Add(c.Lifetime),
		},
		Progress: Progress{State: Open, Revision: 1},
	}
	if alone {
		p.Approvals = 0
	}
	p.Text = Canonical(statement(p.Header))
	entry, words, err := c.Entry(who, c.Actions.Propose, p)
	if err != nil {
		return Proposal{}, err
	}
	for range ConflictTries {
		step, no := c.Room.Prepare(ctx, p, now)
		if no != nil {
			return Proposal{}, c.Refused(ctx, entry, no)
		}
		change := Change[E]{Proposal: &p, Entries: []audit.Entry{Permit(entry, words)}}
		if alone {
			p.State, p.EndedAt, change.Effect = Executed, now, step.Effect
			change.Entries = append(change.Entries, Permit(renamed(entry, c.Actions.Execute), "done by one officer, as may be"))
		}
		if err := c.Keep(ctx, change); !errors.Is(err, ErrConflict) {
			return c.seen(p, now), c.Kept(ctx, entry, err)
		}
	}
	return Proposal{}, c.Refused(ctx, entry, Conflict())
}

// Approve writes an officer's yes down, which names the hash of the statement that
// the officer saw. With the last one that is wanted it is carried out: the proposal
// that comes back is executed or failed, or executing where the room has to go on.
func (c *Control[E]) Approve(ctx context.Context, who Officer, id, hash string) (Proposal, error) {
	for range ConflictTries {
		p, err := c.approve(ctx, who, id, hash)
		if !errors.Is(err, ErrConflict) {
			return p, err
		}
	}
	return Proposal{}, c.overtaken(ctx, who, c.Actions.Approve, id)
}

// approve is one try of Approve. It gives ErrConflict where others came before.
func (c *Control[E]) approve(ctx context.Context, who Officer, id, hash string) (Proposal, error) {
	now := c.Moment()
	p, entry, words, no := c.find(ctx, who, c.Actions.Approve, id)
	if no == nil {
		no = p.mayApprove(who, hash, now)
	}
	if no != nil {
		return Proposal{}, c.Refused(ctx, entry, no)
	}
	from := p.Revision
	p.Revision++
	p.Approved = append(slices.Clone(p.Approved), Approval{who.Client, who.Person, p.Hash(), now})
	change := Change[E]{Proposal: &p, From: from, Entries: []audit.Entry{Permit(entry, words)}}
	if len(p.Approved) < p.Wanted {
		return p, c.Kept(ctx, entry, c.Keep(ctx, change))
	}

	step, no := c.Room.Prepare(ctx, p, now)
	execute := renamed(entry, c.Actions.Execute)
	switch {
	case no != nil && no.failed:
		return Proposal{}, c.Refused(ctx, entry, no) // the approval can be given again
	case no != nil:
		p.State, p.EndedAt, p.Result = Failed, now, failure(no.Detail)
		execute.Outcome, execute.Code, execute.Detail = audit.Deny, string(no.Code), no.Detail
		change.Entries = append(change.Entries, execute)
	case step.Begun:
		p.State, change.Effect = Executing, step.Effect
	default:
		p.State, p.EndedAt, change.Effect = Executed, now, step.Effect
		change.Entries = append(change.Entries, Permit(execute, ""))
	}
	// From here on the caller may hang up.
	writing, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	return p, c.Kept(writing, entry, c.Keep(writing, change))
}

// Failure is what every result holds of a proposal that failed, or of which nobody
// knows.
type Failure struct {
	Error string `json:"error,omitempty"`
}

func failure(why string) []byte { return []byte(Canonical(Failure{why})) }

// Reject ends a proposal by any officer's no. The reason is text of at most
// card.MaxText bytes.
func (c *Control[E]) Reject(ctx context.Context, who Officer, id, reason string) (Proposal, error) {
	return c.end(ctx, who, c.Actions.Reject, id, reason, Rejected)
}

// Withdraw ends a proposal by its own proposer.
func (c *Control[E]) Withdraw(ctx context.Context, who Officer, id string) (Proposal, error) {
	return c.end(ctx, who, c.Actions.Withdraw, id, "", Withdrawn)
}

func (c *Control[E]) end(ctx context.Context, who Officer, action audit.Action, id, reason string, to State) (Proposal, error) {
	if fault := card.TextFault(reason, card.MaxText, false); fault != "" {
		return Proposal{}, fmt.Errorf("end proposal: reason %s", fault)
	}
	for range ConflictTries {
		now := c.Moment()
		p, entry, words, no := c.find(ctx, who, action, id)
		if no == nil {
			no = p.open(now)
		}
		if no == nil && to == Withdrawn && !p.isBy(who) {
			no = Refuse(ProposalNotYours, "Only its proposer withdraws a proposal. Any officer may reject it.")
		}
		if no != nil {
			return Proposal{}, c.Refused(ctx, entry, no)
		}
		from := p.Revision
		p.State, p.EndedBy, p.EndReason, p.EndedAt = to, who.Client, reason, now
		p.Revision++
		entry.Reason = reason
		err := c.Keep(ctx, Change[E]{Proposal: &p, From: from, Entries: []audit.Entry{Permit(entry, words)}})
		if !errors.Is(err, ErrConflict) {
			return p, c.Kept(ctx, entry, err)
		}
	}
	return Proposal{}, c.overtaken(ctx, who, action, id)
}

// overtaken refuses an act on a proposal that others came before at every try.
func (c *Control[E]) overtaken(ctx context.Context, who Officer, action audit.Action, id string) *Refusal {
	_, entry, _, _ := c.find(ctx, who, action, id) // the entry names the ID where no more can be read
	return c.Refused(ctx, entry, Conflict())
}

// Proposal tells how a proposal stands.
func (c *Control[E]) Proposal(ctx context.Context, id string) (Proposal, error) {
	p, err := c.Book.Proposal(ctx, c.Kind, id)
	if no := notFound(err); no != nil {
		return Proposal{}, no
	}
	return c.seen(p, c.Now()), nil
}

// Proposals gives a page of the proposals, the newest first. It gives ErrQuery for
// a cursor that did not come with a page. The kind is the Control's and the moment is
// now, whatever q says.
func (c *Control[E]) Proposals(ctx context.Context, q Query) (page []Proposal, next string, err error) {
	q.Kind, q.At = c.Kind, c.Now()
	page, next, err = c.Book.Proposals(ctx, q)
	switch {
	case errors.Is(err, ErrQuery):
		return nil, "", err
	case err != nil:
		return nil, "", Fail(StoreUnavailable, "The proposals could not be looked up. Try again later.", err)
	}
	for i, p := range page {
		page[i] = c.seen(p, q.At)
	}
	return page, next, nil
}

// seen is a proposal as it stands at a moment, by the configuration that holds now.
func (c *Control[E]) seen(p Proposal, now time.Time) Proposal {
	p.State, p.Wanted = p.at(now), c.wanted(p)
	return p
}

// wanted is how many approvals a proposal takes. One that an officer carried out alone
// takes none.
func (c *Control[E]) wanted(p Proposal) int {
	if p.Approvals == 0 {
		return 0
	}
	return max(p.Approvals, c.Approvals)
}

// find looks up a proposal that an officer is to act on, with the entry that will
// tell of it.
func (c *Control[E]) find(ctx context.Context, who Officer, action audit.Action, id string) (Proposal, audit.Entry, string, *Refusal) {
	p, err := c.Book.Proposal(ctx, c.Kind, id)
	if no := notFound(err); no != nil {
		entry := who.Entry(c.Moment(), action)
		entry.Proposal = id
		return Proposal{}, entry, "", no
	}
	p.Wanted = c.wanted(p)
	entry, words, err := c.Entry(who, action, p)
	if err != nil {
		return Proposal{}, entry, "", notFound(err)
	}
	return p, entry, words, nil
}

// notFound refuses a proposal that could not be looked up.
func notFound(err error) *Refusal {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, card.ErrNotFound):
		return Refuse(ProposalUnknown, "There is no such proposal.")
	}
	return Fail(StoreUnavailable, "The proposal could not be looked up. Try again later.", err)
}

// Conflict refuses what others came before at every try.
func Conflict() *Refusal {
	return Refuse(ProposalConflict, "Others changed the proposal, or what it is about, at the same time. Read it again.")
}

// Moment is the time as it is stored.
func (c *Control[E]) Moment() time.Time { return c.Now().UTC().Truncate(time.Microsecond) }

// Entry begins the audit entry of what an officer does with a proposal, and says what
// is proposed in words.
func (c *Control[E]) Entry(who Officer, action audit.Action, p Proposal) (audit.Entry, string, error) {
	e := who.Entry(c.Moment(), action)
	e.Proposal, e.ProposalHash = p.ID, p.Hash()
	words, err := c.Room.Describe(p, &e)
	return e, words, err
}

// renamed is the entry for another step at the same moment.
func renamed(e audit.Entry, action audit.Action) audit.Entry {
	e.Action = action
	return e
}

// Permit is the entry for what was done.
func Permit(e audit.Entry, detail string) audit.Entry {
	e.Outcome, e.Detail = audit.Permit, detail
	return e
}

// Kept makes a refusal of a write that failed. A conflict is left as it is, for
// whoever tries again.
func (c *Control[E]) Kept(ctx context.Context, e audit.Entry, err error) error {
	if err == nil || errors.Is(err, ErrConflict) {
		return err
	}
	return c.Refused(ctx, e, Fail(AuditUnavailable, "It could not be written down. Look at the proposal again before going on.", err))
}

// Refused writes a no to the audit log. The answer is no whether or not that
// works.
func (c *Control[E]) Refused(ctx context.Context, e audit.Entry, no *Refusal) *Refusal {
	e.Outcome, e.Code, e.Detail = audit.Deny, string(no.Code), no.Detail
	if no.failed {
		e.Outcome = audit.Failure
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	if err := c.Book.Append(ctx, e); err != nil {
		no.cause = errors.Join(no.cause, fmt.Errorf("append refusal to the audit log: %w", err))
	}
	return no
}
