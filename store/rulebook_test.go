package store_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/dualcontrol"
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
