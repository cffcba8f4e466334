package server

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"latchkey/dualcontrol"
	"latchkey/policy"
	"latchkey/rulebook"
	"latchkey/server/api"
)

const policyProposals = "/v1/policy-proposals"

// onlySupervisors is a set of policies in which operators may do nothing but look.
func onlySupervisors() []api.PolicyText {
	return []api.PolicyText{{Name: "desk.cedar", Text: `@id("see")
@reason("Cards are seen.")
permit (principal, action == Action::"view", resource);
@id("desk")
@reason("It takes role supervisor.")
permit (principal, action == Action::"unblock", resource) when { principal.roles.contains("supervisor") };
`}}
}

// Policies are changed over HTTP by two officers, decide from then on, and are changed
// back; everybody who may look sees who did what.
func TestPolicies(t *testing.T) {
	w := newWorld(t)
	w.stock()
	var active api.ActivePolicy
	w.must(http.StatusOK, &active, "auditor", "GET", "/v1/policy", nil)
	if active.Source != "built-in" || active.Version != 0 || len(active.Policies) != 1 || active.Fault != nil {
		t.Errorf("at first: %+v", active)
	}
	change := func(body api.ProposePolicies) api.PolicyProposal {
		t.Helper()
		var p, done api.PolicyProposal
		w.must(http.StatusCreated, &p, "olga", "POST", policyProposals, body)
		w.must(http.StatusOK, &p, "otto", "GET", policyProposals+"/"+p.ID, nil)
		s, err := rulebook.ParseStatement(p.Statement)
		if err != nil || dualcontrol.Hash(p.Statement) != p.Hash || s.Proposer != "olga" {
			t.Fatalf("statement %s (%v)", p.Statement, err)
		}
		w.must(http.StatusOK, &done, "otto", "POST", policyProposals+"/"+p.ID+"/approve", api.ApproveProposal{Hash: p.Hash})
		if done.State != "executed" || len(done.Approvals) != 1 || done.Wanted != 1 {
			t.Errorf("approved: %+v", done)
		}
		return p
	}
	p := change(api.ProposePolicies{Policies: onlySupervisors(), Note: "supervisors only"})
	w.must(http.StatusOK, &active, "olga", "GET", "/v1/policy", nil)
	if active.Source != "versions" || active.Version != 1 || active.Proposer != "olga" || active.Approvals[0].Officer != "otto" || active.Note != "supervisors only" || active.Proposal != p.ID {
		t.Errorf("afterwards: %+v", active)
	}
	started := w.call("anna", "POST", "/v1/unblocks", api.StartUnblock{Card: "GOOD", Reason: "ticket 4711"})
	if no := started.problem(t); no.Code != "policy-denied" || !strings.Contains(no.Detail, "role supervisor") {
		t.Errorf("an operator starts: %+v", no)
	}
	zero := 0
	change(api.ProposePolicies{Restores: &zero, Note: "back"})
	var versions api.PolicyVersions
	w.must(http.StatusOK, &versions, "auditor", "GET", "/v1/policy/versions?limit=2", nil)
	if len(versions.Versions) != 2 || versions.Versions[0].Version != 2 || *versions.Versions[0].Restores != 0 || versions.Next != "1" || versions.Versions[0].Policies != nil {
		t.Errorf("versions %+v", versions)
	}
	var last api.PolicyVersions
	w.must(http.StatusOK, &last, "auditor", "GET", "/v1/policy/versions?limit=2&after=1", nil)
	if len(last.Versions) != 1 || last.Versions[0].Version != 0 || last.Versions[0].Note != "" || last.Next != "" {
		t.Errorf("versions after %+v", last)
	}
	var one api.PolicyVersion
	w.must(http.StatusOK, &one, "auditor", "GET", "/v1/policy/versions/1", nil)
	if len(one.Policies) != 1 || one.Policies[0] != onlySupervisors()[0] {
		t.Errorf("version 1 %+v", one)
	}
	var diff api.PolicyDiff
	w.must(http.StatusOK, &diff, "auditor", "GET", "/v1/policy/versions/2/diff", nil)
	if diff.From != "version 1" || !strings.Contains(diff.Diff, "-@reason(\"It takes role supervisor.\")") {
		t.Errorf("diff %+v", diff)
	}
	w.must(http.StatusOK, &diff, "auditor", "GET", "/v1/policy/versions/2/diff?from=0", nil)
	if diff.Diff != "" {
		t.Errorf("back is not what it was: %s", diff.Diff)
	}
	w.must(http.StatusOK, &diff, "auditor", "GET", policyProposals+"/"+p.ID+"/diff", nil)
	if !strings.Contains(diff.Diff, "+@reason(\"It takes role supervisor.\")") {
		t.Errorf("diff of the proposal %+v", diff)
	}
}

