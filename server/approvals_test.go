package server

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/identity"
	"latchkey/server/api"
	"latchkey/unblock"
)

// A process for a privileged holder waits until a supervisor who is neither its
// operator nor the holder approves what it says, and is answered only then.
func TestApproval(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.Clients = append(c.Clients,
			// A supervisor's role with nobody behind it, and a supervisor who holds the card.
			identity.Client{Name: "tool", Subject: "CN=tool,O=Example", Roles: []identity.Role{identity.Supervisor}, NamesOperators: true},
			identity.Client{Name: "astrid", Subject: "CN=astrid,O=Example", Roles: []identity.Role{identity.Supervisor}, Operator: "u417"},
		)
	})
	w.stock()
	const path = "/v1/unblocks"
	begin := api.StartUnblock{Card: "PRIVILEGED", Operator: "anna", Reason: "INC", Ticket: "T-7", Verification: "call-back"}
	refused := func(status int, code unblock.Code, client, method, path string, body any) {
		t.Helper()
		a := w.call(client, method, path, body)
		if p := a.problem(t); a.status != status || p.Code != string(code) {
			t.Errorf("%s %s by %s: %d %s, want %d %s", method, path, client, a.status, p.Code, status, code)
		}
	}
	var u api.Unblock
	w.must(http.StatusCreated, &u, "backend", "POST", path, begin)
	if u.State != "waiting" || u.Approval != "supervisor" || u.ExpiresAt.Sub(u.StartedAt) != 10*time.Minute {
		t.Fatalf("process %+v", u)
	}
	var list api.PendingUnblocks
	w.must(http.StatusOK, &list, "sven", "GET", "/v1/approvals", nil)
	if len(list.Approvals) != 1 {
		t.Fatalf("%d processes wait", len(list.Approvals))
	}
	seen := list.Approvals[0]
	if s := seen.Unblock; s.ID != u.ID || s.Operator != "anna" || s.Card.Holder.Name != "Astrid Berg" || s.Reason != "INC" ||
		s.Ticket != "T-7" || s.Verification != "call-back" || s.Delegation != "named by the client" {
		t.Errorf("the supervisor sees %+v", s)
	}
	w.must(http.StatusOK, &list, "astrid", "GET", "/v1/approvals", nil)
	if len(list.Approvals) != 0 {
		t.Errorf("the holder sees %+v", list)
	}
	approve := api.ApproveUnblock{Statement: seen.Statement, Reason: "known to me"}
	refused(403, unblock.ApprovalForbidden, "tool", "POST", path+"/"+u.ID+"/approve", approve)
	refused(403, unblock.ApprovalOwn, "astrid", "POST", path+"/"+u.ID+"/approve", approve)
	refused(403, unblock.ApprovalOwn, "astrid", "POST", path+"/"+u.ID+"/refuse", api.RefuseUnblock{Reason: "mine"})
	refused(409, unblock.ApprovalHash, "sven", "POST", path+"/"+u.ID+"/approve", api.ApproveUnblock{Statement: strings.Repeat("0", 64), Reason: "x"})
	refused(409, unblock.ProcessWaiting, "backend", "POST", path+"/"+u.ID+"/response", api.Challenge{Challenge: "1603EBDF1C8A2E72"})

	w.clock.advance(9 * time.Minute)
	var approved api.PendingUnblock
	w.must(http.StatusOK, &approved, "sven", "POST", path+"/"+u.ID+"/approve", approve)
	if s := approved.Unblock; s.State != "started" || s.Approver != "sven" || s.Verdict != "known to me" || s.ExpiresAt.Sub(w.clock.Now()) != 15*time.Minute {
		t.Errorf("approved: %+v", s)
	}
	// The same again is the same, and is written down once; anything else comes too late.
	entries := len(w.entries())
	var again api.PendingUnblock
	w.must(http.StatusOK, &again, "sven", "POST", path+"/"+u.ID+"/approve", approve)
	if !again.Unblock.ExpiresAt.Equal(approved.Unblock.ExpiresAt) || len(w.entries()) != entries {
		t.Errorf("approved again: %+v", again)
	}
	refused(409, unblock.ProcessNotWaiting, "sven", "POST", path+"/"+u.ID+"/approve", api.ApproveUnblock{Statement: seen.Statement, Reason: "another"})
	refused(409, unblock.ProcessNotWaiting, "sven", "POST", path+"/"+u.ID+"/refuse", api.RefuseUnblock{Reason: "known to me"})
	var r api.Response
	w.must(http.StatusOK, &r, "backend", "POST", path+"/"+u.ID+"/response", api.Challenge{Challenge: "1603EBDF1C8A2E72"})
	w.must(http.StatusOK, nil, "backend", "POST", path+"/"+u.ID+"/complete", api.Complete{Outcome: "pin-changed"})
	found := false
	for _, e := range w.entries() {
		found = found || e.Process == u.ID && e.Action == "unblock.respond" && e.Outcome == "permit" && e.Approver == "sven"
	}
	if !found {
		t.Error("the entry of the answer does not tell who approved")
	}

	// Refused, and nobody decided in time.
	w.must(http.StatusCreated, &u, "backend", "POST", path, begin)
	w.must(http.StatusOK, nil, "sven", "POST", path+"/"+u.ID+"/refuse", api.RefuseUnblock{Reason: "did not call"})
	refused(409, unblock.ProcessRefused, "backend", "POST", path+"/"+u.ID+"/response", api.Challenge{Challenge: "0003EBDF1C8A2E72"})
	w.must(http.StatusCreated, &u, "backend", "POST", path, begin)
	w.must(http.StatusOK, &list, "sven", "GET", "/v1/approvals", nil)
	w.clock.advance(10 * time.Minute)
	refused(409, unblock.ProcessNotWaiting, "sven", "POST", path+"/"+u.ID+"/approve", api.ApproveUnblock{Statement: list.Approvals[0].Statement, Reason: "late"})
	refused(409, unblock.ProcessExpired, "backend", "POST", path+"/"+u.ID+"/response", api.Challenge{Challenge: "0003EBDF1C8A2E72"})
}

