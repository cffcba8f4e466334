package store_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/custody"
	"latchkey/dualcontrol"
	"latchkey/hsm"
	"latchkey/store"
)

// proposal is an open one, made so many minutes after the first.
func proposal(id string, minutes int) dualcontrol.Proposal {
	at := kept(moment).Add(time.Duration(minutes) * time.Minute)
	h := dualcontrol.Header{ID: id, Proposer: "olga", Person: "o.meier", Approvals: 1, CreatedAt: at, ExpiresAt: at.Add(time.Hour)}
	return dualcontrol.Proposal{
		Kind: dualcontrol.Keys, Header: h,
		Text: custody.Statement{
			Header: h, Act: custody.Activate, Token: "49f8",
			Parameters: custody.Parameters{Key: "fleet", Version: 2, Reason: "<rotation> ü"},
		}.Canonical(),
		Progress: dualcontrol.Progress{State: dualcontrol.Open, Revision: 1},
	}
}

func entry(action audit.Action) []audit.Entry { return []audit.Entry{{Action: action, Client: "olga"}} }

// A change is stored as a whole: proposal, approvals, record, current version and
// entries; and not at all where anything of it was changed meanwhile.
func TestKeep(t *testing.T) {
	s := newStore(t)
	p := proposal("p-1", 0)
	if err := s.Keep(t.Context(), custody.Change{Proposal: &p, Entries: entry(audit.KeyPropose)}); err != nil {
		t.Fatal(err)
	}
	p.Approved = []dualcontrol.Approval{{Officer: "zoe", Person: "z.kurz", Hash: p.Hash(), At: kept(moment)}, {Officer: "adam", Hash: p.Hash(), At: kept(moment)}}
	p.State, p.EndedAt, p.Revision = dualcontrol.Executed, kept(moment), 2
	p.Result = []byte(`{"kcv":[{"convention":"des-ecb-zero","value":"1F3A8F"}]}`)
	r := custody.Record{
		Key: "fleet", Version: 2, State: custody.Active, Type: card.TDES3, Use: hsm.ForDeriving, KCV: []hsm.KCV{{Convention: hsm.DESZero, Value: "1F3A8F"}},
		Proposal: "p-1", CreatedAt: kept(moment), ChangedAt: kept(moment), Revision: 1,
	}
	c := custody.Change{Proposal: &p, From: 1, Effect: &custody.Effect{Key: r, Current: true}, Entries: append(entry(audit.KeyApprove), entry(audit.KeyExecute)...)}
	if err := s.Keep(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	same(t, "proposal", must[dualcontrol.Proposal](t)(s.Proposal(t.Context(), dualcontrol.Keys, "p-1")), p)
	same(t, "record", must[custody.Record](t)(s.Record(t.Context(), "fleet", 2)), r)
	same(t, "current", must[int](t)(s.Current(t.Context(), "fleet")), 2)
	same(t, "entries", len(allEntries(t, s)), 3)

	other := proposal("p-2", 1)
	again, first := r, r
	again.Revision, again.State = 3, custody.Destroyed
	first.State = custody.PreActive
	for name, c := range map[string]custody.Change{
		"the proposal again":      {Proposal: &p, From: 1},
		"an ID again":             {Proposal: new(proposal("p-1", 1))},
		"a key again":             {Proposal: &other, Effect: &custody.Effect{Key: first}},
		"a key changed meanwhile": {Proposal: &other, Effect: &custody.Effect{Key: again, From: 2}},
		"a key that is not there": {Proposal: &other, Effect: &custody.Effect{Key: custody.Record{Key: "other", Version: 1, Revision: 2}, From: 1}},
		"forgotten meanwhile":     {Proposal: &other, Effect: &custody.Effect{Key: again, From: 2, Forget: true}},
	} {
		c.Entries = entry(audit.KeyExecute)
		if err := s.Keep(t.Context(), c); !errors.Is(err, dualcontrol.ErrConflict) {
			t.Errorf("%s: %v, want a conflict", name, err)
		}
	}
	if _, err := s.Proposal(t.Context(), dualcontrol.Keys, "p-2"); !errors.Is(err, card.ErrNotFound) {
		t.Errorf("a proposal was stored without its key: %v", err)
	}
	same(t, "record after conflicts", must[[]custody.Record](t)(s.Records(t.Context())), []custody.Record{r})
	same(t, "entries after conflicts", len(allEntries(t, s)), 3)

	forget := r
	forget.Revision = 2
	if err := s.Keep(t.Context(), custody.Change{Effect: &custody.Effect{Key: forget, From: 1, Forget: true}, Entries: entry(audit.KeyExecute)}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Record(t.Context(), "fleet", 2); !errors.Is(err, card.ErrNotFound) {
		t.Errorf("forgotten: %v", err)
	}
}

// Pages of proposals come newest first, each once, and by state.
func TestProposals(t *testing.T) {
	s := newStore(t)
	var want []string
	for i := range 7 {
		p := proposal(fmt.Sprintf("p-%d", i), i/2) // two at the same moment
		if i == 3 {
			p.State = dualcontrol.Rejected
		}
		if err := s.Keep(t.Context(), custody.Change{Proposal: &p}); err != nil {
			t.Fatal(err)
		}
		want = append([]string{p.ID}, want...)
	}
	list := func(q dualcontrol.Query) (ids []string) {
		t.Helper()
		for {
			page, next, err := s.Proposals(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range page {
				ids = append(ids, p.ID)
			}
			if next == "" {
				return ids
			}
			q.After = next
		}
	}
	same(t, "all", list(dualcontrol.Query{Kind: dualcontrol.Keys, Limit: 2}), want)
	same(t, "rejected", list(dualcontrol.Query{Kind: dualcontrol.Keys, State: dualcontrol.Rejected}), []string{"p-3"})
	at := kept(moment).Add(time.Hour + time.Minute) // at which the first four have expired
	same(t, "open", list(dualcontrol.Query{Kind: dualcontrol.Keys, State: dualcontrol.Open, At: at}), []string{"p-6", "p-5", "p-4"})
	same(t, "expired", list(dualcontrol.Query{Kind: dualcontrol.Keys, State: dualcontrol.Expired, At: at}), []string{"p-2", "p-1", "p-0"})
	for _, cursor := range []string{"%", "eA", "MTIz"} {
		if _, _, err := s.Proposals(t.Context(), dualcontrol.Query{Kind: dualcontrol.Keys, After: cursor}); !errors.Is(err, dualcontrol.ErrQuery) {
			t.Errorf("cursor %q: %v", cursor, err)
		}
	}
}

// What was proposed cannot be changed under the officers who approve it, not by
// somebody with the database in hand either, short of taking out the triggers.
func TestStatementStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "latchkey.db")
	s := open(t, path)
	p := proposal("p-1", 0)
	if err := s.Keep(t.Context(), custody.Change{Proposal: &p}); err != nil {
		t.Fatal(err)
	}
	db := must[*sql.DB](t)(sql.Open("sqlite3", path))
	defer func() { _ = db.Close() }()
	for _, query := range []string{
		`UPDATE proposals SET statement = replace(statement, '"version":2', '"version":3')`,
		`UPDATE proposals SET expires_at = expires_at + 1`,
		`DELETE FROM proposals`,
	} {
		if _, err := db.Exec(query); err == nil {
			t.Errorf("%s: it was carried out", query)
		}
	}
	if _, err := db.Exec(`DROP TRIGGER proposals_statement_stays; UPDATE proposals SET statement = replace(statement, '{"act"', '{ "act"')`); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Proposal(t.Context(), dualcontrol.Keys, "p-1"); err == nil || !strings.Contains(err.Error(), "canonical") {
		t.Errorf("a statement in another form was read: %v", err)
	}
}

// Cards are counted and listed by type and version.
func TestCardGroups(t *testing.T) {
	s := newStore(t)
	for i := range 9 {
		c := sampleCard(fmt.Sprintf("c-%d", i))
		c.Type, c.MasterKeyVersion = []string{"b", "a", "b"}[i%3], 1+i%2
		must[store.Result](t)(s.PutCard(t.Context(), c, audit.Entry{}))
	}
	same(t, "groups", must[[]custody.Group](t)(s.CardGroups(t.Context())), []custody.Group{
		{Type: "a", Version: 1, Cards: 1}, {Type: "a", Version: 2, Cards: 2}, {Type: "b", Version: 1, Cards: 4}, {Type: "b", Version: 2, Cards: 2},
	})
	var serials []string
	for _, c := range must[[]card.Card](t)(s.CardsOf(t.Context(), custody.Group{Type: "b", Version: 1}, "c-0", 2)) {
		serials = append(serials, c.Serial)
	}
	if want := []string{"c-2", "c-6"}; !slices.Equal(serials, want) {
		t.Errorf("cards %q, want %q", serials, want)
	}
}

// Proposals and approvals of a database from before there were others than of keys
// are what they were.
func TestProposalsUpgrade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "latchkey.db")
	statements := []string{gooseTable}
	for i, name := range []string{"00001_first", "00002_wrapped_key", "00003_custody"} {
		text := must[[]byte](t)(os.ReadFile("migrations/" + name + ".sql"))
		statements = append(statements, string(text), fmt.Sprintf(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (%d, 1)`, i+1))
	}
	want := proposal("p-1", 0)
	want.Text = strings.Replace(want.Text, `"person":"o.meier",`, "", 1) // as it was written then
	want.Person = ""
	want.Approved = []dualcontrol.Approval{{Officer: "zoe", Hash: want.Hash(), At: kept(moment)}}
	want.State, want.EndedAt, want.Revision, want.Result = dualcontrol.Executed, kept(moment), 2, []byte(`{}`)
	statements = append(statements,
		fmt.Sprintf(`INSERT INTO key_proposals VALUES ('p-1', '%s', %d, %d, 'executed', '', '', %d, '{}', 2)`,
			want.Text, want.CreatedAt.UnixMicro(), want.ExpiresAt.UnixMicro(), moment.UnixMicro()),
		fmt.Sprintf(`INSERT INTO key_approvals VALUES ('p-1', 'zoe', 0, '%s', %d)`, want.Hash(), moment.UnixMicro()))
	if err := raw(t, path, statements...); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	same(t, "proposal", must[dualcontrol.Proposal](t)(s.Proposal(t.Context(), dualcontrol.Keys, "p-1")), want)
	if _, err := s.Proposal(t.Context(), dualcontrol.Policies, "p-1"); !errors.Is(err, card.ErrNotFound) {
		t.Errorf("it is of another kind too: %v", err)
	}
	for _, query := range []string{`UPDATE proposals SET kind = 'policy'`, `UPDATE approvals SET officer = 'adam'`, `DELETE FROM approvals`} {
		if err := raw(t, path, query); err == nil {
			t.Errorf("%s: it was carried out", query)
		}
	}
}