// Every refusal of policies over HTTP; nothing is changed by any.
func TestPolicyRefusals(t *testing.T) {
	w := newWorld(t)
	var open, withdrawn, rejected api.PolicyProposal
	for _, p := range []*api.PolicyProposal{&open, &withdrawn, &rejected} {
		w.must(http.StatusCreated, p, "olga", "POST", policyProposals, api.ProposePolicies{Policies: onlySupervisors()})
	}
	w.must(http.StatusOK, &withdrawn, "olga", "POST", policyProposals+"/"+withdrawn.ID+"/withdraw", nil)
	w.must(http.StatusOK, &rejected, "otto", "POST", policyProposals+"/"+rejected.ID+"/reject", api.RejectProposal{Reason: "no"})
	if withdrawn.State != "withdrawn" || rejected.State != "rejected" || rejected.Reason != "no" {
		t.Errorf("ended: %+v and %+v", withdrawn, rejected)
	}
	broken := onlySupervisors()
	broken[0].Text = strings.Replace(broken[0].Text, "roles", "rolles", 1)
	seven := 7
	for _, test := range []struct {
		name, client, method, path string
		body                       any
		status                     int
		code                       string
	}{
		{"auditor proposes", "auditor", "POST", policyProposals, api.ProposePolicies{Policies: onlySupervisors()}, 403, codeRole},
		{"administrator looks", "admin", "GET", "/v1/policy", nil, 403, codeRole},
		{"faults", "olga", "POST", policyProposals, api.ProposePolicies{Policies: broken}, 422, string(rulebook.PolicyInvalid)},
		{"faults, tried", "auditor", "POST", "/v1/policy/dry-run", api.TryPolicies{Policies: broken}, 422, string(rulebook.PolicyInvalid)},
		{"nothing", "olga", "POST", policyProposals, api.ProposePolicies{}, 422, codeInvalid},
		{"nothing, tried", "olga", "POST", "/v1/policy/dry-run", api.TryPolicies{}, 422, codeInvalid},
		{"too many", "olga", "POST", "/v1/policy/dry-run", api.TryPolicies{Policies: onlySupervisors(), Last: 100_001}, 422, codeInvalid},
		{"version that is not there", "olga", "POST", policyProposals, api.ProposePolicies{Restores: &seven}, 404, string(rulebook.PolicyVersionUnknown)},
		{"version that is none", "olga", "GET", "/v1/policy/versions/x", nil, 404, string(rulebook.PolicyVersionUnknown)},
		{"diff from nowhere", "olga", "GET", "/v1/policy/versions/0/diff?from=3", nil, 404, string(rulebook.PolicyVersionUnknown)},
		{"versions after nonsense", "olga", "GET", "/v1/policy/versions?after=x", nil, 422, codeInvalid},
		{"own", "olga", "POST", policyProposals + "/" + open.ID + "/approve", api.ApproveProposal{Hash: open.Hash}, 403, string(dualcontrol.ProposalOwn)},
		{"hash of another", "otto", "POST", policyProposals + "/" + open.ID + "/approve", api.ApproveProposal{Hash: rejected.Hash}, 409, string(dualcontrol.ProposalHash)},
		{"withdrawn, approved", "otto", "POST", policyProposals + "/" + withdrawn.ID + "/approve", api.ApproveProposal{Hash: withdrawn.Hash}, 409, string(dualcontrol.ProposalClosed)},
		{"of another, withdrawn", "otto", "POST", policyProposals + "/" + open.ID + "/withdraw", nil, 403, string(dualcontrol.ProposalNotYours)},
		{"a key's proposal", "otto", "GET", policyProposals + "/nothing", nil, 404, string(dualcontrol.ProposalUnknown)},
		{"proposals after nonsense", "otto", "GET", policyProposals + "?after=eA", nil, 422, codeInvalid},
	} {
		a := w.call(test.client, test.method, test.path, test.body)
		if p := a.problem(t); p.Code != test.code || a.status != test.status || p.Detail == "" {
			t.Errorf("%s: %d %+v, want %d %s", test.name, a.status, p, test.status, test.code)
		}
	}
	faults := w.call("olga", "POST", policyProposals, api.ProposePolicies{Policies: broken}).problem(t).Faults
	if len(faults) != 1 || !strings.HasPrefix(faults[0].Field, "desk.cedar:6:") || !strings.Contains(faults[0].Detail, "rolles") {
		t.Errorf("faults %+v", faults)
	}
	var page api.PolicyProposals
	w.must(http.StatusOK, &page, "auditor", "GET", policyProposals+"?state=open", nil)
	if len(page.Proposals) != 1 || page.Proposals[0].ID != open.ID || w.book.Active().Number != 0 {
		t.Errorf("open %+v, active version %d", page, w.book.Active().Number)
	}
}