// However often a call comes under one key, it is carried out once, and every time
// the answer is the same.
func TestIdempotencyKey(t *testing.T) {
	w := newWorld(t)
	w.stock()
	w.must(http.StatusCreated, nil, "backend", "PUT", "/v1/cards/OPEN", aCard("gids"))
	const many = 50
	at := func(path, key string, body any) []answer {
		answers := make([]answer, many)
		var all sync.WaitGroup
		for i := range many {
			all.Go(func() { answers[i] = w.call("backend", "POST", path, body, idempotencyHeader, key) })
		}
		all.Wait()
		return answers
	}
	reused := func(path, key string, body any) {
		t.Helper()
		a := w.call("backend", "POST", path, body, idempotencyHeader, key)
		if p := a.problem(t); a.status != 422 || p.Code != string(unblock.IdempotencyKeyReused) {
			t.Errorf("%s with another body: %d %s", path, a.status, a.body)
		}
	}
	response := func(answers []answer) (all string) {
		t.Helper()
		fresh := 0
		for _, a := range answers {
			var r api.Response
			if err := json.Unmarshal(a.body, &r); err != nil || a.status != http.StatusOK {
				t.Fatalf("%d %s", a.status, a.body)
			}
			if !r.Repeated {
				fresh++
			}
			if text := r.Unblock + " " + r.Response; all == "" {
				all = text
			} else if all != text {
				t.Errorf("answers %s and %s", all, text)
			}
		}
		if fresh != 1 {
			t.Errorf("%d of the answers say that they are the first", fresh)
		}
		return all
	}
	count := func(card string, want int) {
		t.Helper()
		if n, err := w.unconfirmed(t.Context(), card); n != want || err != nil {
			t.Errorf("card %s: %d responses counted, want %d, error %v", card, n, want, err)
		}
	}

	begin := api.StartUnblock{Card: "GOOD", Operator: "anna", Reason: "INC"}
	id := ""
	for _, a := range at("/v1/unblocks", "start", begin) {
		var u api.Unblock
		if err := json.Unmarshal(a.body, &u); err != nil || a.status != http.StatusCreated || id != "" && u.ID != id {
			t.Fatalf("%d %s, want process %s", a.status, a.body, id)
		}
		id = u.ID
	}
	path := "/v1/unblocks/" + id + "/response"
	response(at(path, "answer", api.Challenge{Challenge: "1603EBDF1C8A2E72"}))
	count("GOOD", 1)
	reused("/v1/unblocks", "start", api.StartUnblock{Card: "OPEN", Operator: "anna", Reason: "INC"})
	reused(path, "answer", api.Challenge{Challenge: "0003EBDF1C8A2E72"})

	one := api.Respond{Operator: "anna", Challenge: "1603EBDF1C8A2E72", Reason: "INC"}
	response(at("/v1/cards/MORTAL/response", "both", one))
	count("MORTAL", 1)
	// Another owner's key of the same name is another key, and no outcome is repeated.
	if a := w.call("anna", "POST", "/v1/cards/OPEN/response", api.Respond{Challenge: "1603EBDF1C8A2E72", Reason: "INC"}, idempotencyHeader, "both"); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
	w.must(http.StatusOK, nil, "backend", "POST", "/v1/unblocks/"+id+"/complete", api.Complete{Outcome: "pin-changed"})
	if a := w.call("backend", "POST", path, api.Challenge{Challenge: "1603EBDF1C8A2E72"}, idempotencyHeader, "answer"); a.status != http.StatusConflict {
		t.Errorf("after its outcome: %d %s", a.status, a.body)
	}
	w.clock.advance(time.Hour)
	if a := w.call("backend", "POST", "/v1/cards/MORTAL/response", one, idempotencyHeader, "both"); a.status != http.StatusConflict {
		t.Errorf("once it is old: %d %s", a.status, a.body)
	}
	repeated, first := 0, 0
	for _, e := range w.entries() {
		if e.Action == "unblock.respond" && e.Outcome == "permit" {
			if strings.HasPrefix(e.Detail, "repetition") {
				repeated++
			} else {
				first++
			}
		}
	}
	if first != 3 || repeated != 2*(many-1) {
		t.Errorf("the audit log has %d answers and %d repetitions", first, repeated)
	}
}

