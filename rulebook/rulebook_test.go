package rulebook_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/dualcontrol"
	"latchkey/identity"
	"latchkey/policy"
	"latchkey/rulebook"
	"latchkey/store"
)

var moment = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// world is a database with as many nodes on it as a test opens.
type world struct {
	t     *testing.T
	path  string
	store *store.Store
	ids   int
	logs  *observer.ObservedLogs
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, path: filepath.Join(t.TempDir(), "latchkey.db")}
	var err error
	if w.store, err = store.Open(t.Context(), w.path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.store.Close() })
	return w
}

// open starts a node; the folder is "" for versions.
func (w *world) open(folder string) (*rulebook.Rulebook, error) {
	core, logs := observer.New(zap.InfoLevel)
	w.logs = logs
	return rulebook.Open(w.t.Context(), rulebook.Config{
		Ledger: w.store, Directory: folder, Approvals: 1, Lifetime: time.Hour, Logger: zap.New(core),
		Now:   func() time.Time { return moment },
		NewID: func() string { w.ids++; return fmt.Sprintf("p-%d", w.ids) },
	})
}

func (w *world) node() *rulebook.Rulebook {
	w.t.Helper()
	r, err := w.open("")
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func by(name string) dualcontrol.Officer {
	return dualcontrol.Officer{Client: name, Person: "person of " + name, Address: "192.0.2.1"}
}

// set is a set of policies that permits whoever has one of the roles, and lets
// everybody see every card.
func set(role identity.Role) []policy.Source {
	return []policy.Source{
		{Name: "see.cedar", Text: "@id(\"see\")\n@reason(\"Cards are seen.\")\npermit (principal, action == Action::\"view\", resource);\n"},
		{Name: "desk.cedar", Text: fmt.Sprintf("@id(\"desk\")\n@reason(\"It takes role %s.\")\npermit (principal, action == Action::\"unblock\", resource)\nwhen { principal.roles.contains(\"%s\") };\n", role, role)},
	}
}

// asked is the request of an operator with the role.
func asked(role identity.Role) policy.Request {
	return policy.Request{
		Operator: identity.Person{ID: "anna", Name: "Anna", Roles: []identity.Role{role}}, Means: identity.ByCertificate, Client: "idm", Now: moment,
		Card: card.Card{Serial: "4711", Type: "employee", State: "blocked", Holder: card.Holder{ID: "h-1", State: "active"}},
		Type: card.Type{ID: "employee", Name: "Employee", Profile: "gids"}, Reason: "ticket 4711",
	}
}

// allows tells whether the node lets somebody with the role unblock a card.
func allows(t *testing.T, r *rulebook.Rulebook, role identity.Role) bool {
	t.Helper()
	d, err := r.Decide(t.Context(), asked(role))
	if err != nil {
		t.Fatal(err)
	}
	return d.Allow
}

func (w *world) change(r *rulebook.Rulebook, d rulebook.Draft) rulebook.Proposal {
	w.t.Helper()
	p, err := r.Propose(w.t.Context(), by("olga"), d)
	if err == nil {
		p, err = r.Approve(w.t.Context(), by("otto"), p.ID, dualcontrol.Hash(p.Canonical()))
	}
	if err != nil || p.State != dualcontrol.Executed {
		w.t.Fatalf("change: %s, %s (%v)", p.State, p.Error, err)
	}
	return p
}

func refused(t *testing.T, err error) dualcontrol.Code {
	t.Helper()
	var no *dualcontrol.Refusal
	if !errors.As(err, &no) {
		t.Errorf("error %v is no refusal", err)
		return ""
	}
	return no.Code
}

// A change decides on the node that it was approved on at once, and on another as soon
// as that looks; the way back is an older version's texts, under dual control too.
func TestChange(t *testing.T) {
	w := newWorld(t)
	one, two := w.node(), w.node()
	if a := one.Active(); a.Origin != rulebook.FromBuiltIn || a.Number != 0 || a.Fingerprint == "" || !allows(t, one, identity.Operator) {
		t.Fatalf("at first it decides by %+v", a)
	}
	p := w.change(one, rulebook.Draft{Policies: set(identity.Supervisor), Note: "supervisors only"})
	if allows(t, one, identity.Operator) || !allows(t, one, identity.Supervisor) || !allows(t, two, identity.Operator) {
		t.Error("the nodes decide by other policies than they should")
	}
	ctx, stop := context.WithCancel(t.Context())
	two.Poll = time.Millisecond
	ended := make(chan struct{})
	go func() { two.Run(ctx); close(ended) }()
	for allows(t, two, identity.Operator) { // ends the test by its time if it never comes
		time.Sleep(time.Millisecond)
	}
	stop()
	<-ended
	a := two.Active()
	if a.Origin != rulebook.FromVersions || a.Number != 1 || a.Proposer != "olga" || a.Person != "person of olga" || a.Note != "supervisors only" ||
		len(a.Approved) != 1 || a.Approved[0].Officer != "otto" || a.Proposal != p.ID || a.Fault != nil {
		t.Errorf("the other node decides by %+v", a)
	}

	back := w.change(one, rulebook.Draft{Restores: new(int), Note: "back"})
	if a := one.Active(); a.Number != 2 || back.Base != 1 || !allows(t, one, identity.Operator) || *a.Restores != 0 {
		t.Errorf("back at version 0, it decides by %+v", a)
	}
	list, err := one.Versions(t.Context(), 0, 10)
	if err != nil || len(list) != 3 || list[0].Number != 2 || list[2].Number != 0 || list[0].Fingerprint != list[2].Fingerprint || list[1].Fingerprint == list[2].Fingerprint {
		t.Errorf("versions %+v (%v)", list, err)
	}
	diff := rulebook.Diff(list[2].Policies, list[1].Policies, "version 0", "version 1")
	if !strings.Contains(diff, "--- version 0/default.cedar") || !strings.Contains(diff, "+@reason(\"It takes role supervisor.\")") {
		t.Errorf("diff\n%s", diff)
	}
	var steps []string
	entries, err := w.store.Entries(t.Context(), 1, 0)
	for _, e := range entries {
		steps = append(steps, string(e.Action)+" "+e.Client+" "+string(e.Outcome))
		if e.ProposalHash == "" || e.PolicyVersion == "" || e.Reason == "" {
			t.Errorf("entry %+v says too little", e)
		}
	}
	want := []string{"policy.propose olga permit", "policy.approve otto permit", "policy.activate otto permit"}
	if err != nil || !slices.Equal(steps, append(want, want...)) {
		t.Errorf("log %q (%v)", steps, err)
	}
}

// What has faults is not proposed, nobody changes policies alone, and a proposal in
// place of a version that is no longer active fails.
func TestNotChanged(t *testing.T) {
	w := newWorld(t)
	r := w.node()
	broken := set(identity.Operator)
	broken[1].Text = "permit (principal, action, resource) when {"
	var faults policy.Faults
	if _, err := r.Propose(t.Context(), by("olga"), rulebook.Draft{Policies: broken}); !errors.As(err, &faults) || faults[0].File != "desk.cedar" || faults[0].Line != 1 {
		t.Errorf("policies with faults: %v", err)
	}
	if _, err := r.Propose(t.Context(), by("olga"), rulebook.Draft{Restores: new(int(7))}); refused(t, err) != rulebook.PolicyVersionUnknown {
		t.Errorf("a version that is not there: %v", err)
	}
	for name, d := range map[string]rulebook.Draft{
		"nothing":       {},
		"both":          {Policies: set(identity.Operator), Restores: new(int)},
		"a path":        {Policies: []policy.Source{{Name: "../x.cedar"}}},
		"not cedar":     {Policies: []policy.Source{{Name: "x.txt"}}},
		"twice":         {Policies: []policy.Source{{Name: "x.cedar"}, {Name: "x.cedar"}}},
		"too long":      {Policies: []policy.Source{{Name: "x.cedar", Text: strings.Repeat(" ", rulebook.MaxTexts+1)}}},
		"note of lines": {Policies: set(identity.Operator), Note: "a\nb"},
	} {
		if len(d.Faults()) != 1 {
			t.Errorf("%s: faults %v", name, d.Faults())
		}
	}
	first, err := r.Propose(t.Context(), by("olga"), rulebook.Draft{Policies: set(identity.Supervisor)})
	second, err2 := r.Propose(t.Context(), by("olga"), rulebook.Draft{Policies: set(identity.Auditor)})
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Approve(t.Context(), by("olga"), first.ID, dualcontrol.Hash(first.Canonical())); refused(t, err) != dualcontrol.ProposalOwn {
		t.Errorf("approved by its proposer: %v", err)
	}
	if _, err := r.Approve(t.Context(), by("otto"), first.ID, dualcontrol.Hash(second.Canonical())); refused(t, err) != dualcontrol.ProposalHash {
		t.Errorf("another was meant: %v", err)
	}
	if _, err := r.Approve(t.Context(), by("otto"), first.ID, dualcontrol.Hash(first.Canonical())); err != nil {
		t.Fatal(err)
	}
	late, err := r.Approve(t.Context(), by("otto"), second.ID, dualcontrol.Hash(second.Canonical()))
	if err != nil || late.State != dualcontrol.Failed || !strings.Contains(late.Error, "version 1 is active") {
		t.Errorf("in place of version 0: %s, %q (%v)", late.State, late.Error, err)
	}
	if a := r.Active(); a.Number != 1 || a.Proposal != first.ID {
		t.Errorf("active is %+v", a)
	}
}

// insert puts a version into the database as no rulebook would.
func (w *world) insert(number int, text string, approvals ...string) {
	w.t.Helper()
	s := rulebook.Statement{
		Header:   dualcontrol.Header{ID: fmt.Sprintf("hand-%d", number), Proposer: "olga", Approvals: 1, CreatedAt: moment, ExpiresAt: moment},
		Policies: []policy.Source{{Name: "x.cedar", Text: text}},
	}
	p := dualcontrol.Proposal{Kind: dualcontrol.Policies, Header: s.Header, Text: s.Canonical(), Progress: dualcontrol.Progress{State: dualcontrol.Executed, Revision: 1}}
	for _, officer := range approvals {
		p.Approved = append(p.Approved, dualcontrol.Approval{Officer: officer, Hash: p.Hash(), At: moment})
	}
	err := w.store.KeepPolicies(w.t.Context(), rulebook.Change{Proposal: &p, Effect: &rulebook.Record{Number: number, Fingerprint: "f", Proposal: s.ID, ActivatedAt: moment}})
	if err != nil {
		w.t.Fatal(err)
	}
}

// A version that is broken, or was approved by nobody, takes no other's place; a node
// that starts then does not start.
func TestBrokenVersion(t *testing.T) {
	sound := set(identity.Supervisor)[0].Text + set(identity.Supervisor)[1].Text
	for name, test := range map[string]struct {
		text      string
		approvals []string
		says      string
	}{
		"does not parse":       {"permit (", []string{"otto"}, "x.cedar:1:"},
		"approved by nobody":   {sound, nil, "was not approved"},
		"by its proposer only": {sound, []string{"olga"}, "was not approved"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r := w.node()
			logs := w.logs
			w.insert(1, test.text, test.approvals...)
			for range 3 {
				r.Reload(t.Context())
			}
			a := r.Active()
			if a.Number != 0 || !allows(t, r, identity.Operator) {
				t.Errorf("it decides by version %d", a.Number)
			}
			if a.Fault == nil || !strings.Contains(a.Fault.What, test.says) || r.Check(t.Context()) == nil {
				t.Errorf("fault %+v", a.Fault)
			}
			if alarms := logs.FilterMessageSnippet("ALARM").Len(); alarms != 1 {
				t.Errorf("%d alarms", alarms)
			}
			if _, err := w.open(""); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("another node starts: %v", err)
			}
			w.insert(2, sound, "otto")
			r.Reload(t.Context())
			if a := r.Active(); a.Number != 2 || a.Fault != nil || r.Check(t.Context()) != nil || allows(t, r, identity.Operator) {
				t.Errorf("with a sound one, it decides by %+v", a)
			}
		})
	}
}

