package rulebook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/dualcontrol"
	"latchkey/policy"
)

// Config is what a Rulebook works with. All fields are required but Directory,
// KeepDecisions and Poll.
type Config struct {
	Ledger Ledger
	// Directory is the folder whose files ending in .cedar are the policies; "" where
	// they are in versions.
	Directory string

	// Approvals and Lifetime are those of dualcontrol.Config.
	Approvals int
	Lifetime  time.Duration
	// KeepDecisions is how many of the last decisions are kept.
	KeepDecisions int
	// Poll is how often Run looks whether there is something newer; DefaultPoll where
	// it is not set.
	Poll time.Duration

	Logger *zap.Logger
	Now    func() time.Time
	NewID  func() string // unique
}

const (
	// DefaultPoll is how long it takes at most until a node decides by a version that
	// another one activated.
	DefaultPoll = 2 * time.Second
	// pollTimeout bounds one look.
	pollTimeout = 5 * time.Second
	// pruneEvery is after how many looks old decisions are deleted.
	pruneEvery = 15
)

// Origin says where the policies are that decide.
type Origin string

// The origins.
const (
	FromBuiltIn   Origin = "built-in"
	FromVersions  Origin = "versions"
	FromDirectory Origin = "directory"
)

// Active is what a node decides by.
type Active struct {
	Origin    Origin
	Directory string // of FromDirectory
	// Version is the version; of FromDirectory only its fingerprint and policies are
	// set.
	Version
	// Since is when this node began to decide by it.
	Since time.Time
	// Fault says what is wrong with what it ought to decide by, nil for nothing.
	Fault *Fault
}

// Fault is why a node decides by other policies than it ought to.
type Fault struct {
	What  string // one line for each fault
	Since time.Time
}

// edition is a set of policies that works, as it is held in memory.
type edition struct {
	engine *policy.Engine
	active Active
}

// Rulebook decides by the policies that are active. It is safe for concurrent use.
type Rulebook struct {
	Config
	control *dualcontrol.Control[Record]
	current atomic.Pointer[edition]
	fault   atomic.Pointer[Fault]

	// following is held while something newer is looked for, and guards the rest.
	following sync.Mutex
	// broken is the version that was found broken and is not tried again by itself.
	broken struct {
		number int
		err    error
	}
	files files
}

// Open makes a Rulebook that decides by what is active now. It gives an error where
// that is broken, or cannot be read.
func Open(ctx context.Context, c Config) (*Rulebook, error) {
	if c.Ledger == nil || c.Logger == nil || c.Now == nil || c.NewID == nil {
		return nil, errors.New("rulebook: Ledger, Logger, Now and NewID have to be set")
	}
	c.Poll = cmp.Or(c.Poll, DefaultPoll)
	r := &Rulebook{Config: c, files: files{dir: c.Directory}}
	var err error
	r.control, err = dualcontrol.New(dualcontrol.Config[Record]{
		Kind: dualcontrol.Policies, Room: room{r}, Book: c.Ledger, Keep: c.Ledger.KeepPolicies,
		Actions: dualcontrol.Actions{
			Propose: audit.PolicyPropose, Approve: audit.PolicyApprove, Reject: audit.PolicyReject,
			Withdraw: audit.PolicyWithdraw, Execute: audit.PolicyActivate,
		},
		Approvals: c.Approvals, Lifetime: c.Lifetime, Now: c.Now, NewID: c.NewID,
	})
	if err != nil {
		return nil, fmt.Errorf("rulebook: %w", err)
	}
	r.Reload(ctx)
	if r.current.Load() == nil {
		what := "they were being changed, or the start was cut off; try again"
		if f := r.fault.Load(); f != nil {
			what = f.What
		}
		return nil, fmt.Errorf("the operator policies cannot be used, and no others take their place: %s", what)
	}
	return r, nil
}

// Decide answers the request by the active policies. See policy.Engine.
func (r *Rulebook) Decide(ctx context.Context, q policy.Request) (policy.Decision, error) {
	return r.current.Load().engine.Decide(ctx, q)
}

