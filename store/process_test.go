package store_test

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/store"
	"latchkey/unblock"
)

// What the database itself keeps a process from: every move that the table of moves
// does not have, and becoming a process for something else.
func TestDatabaseKeepsProcesses(t *testing.T) {
	where := at(t, filepath.Join(t.TempDir(), "latchkey.db"))
	s := must[*store.Store](t)(store.Open(t.Context(), where))
	defer func() { _ = s.Close() }()
	driver := "sqlite3"
	if strings.Contains(where, "://") {
		driver = "pgx"
	}
	db := must[*sql.DB](t)(sql.Open(driver, where))
	defer func() { _ = db.Close() }()
	exec := func(format string, args ...any) error {
		_, err := db.ExecContext(t.Context(), fmt.Sprintf(format, args...))
		return err
	}
	const begin = `INSERT INTO processes (id, state, outcome, card, client, operator, reason, revision) VALUES ('%s', '%s', '', 'c', 'c', 'o', 'r', 1)`
	const move = `UPDATE processes SET state = '%s' WHERE id = '%s'`
	// reach makes a process that stands in the state.
	n := 0
	reach := func(state unblock.State) string {
		n++
		id, before := fmt.Sprint("p", n), unblock.State("")
		way := map[unblock.State][]unblock.State{
			unblock.Waiting: {unblock.Waiting}, unblock.Started: {unblock.Started}, unblock.Answered: {unblock.Answered},
			unblock.Completed: {unblock.Answered, unblock.Completed}, unblock.Failed: {unblock.Answered, unblock.Failed},
			unblock.Cancelled: {unblock.Started, unblock.Cancelled}, unblock.Refused: {unblock.Waiting, unblock.Refused},
			unblock.Expired: {unblock.Started, unblock.Expired},
		}[state]
		for _, next := range way {
			var err error
			if before == "" {
				err = exec(begin, id, next)
			} else {
				err = exec(move, next, id)
			}
			if err != nil {
				t.Fatal(err)
			}
			before = next
		}
		return id
	}
	for _, to := range unblock.States() {
		c := start(string("new "+to), string("card of "+to))
		c.Process.State = to
		err := s.Apply(t.Context(), c)
		if legal := unblock.State("").May(to); (err == nil) != legal {
			t.Errorf("begin as %s: %v, legal: %v", to, err, legal)
		}
		for _, from := range unblock.States() {
			err := exec(move, to, reach(from))
			if legal := from.May(to); (err == nil) != legal {
				t.Errorf("from %s to %s: %v, legal: %v", from, to, err, legal)
			}
		}
	}
	if exec(begin, "odd", "odd") == nil {
		t.Error("a process is in a state that there is none of")
	}
	id := reach(unblock.Waiting)
	for _, column := range []string{"card", "client", "operator", "means", "reason", "ticket", "verification", "override_reason", "approval"} {
		if exec(`UPDATE processes SET %s = 'another' WHERE id = '%s'`, column, id) == nil {
			t.Errorf("%s was changed", column)
		}
	}
	if exec(`DELETE FROM processes WHERE id = '%s'`, id) == nil {
		t.Error("a process was deleted")
	}
}

