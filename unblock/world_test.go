package unblock_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/identity"
	"latchkey/policy"
	"latchkey/unblock"
)

// moment is when the tests begin.
var moment = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

const (
	challenge = "0123 4567 89ab cdef"
	maxAge    = 24 * time.Hour
	lifetime  = 15 * time.Minute

	approvalLifetime = 10 * time.Minute
)

// limits are far from what a test does, unless it means to reach them.
func limits() unblock.Limits {
	return unblock.Limits{PerOperator: unblock.Rate{N: 100, Per: time.Hour}}
}

// answer is what the HSM of these tests answers.
func answer() card.Response { return card.Response{0xC0, 0xFF, 0xEE, 0, 0xC0, 0xFF, 0xEE, 1} }

// world is a desk with everything that it stands on, each part as small as its
// interface: what it is to give back is set by the test. As it is made, every check
// passes.
type world struct {
	desk *unblock.Desk
	now  time.Time

	card      card.Card
	kind      card.Type
	profile   card.Profile
	operators map[string]policy.Operator

	decision policy.Decision
	decide   func(policy.Request) policy.Decision // in place of decision, where set
	views    int                                  // how often policy was asked who sees the card

	unseen bool // whether the operator may not know of the card

	// What each part fails with.
	viewErr, cardErr, kindErr, profileErr, operatorErr, policyErr, keyErr error

	keyIs string // why the master key is not usable, "" where it is

	asked []policy.Request // of the policy
	hsm   hsm
	ledger
}

// newWorld makes a desk before which card 4711 of type staff lies.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		now: moment,
		card: card.Card{
			Serial: "4711", Type: "staff", State: "blocked", MasterKeyVersion: 2, SyncedAt: moment.Add(-time.Hour),
			Holder: card.Holder{ID: "bo", Name: "Bo Ek", State: "active"},
		},
		kind: card.Type{ID: "staff", Name: "Staff card", Profile: "gids", UnblockRemote: map[string]bool{"blocked": true}},
		profile: card.Profile{
			ID: "gids", Name: "GIDS", Algorithm: card.TDESECB, ChallengeLen: 8, CardKeyType: card.TDES3,
			Scheme: card.LatchkeyV1, MasterKey: "cards", MasterKeyVersion: 1, Retry: card.RetryUnknown,
		},
		operators: map[string]policy.Operator{
			"anna": {ID: "anna", Name: "Anna Blom", Roles: []identity.Role{identity.Operator}},
			"omar": {ID: "omar", Name: "Omar Ahlgren", Roles: []identity.Role{identity.Operator}},
		},
		decision: policy.Decision{Allow: true, Policies: []string{"operators"}, Why: "Operators may.", Version: "v1"},
		ledger:   ledger{processes: make(map[string]unblock.Process), arrivals: make(map[string]time.Time)},
	}
	ids := 0
	desk, err := unblock.New(unblock.Config{
		Cards: w, Profiles: w, Operators: w, Policy: w, Keys: w, HSM: &w.hsm, Ledger: &w.ledger,
		CardStates: card.DefaultCardStates(), HolderStates: card.DefaultHolderStates(),
		MaxAge: maxAge, Lifetime: lifetime, ApprovalLifetime: approvalLifetime, Limits: limits(),
		Now:   func() time.Time { return w.now },
		NewID: func() string { ids++; return fmt.Sprintf("process-%d", ids) },
	})
	if err != nil {
		t.Fatal(err)
	}
	w.desk = desk
	return w
}

func (w *world) Card(_ context.Context, serial string) (card.Card, error) {
	if w.cardErr == nil && serial != w.card.Serial {
		return card.Card{}, card.ErrNotFound
	}
	return w.card, w.cardErr
}

func (w *world) CardType(_ context.Context, id string) (card.Type, error) {
	if w.kindErr == nil && id != w.kind.ID {
		return card.Type{}, card.ErrNotFound
	}
	return w.kind, w.kindErr
}

func (w *world) Dossier(ctx context.Context, q unblock.Question) (unblock.Dossier, error) {
	found, err := w.Card(ctx, q.Card)
	if err != nil {
		return unblock.Dossier{}, err
	}
	kind, err := w.CardType(ctx, found.Type)
	if errors.Is(err, card.ErrNotFound) {
		kind, err = card.Type{}, nil
	}
	standing, _ := w.Standing(ctx, q.Card)
	return unblock.Dossier{Card: found, Type: kind, Standing: standing, Answered: w.answeredBefore(q)}, err
}