// The challenge is read back before it is answered, and what is left is told.
func TestReadBack(t *testing.T) {
	w := newWorld(t)
	w.stock()
	var u api.Unblock
	w.must(http.StatusCreated, &u, "backend", "POST", "/v1/unblocks", api.StartUnblock{Card: "MORTAL", Operator: "anna", Reason: "INC"})
	if u.Attempts == nil || u.Attempts.Left == nil || *u.Attempts.Left != 4 || len(u.Warnings) != 0 {
		t.Errorf("attempts %+v, warnings %q", u.Attempts, u.Warnings)
	}
	before, calls := w.state(), w.token.Calls()
	var back api.ReadBack
	w.must(http.StatusOK, &back, "backend", "POST", "/v1/unblocks/"+u.ID+"/read-back", api.ReadChallenge{Challenge: "aaaa aaaa aaaa aaaa"})
	if back.Grouped != "AAAA AAAA AAAA AAAA" || !strings.HasPrefix(back.Spoken, "Alfa Alfa") || len(back.Warnings) != 1 {
		t.Errorf("read back: %+v", back)
	}
	if w.state() != before || w.token.Calls() != calls {
		t.Error("reading back changed something")
	}
}

// A decision over the limit waits, and the caller is told how long.
func TestLimits(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		desk := *c.Desk.(*unblock.Desk) //nolint:forcetypeassert // the world's
		desk.Limits = unblock.Limits{PerOperator: unblock.Rate{N: 2, Per: time.Minute}}
		c.Desk = &desk
	})
	w.stock()
	w.must(http.StatusCreated, nil, "backend", "PUT", "/v1/cards/OPEN", aCard("gids"))
	body := api.StartUnblock{Card: "NONESUCH", Operator: "anna", Reason: "INC"}
	for _, want := range []int{404, 404, 429, 429} {
		a := w.call("backend", "POST", "/v1/unblocks", body)
		if a.status != want {
			t.Fatalf("%d %s, want %d", a.status, a.body, want)
		}
		if want == 429 && (a.problem(t).Check != string(unblock.WithinLimits) || a.header.Get("Retry-After") != "30") {
			t.Errorf("Retry-After %q, %s", a.header.Get("Retry-After"), a.body)
		}
	}
	w.clock.advance(30 * time.Second)
	w.must(http.StatusCreated, nil, "backend", "POST", "/v1/unblocks", api.StartUnblock{Card: "GOOD", Operator: "anna", Reason: "INC"})
	w.must(http.StatusCreated, nil, "backend", "POST", "/v1/unblocks", api.StartUnblock{Card: "OPEN", Operator: "omar", Reason: "INC"})
}
