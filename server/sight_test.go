package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/identity"
	"latchkey/identity/people"
	"latchkey/policy"
	"latchkey/server/api"
	openidtest "latchkey/softhsm-test/openid"
	"latchkey/store"
	"latchkey/unblock"
)

// asked counts what the desk asks of the rooms below it, in order.
type asked struct {
	unblock.Cards
	unblock.Policy
	unblock.Ledger
	mu    sync.Mutex
	calls []string
}

func (a *asked) note(call string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = append(a.calls, call)
}

// since gives the calls since it was asked last.
func (a *asked) since() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	calls := a.calls
	a.calls = nil
	return calls
}

func (a *asked) Card(ctx context.Context, serial string) (card.Card, error) {
	a.note("card")
	return a.Cards.Card(ctx, serial)
}

func (a *asked) CardType(ctx context.Context, id string) (card.Type, error) {
	a.note("card type")
	return a.Cards.CardType(ctx, id)
}

func (a *asked) Dossier(ctx context.Context, q unblock.Question) (unblock.Dossier, error) {
	a.note("dossier")
	return a.Cards.Dossier(ctx, q)
}

func (a *asked) Decide(ctx context.Context, r policy.Request) (policy.Decision, error) {
	a.note("decide")
	return a.Policy.Decide(ctx, r)
}

func (a *asked) View(ctx context.Context, r policy.ViewRequest) (policy.Decision, error) {
	a.note("view")
	return a.Policy.View(ctx, r)
}

func (a *asked) Apply(ctx context.Context, c unblock.Change) error {
	a.note("apply")
	return a.Ledger.Apply(ctx, c)
}

func (a *asked) Deny(ctx context.Context, e audit.Entry, charges []unblock.Charge, decided *policy.Decided) error {
	a.note(fmt.Sprintf("deny, on %d accounts", len(charges)))
	return a.Ledger.Deny(ctx, e, charges, decided)
}

func (a *asked) Process(ctx context.Context, id string) (unblock.Process, error) {
	a.note("process")
	return a.Ledger.Process(ctx, id)
}

func (a *asked) Standing(ctx context.Context, serial string) (unblock.Standing, error) {
	a.note("standing")
	return a.Ledger.Standing(ctx, serial)
}

func (a *asked) Arrivals(ctx context.Context, keys ...string) (map[string]time.Time, error) {
	a.note(fmt.Sprintf("%d arrivals", len(keys)))
	return a.Ledger.Arrivals(ctx, keys...)
}

// observed puts the world's desk, with changes, over rooms that count their calls.
func (w *world) observed(change func(*unblock.Config)) *asked {
	w.t.Helper()
	c := w.server.Desk.(*unblock.Desk).Config
	change(&c)
	a := &asked{Cards: c.Cards, Policy: c.Policy, Ledger: c.Ledger}
	c.Cards, c.Policy, c.Ledger = a, a, a
	desk, err := unblock.New(c)
	if err != nil {
		w.t.Fatal(err)
	}
	w.restart(func(s *Config) { s.Desk, s.Live = desk, a })
	return a
}

// told is all that a caller is told, but for the request's ID and the clock.
func told(t *testing.T, a answer) string {
	t.Helper()
	p := a.problem(t)
	p.Instance = ""
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	h := a.header.Clone()
	h.Del(requestIDHeader)
	h.Del("Date")
	h.Del("Content-Length") // of a body with the request's ID
	return fmt.Sprint(a.status, h, string(text))
}

// One who may not know of a card is told of it what one is told of a card that is not
// there, after the same questions to store and policy, whichever way they ask.
func TestUnseenIsAbsent(t *testing.T) {
	seeds := operators{
		"anna": {ID: "anna", Name: "Anna", Unit: "north", Roles: []identity.Role{identity.Operator}},
		"sven": {ID: "sven", Name: "Sven", Unit: "south", Roles: []identity.Role{identity.Supervisor}},
	}
	w := newWorld(t, func(c *Config) { c.Operators = people.Registry{Records: c.Directory.(*store.Store), Seeds: seeds} })
	w.stock()
	own, err := policy.Find("view-own-unit")
	if err != nil {
		t.Fatal(err)
	}
	engine, err := policy.Load([]policy.Source{policy.BuiltIn(), {Name: "view-own-unit.cedar", Text: own.Text}})
	if err != nil {
		t.Fatal(err)
	}
	seen := w.observed(func(c *unblock.Config) {
		c.Policy, c.Operators = engine, seeds
		c.Limits.PerCard = unblock.Rate{N: 1, Per: time.Hour}
		c.Limits.PerOperator = unblock.Rate{N: 1000, Per: time.Hour}
	})
	for i, unit := range []string{"south", "north", "south", "south", "north", "south"} {
		c := aCard("gids")
		c.Holder.Name, c.Holder.Unit = "Zoe Quist", unit
		w.must(http.StatusCreated, nil, "backend", "PUT", fmt.Sprintf("/v1/cards/%d-%s", i, unit), c)
	}
	respond := func(client, serial, operator string) answer {
		return w.call(client, "POST", "/v1/cards/"+serial+"/response", api.Respond{Challenge: "1603EBDF1C8A2E72", Operator: operator, Reason: "INC"})
	}
	// The last card's account has no room: that too is for those who may know of it.
	if a := respond("sven", "5-south", ""); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for name, ask := range map[string]func(serial string) answer{
		"reads":    func(serial string) answer { return w.call("anna", "GET", "/v1/cards/"+serial, nil) },
		"responds": func(serial string) answer { return respond("anna", serial, "") },
		"named":    func(serial string) answer { return respond("backend", serial, "anna") },
		"starts": func(serial string) answer {
			return w.call("anna", "POST", "/v1/unblocks", api.StartUnblock{Card: serial, Reason: "INC"})
		},
	} {
		seen.since()
		absent := told(t, ask("9-absent"))
		work := seen.since()
		if !strings.Contains(absent, string(unblock.CardUnknown)) || !slices.Contains(work, "view") {
			t.Errorf("%s: %s, after %q", name, absent, work)
		}
		for _, serial := range []string{"0-south", "5-south"} {
			if diff := cmp.Diff(absent, told(t, ask(serial))); diff != "" {
				t.Errorf("%s: for a card that is not there (-) and card %s of another unit (+):\n%s", name, serial, diff)
			}
			if diff := cmp.Diff(work, seen.since()); diff != "" {
				t.Errorf("%s: the work for a card that is not there (-) and for card %s (+):\n%s", name, serial, diff)
			}
		}
	}

	// A search finds no other, nor does its cursor name one.
	for limit := 1; limit <= 7; limit++ {
		var serials []string
		after := ""
		for page := 0; page == 0 || after != ""; page++ {
			var found api.Cards
			w.must(http.StatusOK, &found, "anna", "GET", fmt.Sprintf("/v1/cards?q=Quist&limit=%d&after=%s", limit, after), nil)
			for _, c := range found.Cards {
				serials = append(serials, c.Serial)
			}
			after = found.Next
			cursor, _ := base64.RawURLEncoding.DecodeString(after)
			if strings.Contains(after+string(cursor), "south") {
				t.Errorf("pages of %d: a cursor names a card of another unit: %s", limit, cursor)
			}
			if page > 7 {
				t.Fatal("the search has no end")
			}
		}
		if want := []string{"1-north", "4-north"}; !slices.Equal(serials, want) {
			t.Errorf("pages of %d: %v, want %v", limit, serials, want)
		}
	}
	var all api.Cards
	if w.must(http.StatusOK, &all, "admin", "GET", "/v1/cards?q=Quist", nil); len(all.Cards) != 6 {
		t.Errorf("the administrator finds %d cards, want 6", len(all.Cards))
	}
	if a := respond("anna", "1-north", ""); a.status != http.StatusOK {
		t.Errorf("a card of her own unit: %d %s", a.status, a.body)
	}
}

