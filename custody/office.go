package custody

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/hsm"
)

// Config is what an Office works with. All fields but Strict are required.
type Config struct {
	Token    Token
	Ledger   Ledger
	Cards    Cards
	Profiles Profiles

	// Approvals is how many officers besides the proposer have to approve.
	Approvals int
	// Lifetime is how long a proposal waits for them.
	Lifetime time.Duration
	// Strict has keys that are not in the ledger count as pre-active. Without it
	// they count as active, so that a small installation needs no ledger.
	Strict bool

	Now   func() time.Time
	NewID func() string // unique
}

// Times that the work of an approved act is given: the token's part, and writing
// down what came of it. Together they fit into one request's time.
const (
	tokenTimeout  = 18 * time.Second
	recordTimeout = 10 * time.Second
	// conflictTries is how often a change is made anew that others came before.
	conflictTries = 16
)

// Office is where officers propose and approve. It is safe for concurrent use and
// keeps nothing in memory between calls.
type Office struct{ Config }

// New makes an Office, or says what is wrong with the configuration.
func New(c Config) (*Office, error) {
	var missing []string
	for name, is := range map[string]bool{
		"Token": c.Token == nil, "Ledger": c.Ledger == nil, "Cards": c.Cards == nil, "Profiles": c.Profiles == nil,
		"Approvals": c.Approvals < 1, "Lifetime": c.Lifetime <= 0, "Now": c.Now == nil, "NewID": c.NewID == nil,
	} {
		if is {
			missing = append(missing, name)
		}
	}
	if len(missing) != 0 {
		slices.Sort(missing)
		return nil, fmt.Errorf("custody: not set: %s", strings.Join(missing, ", "))
	}
	return &Office{c}, nil
}

// Officer is who calls, as the server authenticated it. That the client has the
// role is the server's to check.
type Officer struct {
	Client    string // the authenticated client's configured name
	Address   string
	RequestID string
}

// Propose writes a proposal down. One that an officer may carry out alone is
// carried out. The draft has no Faults.
func (o *Office) Propose(ctx context.Context, who Officer, d Draft) (Proposal, error) {
	if faults := d.Faults(); len(faults) != 0 {
		return Proposal{}, fmt.Errorf("propose: %v", faults)
	}
	now := o.now()
	p := Proposal{
		Statement: Statement{
			ID: o.NewID(), Act: d.Act, Parameters: d.Parameters, Token: o.Token.Info().Serial,
			Proposer: who.Client, Approvals: o.Approvals, CreatedAt: now, ExpiresAt: now.Add(o.Lifetime),
		},
		State: Open, Revision: 1,
	}
	if d.Act.Alone() {
		p.Approvals = 0
	}
	entry := who.entry(now, audit.KeyPropose, p)
	for range conflictTries {
		s, no := o.prepare(ctx, p)
		if no != nil {
			return Proposal{}, o.refused(ctx, entry, no)
		}
		c := Change{Proposal: &p, Entries: []audit.Entry{permit(entry, p.Words())}}
		if d.Act.Alone() {
			p.State, p.EndedAt = Executed, now
			c.take(s, p)
			c.Entries = append(c.Entries, permit(who.entry(now, audit.KeyExecute, p), "done by one officer, as may be"))
		}
		if err := o.Ledger.Keep(ctx, c); !errors.Is(err, ErrConflict) {
			return p, o.kept(ctx, entry, err)
		}
	}
	return Proposal{}, o.refused(ctx, entry, conflict())
}

// Approve writes an officer's yes down, which names the hash of the statement that
// the officer saw. With the last one that is wanted the act is carried out, and
// the proposal that comes back tells what became of it: executed, failed or
// unknown.
func (o *Office) Approve(ctx context.Context, who Officer, id, hash string) (Proposal, error) {
	for range conflictTries {
		p, err := o.approve(ctx, who, id, hash)
		if !errors.Is(err, ErrConflict) {
			return p, err
		}
	}
	return Proposal{}, o.overtaken(ctx, who, audit.KeyApprove, id)
}