// One process keeps a card, until it is over.
func TestOneProcessKeepsACard(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	var won, busy atomic.Int64
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			switch err := s.Apply(ctx, start(fmt.Sprint("p", i), "c1")); {
			case err == nil:
				won.Add(1)
			case errors.Is(err, unblock.ErrBusy):
				busy.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || busy.Load() != 31 {
		t.Fatalf("%d processes started and %d met a busy card, want 1 and 31", won.Load(), busy.Load())
	}
	latest := must[unblock.Standing](t)(s.Standing(ctx, "c1")).Latest
	if latest.Operator != "olga" || latest.Client != "idm" || latest.State != unblock.Started || !latest.StartedAt.Equal(kept(moment)) {
		t.Errorf("the latest process is %+v", latest)
	}

	by := func(operator string, c unblock.Change, at time.Time) unblock.Change {
		c.Process.Operator, c.Entry.Time = operator, at
		return c
	}
	expired := moment.Add(time.Minute)
	for _, step := range []struct {
		what   string
		change unblock.Change
		want   error
	}{
		{"answer while it waits", by("olga", answered("one", "c1", 0), moment), unblock.ErrBusy},
		{"another card", by("olga", answered("two", "c2", 0), moment), nil},
		{"one who answered goes on", by("olga", answered("three", "c2", 0), moment), nil},
		{"another after an answer", by("omar", start("four", "c2"), moment), unblock.ErrBusy},
		{"another once the answer is old", by("omar", start("five", "c2"), expired), nil},
		{"start once the first has expired", by("omar", answered("six", "c1", 0), expired), nil},
		{"its answer, which comes too late", func() unblock.Change {
			c := by("olga", answered(latest.ID, "c1", 0), moment)
			c.From, c.Process.Revision = 1, 2
			return c
		}(), unblock.ErrBusy},
	} {
		if err := s.Apply(ctx, step.change); !errors.Is(err, step.want) {
			t.Errorf("%s: %v, want %v", step.what, err, step.want)
		}
	}
}

// A key belongs to one process, and a challenge is answered once for a card.
func TestKeysAndChallengesComeOnce(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	keyed := func(c unblock.Change, begun, given string) unblock.Change {
		c.Process.Begun.Key, c.Process.Given.Key = begun, given
		return c
	}
	challenged := func(c unblock.Change, challenge string, again bool) unblock.Change {
		c.Process.Challenge, c.Again = challenge, again
		return c
	}
	for _, step := range []struct {
		what   string
		change unblock.Change
		want   error
	}{
		{"first", challenged(keyed(answered("1", "c1", 0), "a", ""), "00FF", false), nil},
		{"key of a start once more", keyed(answered("2", "c2", 0), "a", ""), unblock.ErrOnce},
		{"key of a start for an answer", keyed(answered("3", "c3", 0), "", "a"), unblock.ErrOnce},
		{"another key", keyed(answered("4", "c4", 0), "b", "c"), nil},
		{"key of an answer once more", keyed(answered("5", "c5", 0), "", "c"), unblock.ErrOnce},
		{"challenge once more", challenged(answered("6", "c1", 0), "00FF", false), unblock.ErrChallenge},
		{"challenge for another card", challenged(answered("7", "c7", 0), "00FF", false), nil},
		{"challenge once more, and confirmed", challenged(answered("8", "c1", 0), "00FF", true), nil},
	} {
		if err := s.Apply(ctx, step.change); !errors.Is(err, step.want) {
			t.Errorf("%s: %v, want %v", step.what, err, step.want)
		}
	}
	before := must[unblock.Standing](t)(s.Standing(ctx, "c1")).Unconfirmed
	again := must[unblock.Process](t)(s.Process(ctx, "1"))
	if err := s.Apply(ctx, unblock.Change{Process: again, From: 1, Repeat: true, Entry: start("1", "c1").Entry}); err != nil {
		t.Error(err)
	}
	if err := s.Apply(ctx, unblock.Change{Process: again, From: 2, Repeat: true}); err == nil {
		t.Error("a repetition of another revision was taken")
	}
	same(t, "unconfirmed after a repetition", must[unblock.Standing](t)(s.Standing(ctx, "c1")).Unconfirmed, before)
}

// An account takes as many decisions as its rate allows, however many ask at once,
// and has room again as time goes by. Refusals are charged, and never refused.
func TestCharges(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	charges := []unblock.Charge{
		{Key: "operator:olga", Rate: unblock.Rate{N: 5, Per: 50 * time.Second}},
		{Key: "card:c1", Rate: unblock.Rate{N: 1000, Per: time.Second}},
	}
	n := 0
	answers := func(count int, at time.Time) int {
		var won atomic.Int64
		var wg sync.WaitGroup
		for range count {
			n++
			c := answered(fmt.Sprint("p", n), "c1", 0)
			c.Charges, c.Entry.Time = charges, at
			wg.Go(func() {
				if err := s.Apply(ctx, c); err == nil {
					won.Add(1)
				} else if !errors.Is(err, unblock.ErrRate) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		return int(won.Load())
	}
	same(t, "answers at once", answers(20, moment), 5)
	same(t, "answers a moment before the next", answers(20, moment.Add(10*time.Second-time.Microsecond)), 0)
	same(t, "answers at the next", answers(20, moment.Add(10*time.Second)), 1)
	same(t, "answers two later", answers(20, moment.Add(30*time.Second)), 2)
	later := moment.Add(time.Hour)
	for range 20 {
		if err := s.Deny(ctx, audit.Entry{Time: later, Outcome: audit.Deny}, charges, nil); err != nil {
			t.Fatal(err)
		}
	}
	arrivals := must[map[string]time.Time](t)(s.Arrivals(ctx, "operator:olga", "card:c1", "operator:omar"))
	same(t, "wait of the operator", charges[0].Wait(arrivals["operator:olga"], kept(later)), 10*time.Second)
	same(t, "wait of the card", charges[1].Wait(arrivals["card:c1"], kept(later)), time.Duration(0))
	same(t, "accounts", len(arrivals), 2)
	same(t, "answers after the refusals", answers(20, later), 0)
	if logged := allEntries(t, s); len(logged) != 8+20 {
		t.Errorf("%d audit entries, want 28", len(logged))
	}
	// A clock that was ahead and is put right keeps nobody out until that time has come,
	// and one that differs a little opens nothing.
	same(t, "answers of a clock that is behind by a period", answers(20, later.Add(-50*time.Second)), 0)
	same(t, "wait after the clock was put back", charges[0].Wait(arrivals["operator:olga"], kept(moment)), time.Duration(0))
	same(t, "answers after the clock was put back", answers(20, moment), 5)
	same(t, "answers after that", answers(20, moment), 0)
}

// Of a card's processes those are open that are under way or whose response still
// counts.
func TestOpenProcesses(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	open := func(at time.Time) (ids []string) {
		for _, p := range must[[]unblock.Process](t)(s.OpenProcesses(ctx, "c1", at)) {
			ids = append(ids, p.ID)
		}
		return ids
	}
	apply := func(c unblock.Change, later time.Duration) {
		t.Helper()
		c.Process.StartedAt, c.Process.ExpiresAt = c.Process.StartedAt.Add(later), c.Process.ExpiresAt.Add(later)
		if err := s.Apply(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	if got := open(moment); len(got) != 0 {
		t.Errorf("of a card that nobody unblocked %v are open", got)
	}
	apply(answered("p1", "c1", 0), 0)
	apply(answered("p2", "c1", 0), time.Second)
	apply(answered("p3", "c1", 0), 2*time.Second)
	apply(answered("other", "c2", 0), 0)
	apply(start("p4", "c1"), 3*time.Second)
	same(t, "open", strings.Join(open(moment), " "), "p1 p2 p3 p4")
	same(t, "open once the last expired", strings.Join(open(moment.Add(time.Hour)), " "), "p1 p2 p3")
	apply(worked("p2", "c1"), time.Second)
	same(t, "open once the second worked", strings.Join(open(moment), " "), "p3 p4")
	same(t, "unconfirmed", must[unblock.Standing](t)(s.Standing(ctx, "c1")).Unconfirmed, 1)
}

// A dossier is the card, its type and its standing, each as it is read alone, and tells
// of a challenge that was answered in another process.
func TestDossier(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	entry := audit.Entry{Time: moment}
	dossier := func(challenge, process string) unblock.Dossier {
		t.Helper()
		d := must[unblock.Dossier](t)(s.Dossier(ctx, unblock.Question{Card: "c1", Challenge: challenge, Process: process}))
		same(t, "card", d.Card, must[card.Card](t)(s.Card(ctx, "c1")))
		same(t, "standing", d.Standing, must[unblock.Standing](t)(s.Standing(ctx, "c1")))
		return d
	}
	if _, err := s.Dossier(ctx, unblock.Question{Card: "c1"}); !errors.Is(err, card.ErrNotFound) {
		t.Errorf("of a card that is not there: %v", err)
	}
	must[store.Result](t)(s.PutCard(ctx, sampleCard("c1"), entry))
	same(t, "a type that is not registered", dossier("", "").Type, card.Type{})
	must[store.Result](t)(s.PutCardType(ctx, card.Type{ID: "employee", Name: "Employee", Profile: "gids", UnblockRemote: map[string]bool{"blocked": true}, UpdatedBy: "adam", UpdatedAt: moment}, entry))
	same(t, "the type", dossier("", "").Type, must[card.Type](t)(s.CardType(ctx, "employee")))
	for _, c := range []unblock.Change{answered("p1", "c1", 0), answered("p2", "c1", 0), answered("q", "c2", 0)} {
		if err := s.Apply(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	if got := dossier("", "").Standing; got.Unconfirmed != 2 || got.Latest.ID != "p2" {
		t.Errorf("standing %+v", got)
	}
	for _, asked := range []struct {
		challenge, process string
		answered           bool
	}{{"", "", false}, {"challenge of p2", "", true}, {"challenge of p2", "p2", false}, {"challenge of p2", "p1", true}, {"challenge of q", "", false}} {
		same(t, fmt.Sprint(asked), dossier(asked.challenge, asked.process).Answered, asked.answered)
	}
}
