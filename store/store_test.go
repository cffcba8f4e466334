package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/custody"
	"latchkey/identity"
	"latchkey/policy"
	"latchkey/store"
	"latchkey/unblock"
)

// moment has more digits than the store keeps and is not in UTC.
var moment = time.Date(2026, 3, 29, 2, 30, 15, 123456789, time.FixedZone("", 3600))

// kept is a time as the store gives it back.
func kept(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

func open(t testing.TB, path string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), at(t, path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func newStore(t testing.TB) *store.Store {
	t.Helper()
	return open(t, filepath.Join(t.TempDir(), "latchkey.db"))
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func same(t testing.TB, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func sampleCard(serial string) card.Card {
	return card.Card{
		Serial: serial, Type: "employee", State: "blocked",
		CUID: []byte{0, 1, 0xff}, KDD: []byte("0123456789"), WrappedKey: []byte("a key, wrapped"), MasterKeyVersion: 2,
		Holder: card.Holder{
			ID: "h-1", Name: "Anna Müller", Email: "anna@example.org", EmployeeNumber: "4711",
			Unit: "Sales", Groups: []string{"b", "a"}, Privileged: true, State: "active",
		},
		Unit: "Badge office", Assurance: "high", Source: "idm",
		SyncedAt: moment,
	}
}

// start is the change that starts a process for the card.
func start(id, serial string) unblock.Change {
	return unblock.Change{
		Process: unblock.Process{
			ID: id, State: unblock.Started, Card: serial, Client: "idm", Operator: "olga", Reason: "call 17",
			StartedAt: moment, ExpiresAt: moment.Add(time.Minute), Revision: 1,
		},
		Entry: audit.Entry{Time: moment, Action: audit.UnblockStart, Outcome: audit.Permit, Client: "idm", Process: id, Card: serial},
	}
}

// answered is the change that answers it in the same write.
func answered(id, serial string, limit int) unblock.Change {
	c := start(id, serial)
	c.Process.State, c.Process.AnsweredAt, c.Process.Challenge = unblock.Answered, moment, "challenge of "+id
	c.Answer, c.MaxUnconfirmed = true, limit
	c.Entry.Action = audit.UnblockRespond
	return c
}

// worked is the change that completes it as pin-changed.
func worked(id, serial string) unblock.Change {
	c := start(id, serial)
	c.Process.State, c.Process.Outcome, c.Process.FinishedAt = unblock.Completed, unblock.PINChanged, moment
	c.From, c.Process.Revision = 1, 2
	c.Confirm = true
	c.Entry.Action = audit.UnblockComplete
	return c
}

func TestCardsRoundTrip(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	entry := audit.Entry{Time: moment, Action: audit.CardPut, Outcome: audit.Permit, Client: "idm"}

	full, bare := sampleCard("AB 1"), card.Card{Serial: "ab 1", Type: "x", State: "lost", Holder: card.Holder{ID: "h", Name: "n", State: "left"}}
	same(t, "first put", must[store.Result](t)(s.PutCard(ctx, full, entry)), store.Created)
	same(t, "put of a serial in other letters", must[store.Result](t)(s.PutCard(ctx, bare, entry)), store.Created)
	stored := full
	stored.SyncedAt = kept(full.SyncedAt)
	same(t, "full card", must[card.Card](t)(s.Card(ctx, "AB 1")), stored)
	same(t, "bare card", must[card.Card](t)(s.Card(ctx, "ab 1")), bare)

	// A synchronisation that brings nothing new refreshes the time and no more.
	later := full
	later.SyncedAt, later.MasterKeyVersion, later.WrappedKey, later.Source = moment.Add(time.Hour), 0, nil, "hr"
	same(t, "put with a new time only", must[store.Result](t)(s.PutCard(ctx, later, entry)), store.Unchanged)
	stored.SyncedAt, stored.Source = kept(later.SyncedAt), "hr"
	same(t, "refreshed card", must[card.Card](t)(s.Card(ctx, "AB 1")), stored)

	// Version 0 keeps the version, and no wrapped key the one there is, also where something else changes.
	later.State = "revoked"
	same(t, "put with a new state", must[store.Result](t)(s.PutCard(ctx, later, entry)), store.Updated)
	stored.State = "revoked"
	same(t, "updated card", must[card.Card](t)(s.Card(ctx, "AB 1")), stored)

	later.WrappedKey = []byte("another key, wrapped")
	same(t, "put with a new wrapped key", must[store.Result](t)(s.PutCard(ctx, later, entry)), store.Updated)
	stored.WrappedKey = later.WrappedKey
	same(t, "card with its new key", must[card.Card](t)(s.Card(ctx, "AB 1")), stored)

	if entries := must[[]audit.Entry](t)(s.Entries(ctx, 1, 0)); len(entries) != 4 {
		t.Errorf("%d audit entries for two cards created and two updates, want 4", len(entries))
	}
	if _, err := s.Card(ctx, "AB 2"); !errors.Is(err, card.ErrNotFound) {
		t.Errorf("card that is not there: %v", err)
	}
}

func TestCardTypesRoundTrip(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	entry := audit.Entry{Action: audit.CardTypePut}
	a := card.Type{ID: "a", Name: "A", Profile: "gids", UnblockRemote: map[string]bool{"blocked": true, "active": false}, UnblockSelf: map[string]bool{"blocked": true}, UpdatedBy: "adam", UpdatedAt: moment}
	b := card.Type{ID: "b", Name: "B", Profile: "gids"}
	same(t, "put b", must[store.Result](t)(s.PutCardType(ctx, b, entry)), store.Created)
	same(t, "put a", must[store.Result](t)(s.PutCardType(ctx, a, entry)), store.Created)

	again := a
	again.UpdatedBy, again.UpdatedAt = "eve", moment.Add(time.Hour)
	same(t, "put of the same by somebody else", must[store.Result](t)(s.PutCardType(ctx, again, entry)), store.Unchanged)
	a.UpdatedAt = kept(moment)
	same(t, "types", must[[]card.Type](t)(s.CardTypes(ctx)), []card.Type{a, b})

	again.UnblockSelf = map[string]bool{"blocked": false}
	same(t, "put with a switch turned", must[store.Result](t)(s.PutCardType(ctx, again, entry)), store.Updated)
	again.UpdatedAt = kept(again.UpdatedAt)
	same(t, "type", must[card.Type](t)(s.CardType(ctx, "a")), again)
	if entries := must[[]audit.Entry](t)(s.Entries(ctx, 1, 0)); len(entries) != 3 {
		t.Errorf("%d audit entries, want 3", len(entries))
	}
	if _, err := s.CardType(ctx, "A"); !errors.Is(err, card.ErrNotFound) {
		t.Errorf("card type that is not there: %v", err)
	}
}

func TestPutCardsIsAllOrNothing(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	puts := []store.CardPut{{Card: sampleCard("1")}, {Card: sampleCard("2")}, {Card: sampleCard("1")}}
	same(t, "results", must[[]store.Result](t)(s.PutCards(ctx, puts, nil)), []store.Result{store.Created, store.Created, store.Unchanged})

	// An entry that cannot be encoded refuses the whole.
	puts = []store.CardPut{{Card: sampleCard("3")}, {Card: sampleCard("4"), Entry: audit.Entry{Time: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}}}
	if _, err := s.PutCards(ctx, puts, nil); err == nil {
		t.Fatal("an entry that cannot be written was taken")
	}
	if _, err := s.Card(ctx, "3"); !errors.Is(err, card.ErrNotFound) {
		t.Errorf("card 3 after its import was refused: %v", err)
	}
	if entries := must[[]audit.Entry](t)(s.Entries(ctx, 1, 0)); len(entries) != 2 {
		t.Errorf("%d audit entries, want 2", len(entries))
	}
}

func TestProcessesRoundTrip(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	first := start("p1", "c1")
	p := &first.Process
	p.State, p.Approval, p.Begun = unblock.Waiting, identity.Supervisor, unblock.Once{Key: "k", Content: "c"}
	p.Means, p.Ticket, p.Verification, p.Override = identity.ByToken, "T-1", policy.CallBack, "last try"
	if err := s.Apply(ctx, first); err != nil {
		t.Fatal(err)
	}
	want := first.Process
	want.StartedAt, want.ExpiresAt = kept(want.StartedAt), kept(want.ExpiresAt)
	same(t, "waiting", must[unblock.Process](t)(s.Process(ctx, "p1")), want)
	same(t, "by key", must[unblock.Process](t)(s.ProcessOf(ctx, "k")), want)
	same(t, "that wait", must[[]unblock.Process](t)(s.WaitingProcesses(ctx, moment)), []unblock.Process{want})
	same(t, "that wait later", must[[]unblock.Process](t)(s.WaitingProcesses(ctx, want.ExpiresAt)), []unblock.Process{})

	want.State, want.Revision = unblock.Started, 2
	want.Approver, want.Verdict, want.Approved, want.DecidedAt = &identity.Person{ID: "sue", Roles: []identity.Role{identity.Supervisor}}, "known", "hash", kept(moment)
	if err := s.Apply(ctx, unblock.Change{Process: want, From: 1, Entry: first.Entry}); err != nil {
		t.Fatal(err)
	}
	same(t, "approved", must[unblock.Process](t)(s.Process(ctx, "p1")), want)

	want.State, want.AnsweredAt, want.Challenge, want.Revision = unblock.Answered, kept(moment), "00FF", 3
	want.Given = unblock.Once{Key: "k2", Content: "c2"}
	if err := s.Apply(ctx, unblock.Change{Process: want, From: 2, Answer: true, Entry: first.Entry}); err != nil {
		t.Fatal(err)
	}
	same(t, "by the key of its answer", must[unblock.Process](t)(s.ProcessOf(ctx, "k2")), want)
	same(t, "answered", must[unblock.Process](t)(s.Process(ctx, "p1")), want)
	if _, err := s.Process(ctx, "p2"); !errors.Is(err, card.ErrNotFound) {
		t.Errorf("process that is not there: %v", err)
	}
}

func TestApplyRefusesWhatDoesNotFit(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	for _, c := range []unblock.Change{answered("p2", "c1", 2), start("p1", "c1")} {
		if err := s.Apply(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	revision := func(c unblock.Change, from int64) unblock.Change {
		c.From, c.Process.Revision = from, from+1
		return c
	}
	jump := start("p9", "c1")
	jump.Process.Revision = 2
	for name, test := range map[string]struct {
		change unblock.Change
		want   error
	}{
		"an ID that is taken":             {start("p1", "c1"), unblock.ErrConflict},
		"a process that is not there":     {revision(start("p9", "c1"), 1), unblock.ErrConflict},
		"a revision that is past":         {revision(answered("p2", "c1", 0), 2), unblock.ErrConflict},
		"a revision that does not follow": {jump, nil},
	} {
		before := must[[]audit.Entry](t)(s.Entries(ctx, 1, 0))
		if err := s.Apply(ctx, test.change); err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
		same(t, name+": audit log", must[[]audit.Entry](t)(s.Entries(ctx, 1, 0)), before)
		same(t, name+": unconfirmed", must[unblock.Standing](t)(s.Standing(ctx, "c1")).Unconfirmed, 1)
	}
}

func TestAttempts(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	const limit, callers = 4, 64
	race := func(round int) {
		var won, refused atomic.Int64
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				switch err := s.Apply(ctx, answered(fmt.Sprintf("p-%d-%d", round, i), "c1", limit)); {
				case err == nil:
					won.Add(1)
				case errors.Is(err, unblock.ErrAttempts):
					refused.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won.Load() != limit || refused.Load() != callers-limit {
			t.Errorf("round %d: %d answers and %d refusals, want %d and %d", round, won.Load(), refused.Load(), limit, callers-limit)
		}
		same(t, "unconfirmed", must[unblock.Standing](t)(s.Standing(ctx, "c1")).Unconfirmed, limit)
	}
	race(1)
	same(t, "unconfirmed of another card", must[unblock.Standing](t)(s.Standing(ctx, "c2")).Unconfirmed, 0)

	given := must[[]audit.Entry](t)(s.Entries(ctx, 1, 0))
	if err := s.Apply(ctx, worked(given[len(given)-1].Process, "c1")); err != nil {
		t.Fatal(err)
	}
	same(t, "unconfirmed after the last one worked", must[unblock.Standing](t)(s.Standing(ctx, "c1")).Unconfirmed, 0)
	race(2)

	// A refused answer left neither process nor entry nor gap.
	entries := must[[]audit.Entry](t)(s.Entries(ctx, 1, 0))
	if len(entries) != 2*limit+1 {
		t.Errorf("%d audit entries, want %d", len(entries), 2*limit+1)
	}
	for i, e := range entries {
		if e.Sequence != int64(i)+1 {
			t.Errorf("entry %d has sequence number %d", i+1, e.Sequence)
		}
	}
	// No limit is no limit.
	for i := range limit + 1 {
		if err := s.Apply(ctx, answered(fmt.Sprint("free", i), "c1", 0)); err != nil {
			t.Fatal(err)
		}
	}
}

// An answer is not written where what it rests on was changed after it was read.
func TestGroundsStand(t *testing.T) {
	entry := audit.Entry{Time: moment, Action: audit.CardPut, Outcome: audit.Permit, Client: "idm"}
	for name, test := range map[string]struct {
		change func(t *testing.T, s *store.Store)
		want   error
	}{
		"nothing": {func(*testing.T, *store.Store) {}, nil},
		"card confirmed": {func(t *testing.T, s *store.Store) {
			c := sampleCard("c1")
			c.SyncedAt = moment.Add(time.Hour)
			must[store.Result](t)(s.PutCard(t.Context(), c, entry))
		}, nil},
		"card revoked": {func(t *testing.T, s *store.Store) {
			c := sampleCard("c1")
			c.State = "revoked"
			must[store.Result](t)(s.PutCard(t.Context(), c, entry))
		}, unblock.ErrGrounds},
		"card confirmed by another source": {func(t *testing.T, s *store.Store) {
			c := sampleCard("c1")
			c.Source = "another"
			must[store.Result](t)(s.PutCard(t.Context(), c, entry))
		}, unblock.ErrGrounds},
		"type renamed": {func(t *testing.T, s *store.Store) {
			must[store.Result](t)(s.PutCardType(t.Context(), card.Type{ID: "employee", Name: "Guest", Profile: "gids", UnblockRemote: map[string]bool{"blocked": true}, UpdatedAt: moment}, entry))
		}, unblock.ErrGrounds},
		"use case switched off": {func(t *testing.T, s *store.Store) {
			must[store.Result](t)(s.PutCardType(t.Context(), card.Type{ID: "employee", Name: "Employee", Profile: "gids", UpdatedAt: moment}, entry))
		}, unblock.ErrGrounds},
		"key active":    {func(t *testing.T, s *store.Store) { keepKey(t, s, custody.Active) }, nil},
		"key suspended": {func(t *testing.T, s *store.Store) { keepKey(t, s, custody.Suspended) }, unblock.ErrGrounds},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			kind := card.Type{ID: "employee", Name: "Employee", Profile: "gids", UnblockRemote: map[string]bool{"blocked": true}, UpdatedAt: moment}
			must[store.Result](t)(s.PutCardType(t.Context(), kind, entry))
			must[store.Result](t)(s.PutCard(t.Context(), sampleCard("c1"), entry))
			test.change(t, s)
			c := answered("p1", "c1", 0)
			c.Grounds = &unblock.Grounds{Card: sampleCard("c1"), Type: kind, Master: "fleet", Version: 2}
			if err := s.Apply(t.Context(), c); !errors.Is(err, test.want) {
				t.Fatalf("%v, want %v", err, test.want)
			}
			want := 1
			if test.want != nil {
				want = 0
			}
			same(t, "unconfirmed", must[unblock.Standing](t)(s.Standing(t.Context(), "c1")).Unconfirmed, want)
		})
	}
	s := newStore(t)
	must[store.Result](t)(s.PutCard(t.Context(), sampleCard("c1"), entry))
	must[store.Result](t)(s.PutCardType(t.Context(), card.Type{ID: "employee", Name: "Employee", Profile: "gids", UpdatedAt: moment}, entry))
	for i, test := range []struct {
		counted bool
		count   int // that policies saw
		want    error
	}{{true, 0, nil}, {true, 0, unblock.ErrGrounds}, {false, 0, nil}, {true, 1, unblock.ErrGrounds}, {true, 2, nil}} {
		c := answered(fmt.Sprintf("p%d", i), "c1", 0)
		c.Grounds = &unblock.Grounds{
			Card: sampleCard("c1"), Type: card.Type{ID: "employee", Name: "Employee", Profile: "gids"}, Counted: test.counted, Unconfirmed: test.count,
		}
		if err := s.Apply(t.Context(), c); !errors.Is(err, test.want) {
			t.Errorf("%+v: %v", test, err)
		}
	}
	s = newStore(t)
	c := answered("p1", "nobody", 0)
	c.Grounds = &unblock.Grounds{Card: sampleCard("nobody")}
	if err := s.Apply(t.Context(), c); !errors.Is(err, unblock.ErrGrounds) {
		t.Errorf("a card that is not there: %v", err)
	}
}

// keepKey has the ledger know version 2 of the key fleet in a state.
func keepKey(t *testing.T, s *store.Store, state custody.State) {
	t.Helper()
	key := custody.Record{Key: "fleet", Version: 2, State: state, CreatedAt: moment, ChangedAt: moment, Revision: 1}
	if err := s.Keep(t.Context(), custody.Change{Effect: &custody.Effect{Key: key}}); err != nil {
		t.Fatal(err)
	}
}

// A response that worked says nothing of those given out after it, however late
// its outcome is reported.
func TestConfirmReachesBackOnly(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	for _, step := range []struct {
		change unblock.Change
		want   int // unconfirmed afterwards
	}{
		{answered("a", "c1", 4), 1},
		{answered("b", "c1", 4), 2},
		{answered("other", "c2", 4), 2},
		{answered("c", "c1", 4), 3},
		{worked("b", "c1"), 1},
		{worked("a", "c1"), 1},
		{answered("d", "c1", 4), 2},
		{worked("d", "c1"), 0},
		{worked("c", "c1"), 0},
		{worked("other", "c2"), 0},
	} {
		if err := s.Apply(ctx, step.change); err != nil {
			t.Fatal(err)
		}
		p := step.change.Process
		same(t, fmt.Sprintf("unconfirmed after %s was %s", p.ID, p.State), must[unblock.Standing](t)(s.Standing(ctx, "c1")).Unconfirmed, step.want)
	}
	same(t, "unconfirmed of the other card", must[unblock.Standing](t)(s.Standing(ctx, "c2")).Unconfirmed, 0)
}

func TestEntriesRoundTrip(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	full := audit.Entry{
		Time: moment, Action: audit.UnblockRespond, Outcome: audit.Deny, Check: "card active", Code: "card-not-active",
		Client: "idm", Operator: "olga", Delegation: "own certificate", Address: "192.0.2.1", RequestID: "r", Process: "p",
		Card: "c", CardType: "t", Profile: "gids", MasterKey: "m", KeyVersion: 3, Policies: []string{"x", "y"}, PolicyVersion: "v",
		Challenge: "00FF", Reason: "<b>&\u2028", Detail: "d", LatencyMicros: 7, Sequence: 99,
	}
	for _, e := range []audit.Entry{full, {}, full} {
		if err := s.Append(ctx, e); err != nil {
			t.Fatal(err)
		}
	}
	full.Time = kept(moment)
	first, third := full, full
	first.Sequence, third.Sequence = 1, 3
	same(t, "all", must[[]audit.Entry](t)(s.Entries(ctx, 0, 10)), []audit.Entry{first, {Sequence: 2}, third})
	same(t, "from 2, one", must[[]audit.Entry](t)(s.Entries(ctx, 2, 1)), []audit.Entry{{Sequence: 2}})
	same(t, "past the end", must[[]audit.Entry](t)(s.Entries(ctx, 4, 1)), []audit.Entry(nil))
}

func TestFindCards(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	for serial, h := range map[string]card.Holder{
		"100":       {ID: "u1", Name: "Anna Müller", Email: "anna.mueller@example.org", EmployeeNumber: "E-17"},
		"10%0":      {ID: "u2", Name: "Jörg Straße", Email: "joerg@example.org"},
		"10_0":      {ID: "u3", Name: "Σίσυφος", Email: "s@example.org"},
		`10\0`:      {ID: "u4", Name: "100% Wolle"},
		"Ab1":       {ID: "u5", Name: "Ng"},
		"x-100":     {ID: "u6", Name: "İpek Yıldız"},
		"AB 1":      {ID: "u7", Name: "Anna-Karin Øster"},
		"GIDS-0042": {ID: "u8", Name: "Łukasz Muller"},
		"---":       {ID: "u9", Name: "Николай Ёлкин", Email: "no address"},
	} {
		h.State = "active"
		if _, err := s.PutCard(ctx, card.Card{Serial: serial, Type: "t", State: "active", Holder: h}, audit.Entry{}); err != nil {
			t.Fatal(err)
		}
	}
	for text, want := range map[string]string{
		"":                         `--- 10%0 100 10\0 10_0 AB 1 Ab1 GIDS-0042 x-100`,
		"100":                      `100 x-100 10\0`, // in the order of the words: 100, 100, 100%
		"10%":                      "10%0 100 x-100 10\\0 10_0",
		"10%0":                     "10%0",
		"10_0":                     "10_0",
		`10\0`:                     `10\0`,
		"-":                        "---",
		"_":                        "",
		"aB":                       "AB 1 Ab1",
		"ab 1":                     "AB 1",
		"1 ab":                     "AB 1",
		"0042":                     "GIDS-0042",
		"gids-":                    "GIDS-0042",
		"42":                       "", // no word begins so
		"MÜLLER":                   "100 GIDS-0042",
		"muller":                   "100 GIDS-0042",
		"mueller":                  "100",
		"mu\u0308ller":             "100 GIDS-0042", // two characters for one letter
		"  anna  ":                 "100 AB 1",
		"anna mü":                  "100",
		"mü an":                    "100",
		"(müller), anna":           "100",
		"anna anna an":             "100 AB 1",
		"karin":                    "AB 1",
		"oster":                    "AB 1",
		"oester":                   "AB 1",
		"lukasz":                   "GIDS-0042",
		"yildiz":                   "x-100",
		"елкин":                    "---",
		"strasse":                  "10%0",
		"straße joerg":             "10%0",
		"σισυφοσ":                  "10_0", // no accent, and the final sigma
		"e-17":                     "100",
		"17":                       "100",
		"U4":                       `10\0`,
		"@EXAMPLE.org":             "", // what is behind the @ finds nobody
		"mueller@example":          "100",
		"address":                  "---",
		"anna u1":                  "100",
		"anna u2":                  "",
		"' OR 1=1 --":              "",
		"nobody":                   "",
		"anna nobody":              "",
		"i\u0307pek":               "x-100",
		"anna.mueller@example.org": "100",
	} {
		cards, next, err := s.FindCards(ctx, store.Query{Text: text})
		if err != nil || next != "" {
			t.Errorf("%q: next %q, error %v", text, next, err)
		}
		var got []string
		for _, c := range cards {
			got = append(got, c.Serial)
		}
		same(t, fmt.Sprintf("cards found by %q", text), strings.Join(got, " "), want)
	}
	for name, q := range map[string]store.Query{
		"a text that is too long": {Text: strings.Repeat("x", card.MaxText+1)},
		"too many words":          {Text: "a b c d e f g h i j k l m n o p q"},
		"a cursor of no page":     {After: "?"},
		"a cursor of all cards":   {Text: "anna", After: "MTAw"},
		"of another search":       {Text: "karin", After: "YW5uYQoxMDA"},
		"of a search, for all":    {After: "YW5uYQoxMDA"},
	} {
		if _, _, err := s.FindCards(ctx, q); !errors.Is(err, store.ErrQuery) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFindCardsByPages(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	var puts []store.CardPut
	for i := range store.MaxCards + 10 {
		puts = append(puts, store.CardPut{Card: sampleCard(fmt.Sprintf("%04d", i))})
	}
	must[[]store.Result](t)(s.PutCards(ctx, puts, nil))
	for limit, sizes := range map[int][]int{
		0:                   {50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 10},
		255:                 {255, 255}, // the last page is full and is the last
		store.MaxCards + 10: {store.MaxCards, 10},
	} {
		q := store.Query{Text: "müller", Limit: limit}
		seen := 0
		for i, size := range sizes {
			cards, next, err := s.FindCards(ctx, q)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range cards {
				same(t, "serial", c.Serial, fmt.Sprintf("%04d", seen))
				seen++
			}
			if last := i == len(sizes)-1; len(cards) != size || (next == "") != last {
				t.Errorf("limit %d, page %d: %d cards, next %q", limit, i+1, len(cards), next)
			}
			q.After = next
		}
	}
}

func TestFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "what? 100% #1.db")
	s := open(t, path)
	if err := s.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal", "-shm", "-lock"} {
		info, err := os.Stat(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != 0o600 {
			t.Errorf("%s has mode %v", path+suffix, info.Mode())
		}
	}
}

func TestClosed(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	// Everything that was handed in before Close is either carried out or refused.
	var wg sync.WaitGroup
	var acknowledged atomic.Int64
	for i := range 64 {
		wg.Go(func() {
			switch err := s.Apply(ctx, start(fmt.Sprint("p", i), fmt.Sprint("c", i))); {
			case err == nil:
				acknowledged.Add(1)
			case !errors.Is(err, store.ErrClosed):
				t.Error(err)
			}
		})
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	_, errCard := s.Card(ctx, "c")
	_, _, errFind := s.FindCards(ctx, store.Query{})
	for name, err := range map[string]error{
		"Apply": s.Apply(ctx, start("p", "c")), "Check": s.Check(ctx), "Card": errCard, "FindCards": errFind,
	} {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s on a closed store: %v", name, err)
		}
	}
}

func TestCancelledBeforeTheCall(t *testing.T) {
	s := newStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Apply(ctx, start("p", "c")); !errors.Is(err, context.Canceled) || errors.Is(err, store.ErrUncertain) {
		t.Errorf("Apply: %v", err)
	}
	if _, err := s.Process(t.Context(), "p"); !errors.Is(err, card.ErrNotFound) {
		t.Errorf("Process: %v", err)
	}
}