// approve is one try of Approve. It gives ErrConflict where others came before.
func (o *Office) approve(ctx context.Context, who Officer, id, hash string) (Proposal, error) {
	now := o.now()
	p, entry, no := o.find(ctx, who, audit.KeyApprove, id)
	if no == nil {
		no = p.mayApprove(who.Client, hash, now)
	}
	if no != nil {
		return Proposal{}, o.refused(ctx, entry, no)
	}
	from := p.Revision
	p.Revision++
	p.Approved = append(slices.Clone(p.Approved), Approval{who.Client, p.Hash(), now})
	c := Change{Proposal: &p, From: from, Entries: []audit.Entry{permit(entry, p.Words())}}
	if len(p.Approved) < p.Approvals {
		return p, o.kept(ctx, entry, o.Ledger.Keep(ctx, c))
	}

	s, no := o.prepare(ctx, p)
	execute := who.entry(now, audit.KeyExecute, p)
	switch {
	case no != nil && no.failure():
		return Proposal{}, o.refused(ctx, entry, no) // the approval can be given again
	case no != nil:
		p.State, p.EndedAt, p.Result.Error = Failed, now, no.Detail
		execute.Outcome, execute.Code, execute.Detail = audit.Deny, string(no.Code), no.Detail
		c.Entries = append(c.Entries, execute)
	case p.Act.touchesToken():
		p.State = Executing
		if p.Act.makes() {
			c.take(s, p)
		}
	default:
		p.State, p.EndedAt = Executed, now
		c.take(s, p)
		c.Entries = append(c.Entries, permit(execute, ""))
	}
	// From here on the caller may hang up.
	ctx = context.WithoutCancel(ctx)
	writing, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	if err := o.kept(writing, entry, o.Ledger.Keep(writing, c)); err != nil || p.State != Executing {
		return p, err
	}
	return o.execute(ctx, who, p)
}

// mayApprove says why this approval does not count, or nil.
func (p Proposal) mayApprove(officer, hash string, now time.Time) *Refusal {
	if no := p.open(now); no != nil {
		return no
	}
	switch {
	case officer == p.Proposer:
		return refuse(ProposalOwn, "Nobody approves what they proposed. Another officer has to.")
	case p.hasApproved(officer):
		return refuse(ProposalTwice, "You have approved this already. Another officer has to.")
	case !strings.EqualFold(hash, p.Hash()):
		return refuse(ProposalHash, "The hash is not that of this proposal. Look at what is proposed again, and approve the hash that is shown with it.")
	}
	for _, a := range p.Approved {
		if a.Hash != p.Hash() {
			return refuse(ProposalHash, "An approval before yours is of another hash: the proposal was changed in the database. Reject it, and find out how.")
		}
	}
	return nil
}

// open refuses a proposal that waits for nothing any more.
func (p Proposal) open(now time.Time) *Refusal {
	switch state := p.at(now); state {
	case Open:
		return nil
	case Expired:
		return refuse(ProposalExpired, "The proposal waited too long for approvals. Propose it again.")
	default:
		return refuse(ProposalClosed, fmt.Sprintf("The proposal is %s. Nothing more can be done with it.", state))
	}
}

// Reject ends a proposal by any officer's no.
func (o *Office) Reject(ctx context.Context, who Officer, id, reason string) (Proposal, error) {
	return o.end(ctx, who, audit.KeyReject, id, reason, Rejected)
}

// Withdraw ends a proposal by its own proposer.
func (o *Office) Withdraw(ctx context.Context, who Officer, id string) (Proposal, error) {
	return o.end(ctx, who, audit.KeyWithdraw, id, "", Withdrawn)
}

func (o *Office) end(ctx context.Context, who Officer, action audit.Action, id, reason string, to ProposalState) (Proposal, error) {
	if fault := card.TextFault(reason, card.MaxText, false); fault != "" {
		return Proposal{}, fmt.Errorf("end proposal: reason %s", fault)
	}
	for range conflictTries {
		now := o.now()
		p, entry, no := o.find(ctx, who, action, id)
		if no == nil {
			no = p.open(now)
		}
		if no == nil && to == Withdrawn && p.Proposer != who.Client {
			no = refuse(ProposalNotYours, "Only its proposer withdraws a proposal. Any officer may reject it.")
		}
		if no != nil {
			return Proposal{}, o.refused(ctx, entry, no)
		}
		from := p.Revision
		p.State, p.EndedBy, p.EndReason, p.EndedAt = to, who.Client, reason, now
		p.Revision++
		entry.Reason = reason
		err := o.Ledger.Keep(ctx, Change{Proposal: &p, From: from, Entries: []audit.Entry{permit(entry, p.Words())}})
		if !errors.Is(err, ErrConflict) {
			return p, o.kept(ctx, entry, err)
		}
	}
	return Proposal{}, o.overtaken(ctx, who, action, id)
}

// overtaken refuses an act on a proposal that others came before at every try.
func (o *Office) overtaken(ctx context.Context, who Officer, action audit.Action, id string) *Refusal {
	p, _ := o.Ledger.Proposal(ctx, id) // the entry names the ID where it cannot be read
	entry := who.entry(o.now(), action, p)
	entry.Proposal = id
	return o.refused(ctx, entry, conflict())
}