// View tells by the active policies whether the operator may know of the card.
func (r *Rulebook) View(ctx context.Context, q policy.ViewRequest) (policy.Decision, error) {
	return r.current.Load().engine.View(ctx, q)
}

// Active tells what this node decides by.
func (r *Rulebook) Active() Active {
	a := r.current.Load().active
	a.Fault = r.fault.Load()
	return a
}

// Check gives an error while the node decides by other policies than it ought to.
func (r *Rulebook) Check(context.Context) error {
	if f := r.fault.Load(); f != nil {
		return fmt.Errorf("since %s: %s", f.Since.Format(time.RFC3339), f.What)
	}
	return nil
}

// Run looks for something newer every few seconds, and deletes old decisions, until
// the context ends.
func (r *Rulebook) Run(ctx context.Context) {
	tick := time.NewTicker(r.Poll)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		r.follow(ctx, false)
		if n%pruneEvery == 0 {
			r.prune(ctx)
		}
	}
}

func (r *Rulebook) prune(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	if err := r.Ledger.PruneDecisions(ctx, r.KeepDecisions); err != nil && ctx.Err() == nil {
		r.Logger.Warn("old decisions of the operator policies could not be deleted", zap.Error(err))
	}
}

// Reload looks at once for something newer, and tries again what was found broken.
func (r *Rulebook) Reload(ctx context.Context) { r.follow(ctx, true) }

// follow looks for something newer and decides by it from then on. What is wrong with
// it is told, and the policies before stay.
func (r *Rulebook) follow(ctx context.Context, again bool) {
	r.following.Lock()
	defer r.following.Unlock()
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	look := r.followVersions
	if r.Directory != "" {
		look = r.followFiles
	}
	next, err := look(ctx, again)
	switch {
	case errors.Is(err, errUnsettled):
		return
	case err != nil && errors.Is(context.Cause(ctx), context.Canceled):
		return // the server is ending
	case err != nil:
		r.alarm(err)
		return
	}
	if next != nil {
		r.current.Store(next)
		a := next.active
		r.Logger.Info("operator policies active", zap.String("origin", string(a.Origin)), zap.Int("version", a.Number),
			zap.String("fingerprint", a.Fingerprint), zap.Strings("files", names(a.Policies)))
	}
	if r.fault.Swap(nil) != nil {
		r.Logger.Info("the operator policies are again those that ought to decide")
	}
}

// alarm tells that something newer cannot be used.
func (r *Rulebook) alarm(err error) {
	f := &Fault{What: err.Error(), Since: r.control.Moment()}
	if before := r.fault.Load(); before != nil && before.What == f.What {
		return // it was told
	}
	r.fault.Store(f)
	r.Logger.Error("ALARM: the operator policies that ought to decide cannot be used; those before stay", zap.Error(err))
}

// followVersions gives the active version if it is another than the one in memory.
func (r *Rulebook) followVersions(ctx context.Context, again bool) (*edition, error) {
	number, err := r.Ledger.ActivePolicies(ctx)
	if err != nil {
		return nil, fmt.Errorf("find the active version: %w", err)
	}
	now := r.current.Load()
	switch {
	case now != nil && now.active.Number == number:
		return nil, nil
	case r.broken.err != nil && r.broken.number == number && !again:
		return nil, r.broken.err
	}
	v, err := r.version(ctx, number)
	if err != nil && !errors.Is(err, errBroken) {
		return nil, err
	}
	var engine *policy.Engine
	if err == nil {
		engine, err = policy.Load(v.Policies)
	}
	if err != nil {
		r.broken.number, r.broken.err = number, fmt.Errorf("version %d: %w", number, err)
		return nil, r.broken.err
	}
	a := Active{Origin: FromVersions, Version: v, Since: r.control.Moment()}
	if number == 0 {
		a.Origin = FromBuiltIn
	}
	return &edition{engine, a}, nil
}

// errBroken says that a version is there and cannot be used.
var errBroken = errors.New("it cannot be used")

