package server

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"latchkey/audit"
	"latchkey/server/api"
)

func TestRegistration(t *testing.T) {
	w := newWorld(t)
	w.stock()
	put := aCard("gids")
	put.CUID, put.KDD = "4c4b00ff", "00112233445566778899"
	put.Unit, put.Assurance = "Badge office", "high"
	put.Holder.Groups, put.Holder.Privileged = []string{"staff"}, true
	var created, read, again api.Card
	w.must(http.StatusCreated, &created, "backend", "PUT", "/v1/cards/NEW", put)
	w.must(http.StatusOK, &read, "anna", "GET", "/v1/cards/NEW", nil)
	want := put
	want.Serial, want.MasterKeyVersion, want.Source, want.SyncedAt = "NEW", 1, "backend", w.clock.Now()
	for name, got := range map[string]api.Card{"answer": created, "read": read} {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	entries := w.entries()
	e := entries[len(entries)-1]
	if e.Action != audit.CardPut || e.Outcome != audit.Permit || e.Client != "backend" || e.Card != "NEW" || e.CardType != "gids" ||
		e.KeyVersion != 1 || e.Address != "127.0.0.1" || e.RequestID == "" || e.Detail != "card blocked, holder active" {
		t.Errorf("audit entry: %+v", e)
	}

	// What was read can be sent back. Its data is confirmed, and not logged again.
	w.clock.advance(time.Hour)
	w.must(http.StatusOK, &again, "backend", "PUT", "/v1/cards/NEW", read)
	if !again.SyncedAt.Equal(w.clock.Now()) || len(w.entries()) != len(entries) {
		t.Errorf("synchronised at %s with %d more audit entries", again.SyncedAt, len(w.entries())-len(entries))
	}
}

// The master key version is written down once, and only saying another changes it.
func TestMasterKeyVersion(t *testing.T) {
	w := newWorld(t)
	w.stock()
	version := func(c api.Card) int {
		t.Helper()
		var read api.Card
		if a := w.call("backend", "PUT", "/v1/cards/V", c); a.status >= 300 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		w.must(http.StatusOK, &read, "backend", "GET", "/v1/cards/V", nil)
		return read.MasterKeyVersion
	}
	c := aCard("version2")
	if got := version(c); got != 2 {
		t.Errorf("a new card has version %d, want its profile's, 2", got)
	}
	c.Type, c.State = "gids", "active"
	if got := version(c); got != 2 {
		t.Errorf("with another profile the card has version %d, want to keep 2", got)
	}
	c.MasterKeyVersion = 7
	if got := version(c); got != 7 {
		t.Errorf("the card has version %d, want the one said, 7", got)
	}
	c.MasterKeyVersion = 0
	if got := version(c); got != 7 {
		t.Errorf("the card has version %d, want to keep 7", got)
	}
}

// A serial number is any UTF-8, kept character by character, wherever it stands.
func TestSerials(t *testing.T) {
	w := newWorld(t)
	w.stock()
	for _, serial := range []string{
		"AB 1", "ab 1", "A/B", "A%2FB", "%41", "A?b=c", "A#b", "Ä/ö ☎", "..", "../cards", "a/../b", "import", "*", ":serial", "A;b", "A+B", `A\B`, `"`,
	} {
		path := "/v1/cards/" + escape(serial)
		var created, read api.Card
		w.must(http.StatusCreated, &created, "backend", "PUT", path, aCard("gids"))
		w.must(http.StatusOK, &read, "backend", "GET", path, nil)
		if created.Serial != serial || read.Serial != serial {
			t.Errorf("%q was registered as %q and read as %q", serial, created.Serial, read.Serial)
		}
		w.must(http.StatusOK, nil, "anna", "POST", path+"/response", api.Respond{Challenge: "1603EBDF1C8A2E72", Reason: "INC"})
	}
}

// escape percent-encodes a path segment, dots included: clients take "." and ".."
// for steps on the way.
func escape(segment string) string {
	if segment == ".." {
		return "%2E%2E"
	}
	return url.PathEscape(segment)
}

// Every fault is told at once.
func TestFaults(t *testing.T) {
	w := newWorld(t)
	w.stock()
	a := w.call("backend", "PUT", "/v1/cards/NEW%20", api.Card{
		Serial: "NEW ", Type: "nonesuch", State: "lunar", CUID: "4c4", KDD: "00", MasterKeyVersion: -1,
		Holder: api.Holder{Email: " a@example.org", Groups: []string{""}, State: "asleep"},
	})
	var fields []string
	for _, f := range a.problem(t).Faults {
		fields = append(fields, f.Field)
	}
	slices.Sort(fields)
	want := []string{"cuid", "holder.email", "holder.groups[0]", "holder.id", "holder.name", "holder.state", "kdd", "master_key_version", "serial", "state", "type"}
	if !slices.Equal(fields, want) {
		t.Errorf("faults in\n%q, want\n%q", fields, want)
	}
}

func TestSearch(t *testing.T) {
	w := newWorld(t)
	w.stock()
	for i := range 5 {
		c := aCard("gids")
		c.Holder.Name = "Søren Ås"
		w.must(http.StatusCreated, nil, "backend", "PUT", fmt.Sprintf("/v1/cards/S%d", i), c)
	}
	var serials []string
	query := url.Values{"q": {"SØREN"}, "limit": {"2"}}
	for pages := 1; ; pages++ {
		var page api.Cards
		w.must(http.StatusOK, &page, "anna", "GET", "/v1/cards?"+query.Encode(), nil)
		for _, c := range page.Cards {
			serials = append(serials, c.Serial)
		}
		if page.Next == "" {
			if pages != 3 {
				t.Errorf("%d pages, want 3", pages)
			}
			break
		}
		query.Set("after", page.Next)
	}
	if want := []string{"S0", "S1", "S2", "S3", "S4"}; !slices.Equal(serials, want) {
		t.Errorf("found %q, want %q", serials, want)
	}
	var none api.Cards
	w.must(http.StatusOK, &none, "anna", "GET", "/v1/cards?q=nobody", nil)
	if none.Cards == nil || len(none.Cards) != 0 {
		t.Errorf("found %v, want an empty list", none.Cards)
	}
	for query, field := range map[string]string{
		"limit=0": "limit", "limit=x": "limit", "limit=": "limit", "q=%00": "q", "q=a&q=b": "q", "serial=S0": "serial",
		"after=S0%3D": "after", "q=%zz": "query", "q=a;limit=1": "query",
	} {
		a := w.call("anna", "GET", "/v1/cards?"+query, nil)
		if p := a.problem(t); len(p.Faults) != 1 || p.Faults[0].Field != field {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
}

func TestCardTypes(t *testing.T) {
	w := newWorld(t)
	off := api.CardType{Name: "Employee card", Profile: "gids", UnblockRemote: map[string]bool{}}
	var created, updated, read api.CardType
	w.must(http.StatusCreated, &created, "admin", "PUT", "/v1/card-types/employee%2F1", off)
	if created.ID != "employee/1" || len(created.UnblockRemote) != 0 || created.UpdatedBy != "admin" || !created.UpdatedAt.Equal(w.clock.Now()) {
		t.Errorf("created: %+v", created)
	}
	created.UnblockRemote = map[string]bool{"blocked": true, "active": true, "lost": false}
	w.must(http.StatusOK, &updated, "admin", "PUT", "/v1/card-types/employee%2F1", created)
	w.must(http.StatusOK, &read, "auditor", "GET", "/v1/card-types/employee%2F1", nil)
	if !updated.UnblockRemote["active"] || updated.UnblockRemote["lost"] {
		t.Errorf("updated: %+v", updated)
	}
	if diff := cmp.Diff(updated, read); diff != "" {
		t.Error(diff)
	}
	entries := w.entries()
	e := entries[len(entries)-1]
	if e.Action != audit.CardTypePut || e.Client != "admin" || e.CardType != "employee/1" || e.Profile != "gids" || e.Detail != "unblock card remote for active was off, is on; unblock card remote for blocked was off, is on" {
		t.Errorf("audit entry: %+v", e)
	}
	var list api.CardTypes
	w.must(http.StatusOK, &list, "anna", "GET", "/v1/card-types", nil)
	if len(list.CardTypes) != 1 || list.CardTypes[0].ID != "employee/1" {
		t.Errorf("list: %+v", list)
	}
}
