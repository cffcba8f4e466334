package custody_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/custody"
	"latchkey/dualcontrol"
	"latchkey/hsm"
	softhsmtest "latchkey/softhsm-test"
	"latchkey/store"
)

// moment is when the tests begin.
var moment = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

const lifetime = 24 * time.Hour

// world is an office with a real token and a real database. Its officers are
// whoever a test calls one.
type world struct {
	t      *testing.T
	office *custody.Office
	store  *store.Store
	path   string // of the database
	token  *brittle

	mu  sync.Mutex
	now time.Time
	ids int
}

// brittle is the token with a place to break it: before or after a call that
// changes it.
type brittle struct {
	*hsm.Token
	before, after func() error
	calls         int // that change the token
}

func (b *brittle) Generate(ctx context.Context, n hsm.NewKey) (hsm.Key, error) {
	return breakable(b, func() (hsm.Key, error) { return b.Token.Generate(ctx, n) })
}

func (b *brittle) Destroy(ctx context.Context, label string, version int) error {
	_, err := breakable(b, func() (struct{}, error) { return struct{}{}, b.Token.Destroy(ctx, label, version) })
	return err
}

func breakable[T any](b *brittle, call func() (T, error)) (T, error) {
	var none T
	b.calls++
	if b.before != nil {
		if err := b.before(); err != nil {
			return none, err
		}
	}
	v, err := call()
	if err == nil && b.after != nil {
		if err := b.after(); err != nil {
			return none, err
		}
	}
	return v, err
}

// profiles are gids, whose cards come from master key fleet, and no other.
type profiles struct{}

func (profiles) Profile(id string) (card.Profile, error) {
	if id != "gids" {
		return card.Profile{}, card.ErrNotFound
	}
	return card.Profile{ID: "gids", MasterKey: "fleet", MasterKeyVersion: 1}, nil
}

// newWorld makes an office that wants so many approvals.
func newWorld(t *testing.T, approvals int) *world {
	t.Helper()
	w := &world{t: t, now: moment, path: filepath.Join(t.TempDir(), "latchkey.db")}
	w.token = &brittle{Token: softhsmtest.New(t).Open(t)}
	w.open(approvals)
	return w
}

// open opens the database and makes the office anew, as after a restart.
func (w *world) open(approvals int) {
	w.t.Helper()
	s, err := store.Open(w.t.Context(), w.path)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = s.Close() })
	w.store = s
	w.configure(custody.Config{Token: w.token, Ledger: s, Approvals: approvals})
}

// configure makes the office, with what the test does not say filled in.
func (w *world) configure(c custody.Config) {
	w.t.Helper()
	c.Cards, c.Profiles, c.Lifetime = w.store, profiles{}, lifetime
	c.Now = func() time.Time {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.now
	}
	c.NewID = func() string {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.ids++
		return fmt.Sprintf("proposal-%d", w.ids)
	}
	var err error
	if w.office, err = custody.New(c); err != nil {
		w.t.Fatal(err)
	}
}

func by(name string) dualcontrol.Officer {
	return dualcontrol.Officer{Client: name, Person: "person of " + name, Address: "192.0.2.1", RequestID: "r-1"}
}

// fleet is a draft about master key fleet.
func fleet(act custody.Act, version int) custody.Draft {
	d := custody.Draft{Act: act, Parameters: custody.Parameters{Key: "fleet", Version: version}}
	if act == custody.Generate {
		d.Parameters.Type, d.Parameters.Use = card.AES256, hsm.ForDeriving
	}
	return d
}

// propose has olga propose.
func (w *world) propose(d custody.Draft) custody.Proposal {
	w.t.Helper()
	p, err := w.office.Propose(w.t.Context(), by("olga"), d)
	if err != nil {
		w.t.Fatalf("propose %s: %v", d.Act, err)
	}
	return p
}

// done has olga propose and otto approve, which has to be enough.
func (w *world) done(d custody.Draft) custody.Proposal {
	w.t.Helper()
	p := w.propose(d)
	if p.State == dualcontrol.Executed {
		return p
	}
	p, err := w.office.Approve(w.t.Context(), by("otto"), p.ID, p.Hash())
	if err != nil || p.State != dualcontrol.Executed {
		w.t.Fatalf("%s: %s, %s (%v)", d.Act, p.State, p.Result.Error, err)
	}
	return p
}

// state is the state that the ledger has a version of fleet in, "" where it has
// none.
func (w *world) state(version int) custody.State {
	w.t.Helper()
	r, err := w.store.Record(w.t.Context(), "fleet", version)
	if err != nil && !errors.Is(err, card.ErrNotFound) {
		w.t.Fatal(err)
	}
	return r.State
}

// keys lists the versions of fleet that are in the token.
func (w *world) keys() (versions []int) {
	w.t.Helper()
	keys, err := w.token.Keys(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, k := range keys {
		if k.Label == "fleet" {
			versions = append(versions, k.Version)
		}
	}
	return versions
}

// entries is the whole audit log.
func (w *world) entries() []audit.Entry {
	w.t.Helper()
	list, err := w.store.Entries(w.t.Context(), 1, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

// refused is the code that an error has to be a refusal with.
func refused(t *testing.T, err error) dualcontrol.Code {
	t.Helper()
	var no *dualcontrol.Refusal
	if !errors.As(err, &no) {
		t.Errorf("error %v is not a refusal", err)
		return ""
	}
	return no.Code
}