func (w *world) Profile(id string) (card.Profile, error) {
	if w.profileErr == nil && id != w.profile.ID {
		return card.Profile{}, card.ErrNotFound
	}
	return w.profile, w.profileErr
}

func (w *world) Operator(_ context.Context, id string) (policy.Operator, error) {
	if o, ok := w.operators[id]; ok || w.operatorErr != nil {
		return o, w.operatorErr
	}
	return policy.Operator{}, card.ErrNotFound
}

func (w *world) Decide(_ context.Context, r policy.Request) (policy.Decision, error) {
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	w.asked = append(w.asked, r)
	if w.decide != nil {
		return w.decide(r), w.policyErr
	}
	return w.decision, w.policyErr
}

func (w *world) View(_ context.Context, r policy.ViewRequest) (policy.Decision, error) {
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	w.views++
	return policy.Decision{Allow: !w.unseen}, w.viewErr
}

func (w *world) Usable(_ context.Context, key string, version int) (string, error) {
	if key != w.profile.MasterKey || version != w.card.MasterKeyVersion {
		return "is another key", nil
	}
	return w.keyIs, w.keyErr
}

// hsm counts its calls and keeps what it gave out, so that a test can see whether
// that was wiped.
type hsm struct {
	mu     sync.Mutex
	calls  []hsmCall
	err    error
	give   func() card.Response // answer unless set
	during func()               // runs while the HSM works, where set
}

type hsmCall struct {
	key       card.AdminKey
	algorithm card.Algorithm
	challenge card.Challenge
	response  card.Response
}

func (h *hsm) Respond(_ context.Context, key card.AdminKey, algorithm card.Algorithm, challenge card.Challenge) (card.Response, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	give := h.give
	if give == nil {
		give = answer
	}
	call := hsmCall{key, algorithm, challenge, give()}
	h.calls = append(h.calls, call)
	if h.during != nil {
		h.during()
	}
	return call.response, h.err
}

// wiped tells whether nothing is left of any response that the HSM gave out.
func (h *hsm) wiped() bool {
	return !slices.ContainsFunc(h.calls, func(c hsmCall) bool {
		return slices.ContainsFunc(c.response, func(b byte) bool { return b != 0 })
	})
}

// ledger keeps its promises in memory. It refuses to work for a context that has
// ended, as a database does.
type ledger struct {
	mu          sync.Mutex
	processes   map[string]unblock.Process
	changes     []unblock.Change
	entries     []audit.Entry     // of lone appends
	decided     []*policy.Decided // that came with them
	unconfirmed int
	latest      string // process
	arrivals    map[string]time.Time

	applyErr, appendErr, findErr, arrivalsErr error

	stands func(unblock.Grounds) bool // whether an answer's grounds do, where set
}

func (l *ledger) Apply(ctx context.Context, c unblock.Change) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := errors.Join(l.applyErr, ctx.Err()); err != nil {
		return err
	}
	p := c.Process
	if c.Repeat {
		if l.processes[p.ID].Revision != c.From {
			return unblock.ErrConflict
		}
		l.changes = append(l.changes, c)
		return nil
	}
	for id, other := range l.processes {
		for _, key := range []string{p.Begun.Key, p.Given.Key} {
			if id != p.ID && key != "" && (other.Begun.Key == key || other.Given.Key == key) {
				return unblock.ErrOnce
			}
		}
		if id != p.ID && c.Answer && !c.Again && other.Card == p.Card && other.Challenge == p.Challenge {
			return unblock.ErrChallenge
		}
	}
	before := l.processes[p.ID]
	if before.Revision != c.From || p.Revision != c.From+1 || !before.State.May(p.State) {
		return unblock.ErrConflict
	}
	if c.Answer && l.stands != nil && !l.stands(*c.Grounds) {
		return unblock.ErrGrounds
	}
	if latest := l.processes[l.latest]; (c.From == 0 || c.Answer) && latest.ID != p.ID && latest.Holds(p.Operator, c.Entry.Time) {
		return unblock.ErrBusy
	}
	if c.Answer && c.MaxUnconfirmed != 0 && l.unconfirmed >= c.MaxUnconfirmed {
		return unblock.ErrAttempts
	}
	if !l.charge(c.Charges, c.Entry.Time) {
		return unblock.ErrRate
	}
	if c.Answer {
		l.unconfirmed++
	}
	if c.From == 0 || c.Answer {
		l.latest = p.ID
	}
	l.processes[p.ID] = p
	l.changes = append(l.changes, c)
	return nil
}