// version finds a version by its number.
func (r *Rulebook) version(ctx context.Context, number int) (Version, error) {
	if number == 0 {
		engine, err := policy.Default()
		if err != nil {
			return Version{}, err
		}
		return Version{Fingerprint: engine.Version(), Policies: []policy.Source{policy.BuiltIn()}}, nil
	}
	record, err := r.Ledger.PolicyVersion(ctx, number)
	if err != nil {
		return Version{}, err
	}
	return r.whole(ctx, record)
}

// whole is the version of a record.
func (r *Rulebook) whole(ctx context.Context, record Record) (Version, error) {
	p, err := r.Ledger.Proposal(ctx, dualcontrol.Policies, record.Proposal)
	if err != nil {
		return Version{}, err
	}
	v, err := versionOf(record, p)
	if err != nil {
		return Version{}, fmt.Errorf("%w: %w", errBroken, err)
	}
	return v, nil
}

// Version finds a version by its number; 0 is built in.
func (r *Rulebook) Version(ctx context.Context, number int) (Version, error) {
	v, err := r.version(ctx, number)
	switch {
	case errors.Is(err, card.ErrNotFound):
		return Version{}, dualcontrol.Refuse(PolicyVersionUnknown, fmt.Sprintf("There is no version %d of the operator policies.", number))
	case err != nil:
		return Version{}, dualcontrol.Fail(dualcontrol.StoreUnavailable, "The version could not be looked up. Try again later, or tell an administrator.", err)
	}
	return v, nil
}

// Versions lists the versions below a number, or all where that is 0, the newest
// first, limit of them at most; the built-in ones, version 0, come last.
func (r *Rulebook) Versions(ctx context.Context, below, limit int) ([]Version, error) {
	records, err := r.Ledger.PolicyVersions(ctx, below, limit)
	var list []Version
	for i := 0; err == nil && i < len(records); i++ {
		var v Version
		v, err = r.whole(ctx, records[i])
		if errors.Is(err, errBroken) { // it is listed all the same
			v, err = Version{Number: records[i].Number, Fingerprint: records[i].Fingerprint, Proposal: records[i].Proposal, ActivatedAt: records[i].ActivatedAt}, nil
		}
		list = append(list, v)
	}
	if err == nil && len(list) < limit {
		var first Version
		first, err = r.version(ctx, 0)
		list = append(list, first)
	}
	if err != nil {
		return nil, dualcontrol.Fail(dualcontrol.StoreUnavailable, "The versions could not be looked up. Try again later.", err)
	}
	return list, nil
}

// Propose writes down a change of the policies for others to approve. The draft has no
// Faults; those of its policies come as policy.Faults.
func (r *Rulebook) Propose(ctx context.Context, who dualcontrol.Officer, d Draft) (Proposal, error) {
	if faults := d.Faults(); len(faults) != 0 {
		return Proposal{}, fmt.Errorf("propose policies: %v", faults)
	}
	if no := r.governed(); no != nil {
		return Proposal{}, r.control.Refused(ctx, who.Entry(r.control.Moment(), audit.PolicyPropose), no)
	}
	if d.Restores != nil {
		v, err := r.Version(ctx, *d.Restores)
		if err != nil {
			return Proposal{}, err
		}
		d.Policies = v.Policies
	}
	engine, err := policy.Load(d.Policies)
	if err != nil {
		return Proposal{}, err
	}
	base, err := r.Ledger.ActivePolicies(ctx)
	if err != nil {
		return Proposal{}, activeUnknown(err)
	}
	policies := slices.SortedFunc(slices.Values(d.Policies), func(a, b policy.Source) int { return cmp.Compare(a.Name, b.Name) })
	return read(r.control.Propose(ctx, who, false, func(h dualcontrol.Header) any {
		return Statement{Header: h, Base: base, Fingerprint: engine.Version(), Policies: policies, Restores: d.Restores, Note: d.Note}
	}))
}

// Approve writes an officer's yes down, which names the hash of the statement that the
// officer saw. With the last one that is wanted the policies are active: on this node
// at once, on others within Poll.
func (r *Rulebook) Approve(ctx context.Context, who dualcontrol.Officer, id, hash string) (Proposal, error) {
	p, err := read(r.control.Approve(ctx, who, id, hash))
	if err == nil && p.State == dualcontrol.Executed {
		r.follow(context.WithoutCancel(ctx), false)
	}
	return p, err
}

