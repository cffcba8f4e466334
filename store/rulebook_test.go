package store_test

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/dualcontrol"
	"latchkey/identity"
	"latchkey/policy"
	"latchkey/rulebook"
)

// version is a proposal of a version of the policies, as it is when it is executed.
func version(number int) (dualcontrol.Proposal, rulebook.Record) {
	h := dualcontrol.Header{ID: fmt.Sprintf("p-%d", number), Proposer: "olga", Approvals: 1, CreatedAt: kept(moment), ExpiresAt: kept(moment).Add(time.Hour)}
	p := dualcontrol.Proposal{
		Kind: dualcontrol.Policies, Header: h, Text: rulebook.Statement{Header: h, Base: number - 1}.Canonical(),
		Progress: dualcontrol.Progress{State: dualcontrol.Executed, EndedAt: kept(moment), Revision: 1}, Result: []byte(`{}`),
	}
	p.Approved = []dualcontrol.Approval{{Officer: "otto", Person: "o.kurz", Hash: p.Hash(), At: kept(moment)}}
	return p, rulebook.Record{Number: number, Fingerprint: fmt.Sprint("f", number), Proposal: h.ID, ActivatedAt: kept(moment)}
}

// Versions of the policies are stored with their proposal and entries, each number
// once, and stay as they are.
func TestPolicyVersions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "latchkey.db")
	s := open(t, path)
	same(t, "active at first", must[int](t)(s.ActivePolicies(t.Context())), 0)
	for number := 1; number <= 3; number++ {
		p, r := version(number)
		if err := s.KeepPolicies(t.Context(), rulebook.Change{Proposal: &p, Effect: &r, Entries: entry(audit.PolicyActivate)}); err != nil {
			t.Fatal(err)
		}
		same(t, "active", must[int](t)(s.ActivePolicies(t.Context())), number)
		same(t, "version", must[rulebook.Record](t)(s.PolicyVersion(t.Context(), number)), r)
		same(t, "proposal", must[dualcontrol.Proposal](t)(s.Proposal(t.Context(), dualcontrol.Policies, p.ID)), p)
	}
	p, r := version(4)
	r.Number = 3
	if err := s.KeepPolicies(t.Context(), rulebook.Change{Proposal: &p, Effect: &r, Entries: entry(audit.PolicyActivate)}); !errors.Is(err, dualcontrol.ErrConflict) {
		t.Errorf("a number again: %v", err)
	}
	if _, err := s.Proposal(t.Context(), dualcontrol.Policies, p.ID); !errors.Is(err, card.ErrNotFound) {
		t.Errorf("a proposal was stored without its version: %v", err)
	}
	same(t, "entries", len(allEntries(t, s)), 3)
	if _, err := s.PolicyVersion(t.Context(), 4); !errors.Is(err, card.ErrNotFound) {
		t.Errorf("a version that is not there: %v", err)
	}
	var numbers []int
	for below := 0; ; {
		page := must[[]rulebook.Record](t)(s.PolicyVersions(t.Context(), below, 2))
		if len(page) == 0 {
			break
		}
		for _, r := range page {
			numbers = append(numbers, r.Number)
		}
		below = numbers[len(numbers)-1]
	}
	same(t, "versions", numbers, []int{3, 2, 1})
	for _, query := range []string{`UPDATE policy_versions SET proposal = 'p-1'`, `DELETE FROM policy_versions`} {
		if err := raw(t, path, query); err == nil {
			t.Errorf("%s: it was carried out", query)
		}
	}
}

// decidedAt is a decision on a card with all that policies may ask for, and with key
// material that they may not.
func decidedAt(at time.Time, serial string) policy.Decided {
	c := sampleCard(serial)
	c.SyncedAt = kept(c.SyncedAt)
	return policy.Decided{
		Request: policy.Request{
			Operator: identity.Person{
				ID: "anna", Name: "Anna", Roles: []identity.Role{identity.Operator}, Groups: []string{"desk"}, Unit: "IT",
				Email: "anna@example.org", EmployeeNumber: "1", MFA: true, AuthenticatedAt: kept(at),
			},
			Means: identity.ByPassedToken, Client: "idm", Address: netip.MustParseAddr("192.0.2.1"), Now: kept(at),
			Card: c, Type: card.Type{ID: "employee", Name: "Employee", Profile: "gids", UnblockRemote: map[string]bool{"blocked": true}, UpdatedBy: "admin", UpdatedAt: kept(at)},
			Reason: "broken", Ticket: "INC-1", Verification: policy.CallBack, Unconfirmed: 2, Override: true,
			Approver: &identity.Person{ID: "sue", Name: "Sue", Roles: []identity.Role{identity.Supervisor}},
		},
		Decision: policy.Decision{Policies: []string{"privileged-holder"}, Why: "A supervisor has to approve.", Approval: identity.Supervisor, Version: "f1"},
	}
}

// Decisions are kept with the entries that tell of them, whole but for what policies do not see and words;
// what is too many, or whose entry is pruned, goes.
func TestDecisions(t *testing.T) {
	s := newStore(t)
	d := decidedAt(moment, "c1")
	c := answered("p1", "c1", 0)
	c.Decided, c.Entry.Policies, c.Entry.PolicyVersion = &d, d.Decision.Policies, d.Decision.Version
	if err := s.Apply(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for i := range 9 {
		d := decidedAt(moment, fmt.Sprint("d", i))
		err := s.Deny(t.Context(), audit.Entry{Action: audit.UnblockStart, Outcome: audit.Deny, Time: moment, Card: d.Request.Card.Serial}, nil, &d)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Append(t.Context(), audit.Entry{Action: audit.CardPut, Time: moment}); err != nil { // no decision
			t.Fatal(err)
		}
	}
	if d.Request.Card.CUID == nil || d.Request.Card.WrappedKey == nil {
		t.Fatal("the sample has no key material, or lost it")
	}
	d.Request.Card.CUID, d.Request.Card.KDD, d.Request.Card.WrappedKey = nil, nil, nil
	d.Request.Type.UnblockRemote, d.Decision.Why = nil, "" // a denial's words are in the entry
	all := must[[]rulebook.Kept](t)(s.Decisions(t.Context(), 0, 100))
	if len(all) != 10 || all[9].Entry.Process != "p1" || all[0].Entry.Card != "d8" || all[0].Entry.Sequence != 18 {
		t.Fatalf("%d decisions: %+v", len(all), all)
	}
	if diff := cmp.Diff(d, all[9].Decided, cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("a decision came back as another (-kept +read):\n%s", diff)
	}
	page := must[[]rulebook.Kept](t)(s.Decisions(t.Context(), all[3].Entry.Sequence, 2))
	if len(page) != 2 || page[0].Entry.Card != all[4].Entry.Card {
		t.Errorf("a page: %+v", page)
	}
	for keep, want := range map[int]int{100: 10, 10: 10} {
		if err := s.PruneDecisions(t.Context(), keep); err != nil {
			t.Fatal(err)
		}
		same(t, fmt.Sprint("kept of ", keep), len(must[[]rulebook.Kept](t)(s.Decisions(t.Context(), 0, 100))), want)
	}
	for _, keep := range []int{4, 0} {
		if err := s.PruneDecisions(t.Context(), keep); err != nil {
			t.Fatal(err)
		}
		left := must[[]rulebook.Kept](t)(s.Decisions(t.Context(), 0, 100))
		if len(left) != keep || keep != 0 && left[0].Entry.Card != "d8" {
			t.Errorf("kept %d of %d: %+v", len(left), keep, left)
		}
	}
}