// stubborn is a rulebook that says no to every proposal.
type stubborn struct {
	Rulebook
	no *dualcontrol.Refusal
}

func (s *stubborn) Propose(context.Context, dualcontrol.Officer, rulebook.Draft) (rulebook.Proposal, error) {
	return rulebook.Proposal{}, s.no
}

// Refusals that take files or other officers to come by are told as they should be;
// that rulebook gives them is tested there.
func TestPolicyCodes(t *testing.T) {
	book := &stubborn{}
	w := newWorld(t, func(c *Config) { book.Rulebook, c.Rulebook = c.Rulebook, book })
	for _, code := range []dualcontrol.Code{rulebook.PolicyFiles, rulebook.PolicyOutdated} {
		book.no = dualcontrol.Refuse(code, "Because.")
		a := w.call("olga", "POST", policyProposals, api.ProposePolicies{Policies: []api.PolicyText{{Name: "x.cedar", Text: policy.BuiltIn().Text}}})
		if p := a.problem(t); p.Code != string(code) || a.status != http.StatusConflict || p.Detail != "Because." {
			t.Errorf("%s: %d %+v", code, a.status, p)
		}
	}
}

// A node that decides by other policies than it ought to is ready all the same, and
// says so.
func TestPolicyDegraded(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.Uneasy = map[string]func(context.Context) error{"policy": func(context.Context) error { return context.DeadlineExceeded }}
	})
	var health api.Health
	w.must(http.StatusOK, &health, "auditor", "GET", "/readyz", nil)
	if health.Status != healthOK || health.Checks["policy"] != healthDegraded {
		t.Errorf("health %+v", health)
	}
}

// Policies are tried on the decisions that were really made, and each that would have
// gone another way is told with what it was about.
func TestDryRun(t *testing.T) {
	w := newWorld(t)
	w.stock()
	w.must(http.StatusCreated, nil, "anna", "POST", "/v1/unblocks", api.StartUnblock{Card: "GOOD", Reason: "ticket 4711"})
	w.call("anna", "POST", "/v1/unblocks", api.StartUnblock{Card: "AES", Reason: " "})
	w.call("anna", "POST", "/v1/unblocks", api.StartUnblock{Card: "MORTAL"}) // no reason: the built-in policies deny
	w.call("anna", "POST", "/v1/unblocks", api.StartUnblock{Card: "REVOKED", Reason: "x"})
	run := func(text string) (r api.DryRun) {
		t.Helper()
		w.must(http.StatusOK, &r, "auditor", "POST", "/v1/policy/dry-run", api.TryPolicies{Policies: []api.PolicyText{{Name: "x.cedar", Text: text}}})
		return r
	}
	same := run(policy.BuiltIn().Text)
	if same.Decisions < 2 || len(same.Differences) != 0 || same.Since == nil {
		t.Errorf("the same policies: %+v", same)
	}
	strict := run(onlySupervisors()[0].Text)
	d := strict.Differences
	if strict.Decisions != same.Decisions || strict.Denied != 1 || strict.Permitted+strict.Asked+strict.Failed != 0 || len(d) != 1 ||
		d[0].Card != "GOOD" || d[0].Operator != "anna" || d[0].Process == "" || d[0].Before.Outcome != "permit" || d[0].After.Outcome != "deny" ||
		d[0].Before.Policies[0] != "operator-with-reason" || !strings.Contains(d[0].After.Why, "role supervisor") {
		t.Errorf("stricter policies: %+v", strict)
	}
	if lax := run(strings.ReplaceAll(onlySupervisors()[0].Text, "supervisor", "operator")); lax.Permitted != same.Decisions-1 || lax.Denied != 0 {
		t.Errorf("laxer policies: %+v", lax)
	}
	asks := run(policy.BuiltIn().Text + `
@id("two-people")
@reason("Two people.")
@approval("supervisor")
forbid (principal, action == Action::"unblock", resource) unless { context has approver && context.approver.roles.contains("supervisor") };`)
	if asks.Asked != 1 || asks.Denied != 0 || asks.Differences[0].After.Approval != "supervisor" {
		t.Errorf("policies that ask for approval: %+v", asks)
	}
	if w.book.Active().Number != 0 {
		t.Error("a dry run has changed something")
	}
}