// Reject ends a proposal by any officer's no.
func (r *Rulebook) Reject(ctx context.Context, who dualcontrol.Officer, id, reason string) (Proposal, error) {
	return read(r.control.Reject(ctx, who, id, reason))
}

// Withdraw ends a proposal by its own proposer.
func (r *Rulebook) Withdraw(ctx context.Context, who dualcontrol.Officer, id string) (Proposal, error) {
	return read(r.control.Withdraw(ctx, who, id))
}

// Proposal tells how a proposal stands.
func (r *Rulebook) Proposal(ctx context.Context, id string) (Proposal, error) {
	return read(r.control.Proposal(ctx, id))
}

// Proposals gives a page of the proposals, the newest first. It gives
// dualcontrol.ErrQuery for a cursor that did not come with a page.
func (r *Rulebook) Proposals(ctx context.Context, q dualcontrol.Query) ([]Proposal, string, error) {
	found, next, err := r.control.Proposals(ctx, q)
	return dualcontrol.ReadPage(read, found, next, err)
}

// governed refuses changes where files govern.
func (r *Rulebook) governed() *dualcontrol.Refusal {
	if r.Directory == "" {
		return nil
	}
	return dualcontrol.Refuse(PolicyFiles, fmt.Sprintf("The files in %s are the operator policies, as policy.directory in the configuration says. Change them there.", r.Directory))
}

func activeUnknown(err error) *dualcontrol.Refusal {
	return dualcontrol.Fail(dualcontrol.StoreUnavailable, "The active version could not be looked up. Try again later.", err)
}

// room tells package dualcontrol what is proposed here.
type room struct{ r *Rulebook }

// Describe implements dualcontrol.Room.
func (room) Describe(p dualcontrol.Proposal, e *audit.Entry) (words string, err error) {
	s, err := ParseStatement(p.Text)
	if err != nil {
		return "", err
	}
	e.PolicyVersion, e.Reason = s.Fingerprint, s.Note
	return s.Words(), nil
}

// Prepare implements dualcontrol.Room.
func (room room) Prepare(ctx context.Context, p dualcontrol.Proposal, now time.Time) (dualcontrol.Step[Record], *dualcontrol.Refusal) {
	var none dualcontrol.Step[Record]
	if no := room.r.governed(); no != nil {
		return none, no
	}
	s, err := ParseStatement(p.Text)
	if err != nil {
		return none, unreadable(err)
	}
	active, err := room.r.Ledger.ActivePolicies(ctx)
	switch {
	case err != nil:
		return none, activeUnknown(err)
	case active != s.Base:
		return none, dualcontrol.Refuse(PolicyOutdated, fmt.Sprintf("It was proposed in place of version %d, and version %d is active by now. Look at that one, and propose again what is still wanted.", s.Base, active))
	}
	// The program may be another than the one that it was proposed to.
	engine, err := policy.Load(s.Policies)
	switch {
	case err != nil:
		first, _, _ := strings.Cut(err.Error(), "\n")
		return none, dualcontrol.Refuse(PolicyInvalid, "The policies have faults: "+first)
	case engine.Version() != s.Fingerprint:
		return none, dualcontrol.Refuse(PolicyInvalid, "The policies have another fingerprint than was said. Propose them again.")
	}
	return dualcontrol.Step[Record]{Effect: &Record{Number: active + 1, Fingerprint: s.Fingerprint, Proposal: p.ID, ActivatedAt: now}}, nil
}

// read makes what it is here of a proposal that package dualcontrol gives.
func read(p dualcontrol.Proposal, err error) (Proposal, error) {
	if err != nil {
		return Proposal{}, err
	}
	s, err := ParseStatement(p.Text)
	if err != nil {
		return Proposal{}, unreadable(fmt.Errorf("proposal %s: %w", p.ID, err))
	}
	return Proposal{s, p.Progress, p.Why()}, nil
}

func unreadable(err error) *dualcontrol.Refusal {
	return dualcontrol.Fail(dualcontrol.StoreUnavailable, "The proposal cannot be read. Tell an administrator.", err)
}