// charge charges the accounts that have room, and tells whether all had.
func (l *ledger) charge(charges []unblock.Charge, now time.Time) bool {
	room := true
	for _, c := range charges {
		if c.Wait(l.arrivals[c.Key], now) > 0 {
			room = false
			continue
		}
		from := l.arrivals[c.Key]
		if from.Before(now) {
			from = now
		}
		l.arrivals[c.Key] = from.Add(c.Interval())
	}
	return room
}

func (l *ledger) Deny(ctx context.Context, e audit.Entry, charges []unblock.Charge, decided *policy.Decided) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := errors.Join(l.appendErr, ctx.Err()); err != nil {
		return err
	}
	l.charge(charges, e.Time)
	l.entries = append(l.entries, e)
	l.decided = append(l.decided, decided)
	return nil
}

func (l *ledger) Process(_ context.Context, id string) (unblock.Process, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p, ok := l.processes[id]; ok || l.findErr != nil {
		return p, l.findErr
	}
	return unblock.Process{}, card.ErrNotFound
}

func (l *ledger) ProcessOf(_ context.Context, key string) (unblock.Process, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.processes {
		if p.Begun.Key == key || p.Given.Key == key {
			return p, nil
		}
	}
	return unblock.Process{}, card.ErrNotFound
}

func (l *ledger) WaitingProcesses(_ context.Context, now time.Time) ([]unblock.Process, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []unblock.Process
	for _, p := range l.processes {
		if p.State == unblock.Waiting && now.Before(p.ExpiresAt) {
			list = append(list, p)
		}
	}
	return list, nil
}

func (l *ledger) Standing(context.Context, string) (unblock.Standing, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return unblock.Standing{Unconfirmed: l.unconfirmed, Latest: l.processes[l.latest]}, nil
}

func (l *ledger) OpenProcesses(_ context.Context, serial string, now time.Time) ([]unblock.Process, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []unblock.Process
	for _, p := range l.processes {
		if p.Card == serial && (p.State == unblock.Answered || p.Holds("", now)) {
			list = append(list, p)
		}
	}
	return list, l.findErr
}

func (l *ledger) answeredBefore(q unblock.Question) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.processes {
		if p.Card == q.Card && p.Challenge != "" && p.Challenge == q.Challenge && p.ID != q.Process {
			return true
		}
	}
	return false
}

func (l *ledger) Arrivals(_ context.Context, keys ...string) (map[string]time.Time, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	arrivals := map[string]time.Time{}
	for _, key := range keys {
		if at, ok := l.arrivals[key]; ok {
			arrivals[key] = at
		}
	}
	return arrivals, l.arrivalsErr
}

// call is what a test asks the desk: as it is made, everything about it is right.
type call struct {
	caller    unblock.Caller
	begin     unblock.Begin
	challenge string
}

// backend is a call of a client that names the operator.
func backend() call {
	return call{
		unblock.Caller{Client: "idm", NamesOperators: true, Address: "192.0.2.1", RequestID: "r-1"},
		unblock.Begin{Card: "4711", Operator: "anna", Reason: "PIN forgotten"},
		challenge,
	}
}

// operatorCaller is an operator who calls, or whose token the client passes. That
// it was two factors tells him from the one whom the registry of the tests holds.
func operatorCaller(client, id string, means identity.Means) unblock.Caller {
	who := policy.Operator{ID: id, Name: id, Roles: []identity.Role{identity.Operator}, MFA: true}
	return unblock.Caller{Client: client, Operator: &who, Means: means, Address: "192.0.2.7"}
}

// start starts a process that is to work.
func (w *world) start(t *testing.T, c call) unblock.Process {
	t.Helper()
	opened, err := w.desk.Start(t.Context(), c.caller, c.begin)
	if err != nil {
		t.Fatal(err)
	}
	return opened.Process
}

// answered starts and answers a process.
func (w *world) answered(t *testing.T, c call) unblock.Process {
	t.Helper()
	a, err := w.desk.Answer(t.Context(), c.caller, w.start(t, c).ID, unblock.Typed{Challenge: c.challenge})
	if err != nil {
		t.Fatal(err)
	}
	return a.Process
}

// refusal is the refusal that an error has to be.
func refusal(t *testing.T, err error) *unblock.Refusal {
	t.Helper()
	var no *unblock.Refusal
	if !errors.As(err, &no) {
		t.Fatalf("error %v is not a refusal", err)
	}
	return no
}