// A process is as if it were not there for everybody else: for another client, for
// another operator of the same client, and for the same operator by other means.
func TestOthersProcesses(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.Clients = append(c.Clients, identity.Client{Name: "omar", Subject: "CN=omar,O=Example", Roles: []identity.Role{identity.Operator}, Operator: "omar"})
	})
	w.stock()
	token := w.tokens(openidtest.NewForge(t))
	anna, omar := token(map[string]any{"preferred_username": "anna"}), token(map[string]any{"preferred_username": "omar", "sub": "s-omar"})
	seen := w.observed(func(*unblock.Config) {})
	passed := func(token string) []string { return []string{operatorHeader, token} }
	everybody := map[string]badge{
		"anna": {certificate: "anna"}, "omar": {certificate: "omar"}, "sven": {certificate: "sven"}, "backend": {certificate: "backend"},
		"anna's token": {"", bearer(anna)}, "omar's token": {"", bearer(omar)}, "service": {"", bearer(token(map[string]any{"sub": "service-1"}))},
		"backend for anna": {"backend", passed(anna)}, "backend for omar": {"backend", passed(omar)}, "mute for anna": {"mute", passed(anna)},
	}
	const absent = "0197c9a4-8f4e-7c3a-9d1b-2f6f5f0b7a11"
	for owner, serial := range map[string]string{"anna": "GOOD", "anna's token": "AES", "backend for anna": "MORTAL"} {
		b := everybody[owner]
		var process api.Unblock
		a := w.call(b.certificate, "POST", "/v1/unblocks", api.StartUnblock{Card: serial, Reason: "INC"}, b.headers...)
		if err := json.Unmarshal(a.body, &process); err != nil || a.status != http.StatusCreated {
			t.Fatalf("%s: %d %s", owner, a.status, a.body)
		}
		before := w.onDisk()
		for other, b := range everybody {
			if other == owner {
				continue
			}
			for _, verb := range []struct {
				method, path string
				body         any
			}{
				{"GET", "", nil},
				{"POST", "/response", api.Challenge{Challenge: "1603EBDF1C8A2E72"}},
				{"POST", "/read-back", api.ReadChallenge{Challenge: "1603EBDF1C8A2E72"}},
				{"POST", "/complete", api.Complete{Outcome: "pin-changed"}},
				{"POST", "/cancel", nil},
			} {
				seen.since()
				unknown := told(t, w.call(b.certificate, verb.method, "/v1/unblocks/"+absent+verb.path, verb.body, b.headers...))
				work := seen.since()
				theirs := told(t, w.call(b.certificate, verb.method, "/v1/unblocks/"+process.ID+verb.path, verb.body, b.headers...))
				if diff := cmp.Diff(unknown, theirs); diff != "" || !strings.Contains(unknown, string(unblock.ProcessUnknown)) {
					t.Errorf("process of %s, %s by %s; for one that is not there (-):\n%s%s", owner, verb.path, other, unknown, diff)
				}
				if diff := cmp.Diff(work, seen.since()); diff != "" {
					t.Errorf("process of %s, %s by %s: work\n%s", owner, verb.path, other, diff)
				}
			}
		}
		if after := w.onDisk(); after != before {
			t.Errorf("process of %s: before\n%s\nafter\n%s", owner, before, after)
		}
		if a := w.call(b.certificate, "POST", "/v1/unblocks/"+process.ID+"/cancel", nil, b.headers...); a.status != http.StatusOK {
			t.Errorf("%s cancels: %d %s", owner, a.status, a.body)
		}
	}
}