// Proposal tells how a proposal stands.
func (o *Office) Proposal(ctx context.Context, id string) (Proposal, error) {
	p, err := o.Ledger.Proposal(ctx, id)
	switch {
	case errors.Is(err, card.ErrNotFound):
		return Proposal{}, proposalUnknown()
	case err != nil:
		return Proposal{}, fail(StoreUnavailable, "The proposal could not be looked up. Try again later.", err)
	}
	p.State = p.at(o.Now())
	return p, nil
}

// Proposals gives a page of the proposals, the newest first. It gives ErrQuery for
// a cursor that did not come with a page. The moment is now, whatever q says.
func (o *Office) Proposals(ctx context.Context, q Query) (page []Proposal, next string, err error) {
	q.At = o.Now()
	page, next, err = o.Ledger.Proposals(ctx, q)
	switch {
	case errors.Is(err, ErrQuery):
		return nil, "", err
	case err != nil:
		return nil, "", fail(StoreUnavailable, "The proposals could not be looked up. Try again later.", err)
	}
	for i := range page {
		page[i].State = page[i].at(q.At)
	}
	return page, next, nil
}

// TransportLabel is the label of the token's transport key pair.
const TransportLabel = "latchkey-transport"

// TransportKey is the public half of the token's transport key pair, under which
// keys come in wrapped. The pair is made when it is first asked for.
func (o *Office) TransportKey(ctx context.Context, who Officer) (hsm.TransportKey, error) {
	entry := who.entry(o.now(), audit.KeyTransport, Proposal{})
	k, err := o.Token.MakeTransportKey(ctx, TransportLabel)
	if err != nil {
		return hsm.TransportKey{}, o.refused(ctx, entry, tokenFailed(err))
	}
	return k, o.kept(ctx, entry, o.Ledger.Append(ctx, permit(entry, "fingerprint "+k.Fingerprint)))
}

// find looks up a proposal that an officer is to act on, with the entry that will
// tell of it.
func (o *Office) find(ctx context.Context, who Officer, action audit.Action, id string) (Proposal, audit.Entry, *Refusal) {
	p, err := o.Ledger.Proposal(ctx, id)
	entry := who.entry(o.now(), action, p)
	entry.Proposal = id
	switch {
	case errors.Is(err, card.ErrNotFound):
		return Proposal{}, entry, proposalUnknown()
	case err != nil:
		return Proposal{}, entry, fail(StoreUnavailable, "The proposal could not be looked up. Try again later.", err)
	}
	return p, entry, nil
}

func proposalUnknown() *Refusal { return refuse(ProposalUnknown, "There is no such proposal.") }

func conflict() *Refusal {
	return refuse(ProposalConflict, "Others changed the proposal or the key at the same time. Read it again.")
}

// now is the time as it is stored.
func (o *Office) now() time.Time { return o.Now().UTC().Truncate(time.Microsecond) }

// entry begins the audit entry of what an officer does with a proposal.
func (w Officer) entry(now time.Time, action audit.Action, p Proposal) audit.Entry {
	e := audit.Entry{
		Time: now, Action: action, Client: w.Client, Address: w.Address, RequestID: w.RequestID,
		MasterKey: p.Parameters.Key, KeyVersion: p.Parameters.Version,
		Reason: p.Parameters.Reason, Proposal: p.ID,
	}
	if p.ID != "" {
		e.ProposalHash = p.Hash()
	}
	return e
}

func permit(e audit.Entry, detail string) audit.Entry {
	e.Outcome, e.Detail = audit.Permit, detail
	return e
}

// kept makes a refusal of a write that failed. A conflict is left as it is, for
// whoever tries again.
func (o *Office) kept(ctx context.Context, e audit.Entry, err error) error {
	if err == nil || errors.Is(err, ErrConflict) {
		return err
	}
	return o.refused(ctx, e, fail(AuditUnavailable, "It could not be written down. Look at the proposal again before going on.", err))
}

// refused writes a no to the audit log. The answer is no whether or not that
// works.
func (o *Office) refused(ctx context.Context, e audit.Entry, no *Refusal) *Refusal {
	e.Outcome, e.Code, e.Detail = audit.Deny, string(no.Code), no.Detail
	if no.failure() {
		e.Outcome = audit.Failure
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	if err := o.Ledger.Append(ctx, e); err != nil {
		no.cause = errors.Join(no.cause, fmt.Errorf("append refusal to the audit log: %w", err))
	}
	return no
}