// Where files govern they are followed, once they stand; what is broken is not; and
// nothing is changed by proposals.
func TestFiles(t *testing.T) {
	w := newWorld(t)
	folder := t.TempDir()
	stamp := moment
	write := func(policies []policy.Source) {
		t.Helper()
		for _, s := range policies {
			path := filepath.Join(folder, s.Name)
			stamp = stamp.Add(time.Second) // whatever the file system's clock can tell apart
			if err := errors.Join(os.WriteFile(path, []byte(s.Text), 0o600), os.Chtimes(path, stamp, stamp)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := w.open(folder); err == nil || !strings.Contains(err.Error(), "no file here") {
		t.Errorf("a node starts with no policies: %v", err)
	}
	write(set(identity.Operator))
	r, err := w.open(folder)
	if err != nil {
		t.Fatal(err)
	}
	if a := r.Active(); a.Origin != rulebook.FromDirectory || a.Directory != folder || !allows(t, r, identity.Operator) {
		t.Errorf("it decides by %+v", a)
	}
	for _, step := range []struct {
		policies []policy.Source
		operator bool
		fault    bool
	}{
		{set(identity.Supervisor), false, false},
		{[]policy.Source{{Name: "desk.cedar", Text: "permit ("}}, false, true},
		{set(identity.Operator), true, false},
	} {
		before := allows(t, r, identity.Operator)
		write(step.policies)
		r.Follow(t.Context())
		if allows(t, r, identity.Operator) != before {
			t.Error("a change was taken before the files stood")
		}
		for range 2 {
			r.Follow(t.Context())
			if got := allows(t, r, identity.Operator); got != step.operator || (r.Active().Fault != nil) != step.fault {
				t.Errorf("operators are allowed: %v; fault %+v", got, r.Active().Fault)
			}
		}
	}
	write(set(identity.Auditor))
	r.Reload(t.Context())
	if allows(t, r, identity.Operator) {
		t.Error("a change was not taken when that was asked for")
	}
	if _, err := r.Propose(t.Context(), by("olga"), rulebook.Draft{Policies: set(identity.Operator)}); refused(t, err) != rulebook.PolicyFiles {
		t.Errorf("propose: %v", err)
	}
	entries, err := w.store.Entries(t.Context(), 1, 0)
	if err != nil || len(entries) != 5 || entries[1].Action != audit.PolicyActivate || entries[1].PolicyVersion == entries[0].PolicyVersion {
		t.Errorf("log %+v (%v)", entries, err)
	}
}
