package console

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/identity"
	"latchkey/policy"
	"latchkey/unblock"
)

// as does something as another operator.
func (b *bench) as(id string, role identity.Role, do func()) {
	before := b.caller
	defer func() { b.caller = before }()
	b.caller.Client = "desk-" + id
	b.caller.Operator = &policy.Operator{ID: id, Name: id, Roles: []identity.Role{role}}
	do()
}

var statement = regexp.MustCompile(`name="statement" value="([0-9a-f]{64})"`)

// shown is the hash that the page of approvals shows.
func shown(t *testing.T, page string) string {
	t.Helper()
	found := statement.FindStringSubmatch(page)
	if found == nil {
		t.Fatalf("the page shows nothing to approve:\n%s", page)
	}
	return found[1]
}

// refresh is how the browser is told to look again, empty where it is not.
func (b *bench) refresh(path string) string {
	w := httptest.NewRecorder()
	b.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Header().Get("Refresh")
}

// A process for a privileged holder waits, says so, and goes on once a supervisor
// approved what was shown; the second click finds it done.
func TestApproval(t *testing.T) {
	b := newBench(t, nil)
	b.alter(func(c *card.Card) { c.Holder.Privileged = true })
	at := b.start(t)
	page := b.get(t, at, http.StatusOK)
	has(t, page, "A supervisor has to approve", "INC-7", "Called back", "Look again now", "Cancel this unblock")
	lacks(t, page, `id="challenge"`, "/console/approvals")
	if b.refresh(at) != "10" {
		t.Errorf("the page that waits has Refresh %q", b.refresh(at))
	}
	b.get(t, approvalsPath, http.StatusForbidden)

	id := strings.TrimPrefix(at, Path+"unblocks/")
	b.as("sven", identity.Supervisor, func() {
		has(t, b.get(t, "/console/", http.StatusOK), "Approvals", ">1<")
		page := b.get(t, approvalsPath, http.StatusOK)
		has(t, page, "anna asks to unblock", holder, serial, "PIN forgotten", "INC-7", "Called back on the number on file", "privileged")
		if b.refresh(approvalsPath) != "" {
			t.Error("the page is loaded anew while somebody types a reason")
		}
		form := url.Values{"statement": {shown(t, page)}, "verdict": {"approve"}, "reason": {" "}}
		has(t, b.post(t, approvalPath(id), form, http.StatusUnprocessableEntity), "The reason is required.", "anna asks")
		form.Set("reason", "known to me")
		form.Set("verdict", "perhaps")
		b.post(t, approvalPath(id), form, http.StatusUnprocessableEntity)
		form.Set("verdict", "approve")
		has(t, b.post(t, approvalPath(id), url.Values{"statement": {strings.Repeat("0", 64)}, "verdict": {"approve"}, "reason": {"x"}}, http.StatusConflict), "approval-hash")
		for range 2 {
			if to := b.post(t, approvalPath(id), form, http.StatusSeeOther); to != approvalsPath+"?done=approved" {
				t.Errorf("approving leads to %s", to)
			}
		}
		has(t, b.get(t, approvalsPath+"?done=approved", http.StatusOK), "Approved.", "Nothing waits")
		if b.refresh(approvalsPath) == "" {
			t.Error("the empty page does not look again")
		}
	})
	approvals := 0
	for _, e := range b.registry.entries {
		if e.Action == audit.UnblockApprove && e.Outcome == audit.Permit {
			approvals++
		}
	}
	if approvals != 1 {
		t.Errorf("%d approvals were written down", approvals)
	}
	page = b.get(t, at, http.StatusOK)
	has(t, page, `id="challenge"`, "Approved by", "sven", "known to me")
	if b.refresh(at) != "" {
		t.Error("the page is loaded anew while a challenge is typed")
	}
	has(t, b.post(t, at+"/response", url.Values{"challenge": {challenge}}, http.StatusOK), "9F0A")
}

func TestApprovalRefused(t *testing.T) {
	b := newBench(t, nil)
	b.alter(func(c *card.Card) { c.Holder.Privileged = true })
	at := b.start(t)
	b.as("sven", identity.Supervisor, func() {
		form := url.Values{"statement": {shown(t, b.get(t, approvalsPath, http.StatusOK))}, "verdict": {"refuse"}, "reason": {"did not <call>"}}
		b.post(t, strings.Replace(at, "unblocks", "approvals", 1), form, http.StatusSeeOther)
	})
	has(t, b.get(t, at, http.StatusOK), "Not approved", "sven", "did not <call>")

	at = b.start(t)
	b.now = b.now.Add(time.Hour)
	has(t, b.get(t, at, http.StatusOK), "Expired", "Nobody approved in time")
}

// Every button can be pressed twice.
func TestTwice(t *testing.T) {
	b := newBench(t, nil)
	twice := func(path string, form url.Values, status int) (pages [2]string) {
		t.Helper()
		for i := range pages {
			pages[i] = b.post(t, path, form, status)
		}
		return pages
	}
	begun := begin()
	begun.Set("key", "begun")
	at := twice(cardPath(serial)+"/unblock", begun, http.StatusSeeOther)
	if at[0] != at[1] || len(b.registry.processes) != 1 {
		t.Fatalf("the start leads to %q", at)
	}
	twice(at[0]+"/challenge", url.Values{"challenge": {challenge}}, http.StatusOK)
	pages := twice(at[0]+"/response", url.Values{"challenge": {challenge}, "key": {"answered"}}, http.StatusOK)
	has(t, pages[0], grouped[:4])
	has(t, pages[1], grouped[:4])
	if b.registry.unconfirmed != 1 {
		t.Errorf("%d responses were counted", b.registry.unconfirmed)
	}
	for _, to := range twice(at[0]+"/complete", url.Values{"outcome": {"failed"}}, http.StatusSeeOther) {
		if to != at[0] {
			t.Errorf("the outcome leads to %s", to)
		}
	}
	b.post(t, at[0]+"/complete", url.Values{"outcome": {"pin-changed"}}, http.StatusConflict) // another outcome is not the same
	lacks(t, b.post(t, at[0]+"/response", url.Values{"challenge": {challenge}, "key": {"answered"}}, http.StatusConflict), secret...)

	at[0] = b.start(t)
	twice(at[0]+"/cancel", nil, http.StatusSeeOther)

	// Without a key, nothing is done.
	for path, form := range map[string]url.Values{cardPath(serial) + "/unblock": begin(), at[0] + "/response": {"challenge": {challenge}}} {
		form.Set("key", "")
		before := len(b.registry.entries)
		has(t, b.post(t, path, form, http.StatusBadRequest), "not whole")
		if len(b.registry.entries) != before {
			t.Errorf("%s was done", path)
		}
	}
}

// An operator's own process that is in the way is gone on with; another's is named.
func TestCardBusy(t *testing.T) {
	b := newBench(t, nil)
	at := b.start(t)
	page := b.get(t, cardPath(serial), http.StatusOK)
	has(t, page, "card-busy", `href="`+at+`"`, "Go on with", "Waits for its challenge")
	lacks(t, page, "Start an unblock")
	has(t, b.post(t, cardPath(serial)+"/unblock", begin(), http.StatusConflict), "card-busy", `href="`+at+`"`)
	b.as("omar", identity.Operator, func() {
		page := b.get(t, cardPath(serial), http.StatusOK)
		has(t, page, "card-busy", "operator anna", "keeps others from this card")
		lacks(t, page, "process-1")
	})
}

// A challenge that no card would issue is answered only after a deliberate click.
func TestSuspiciousChallenge(t *testing.T) {
	for typed, want := range map[string]string{
		"AAAA AAAA AAAA AAAA": "as no card issues one", "0102 0304 0506 0708": "as no card issues one", challenge: "answered before",
	} {
		b := newBench(t, nil)
		first := b.start(t)
		b.post(t, first+"/response", url.Values{"challenge": {challenge}}, http.StatusOK)
		b.post(t, first+"/complete", url.Values{"outcome": {"failed"}}, http.StatusSeeOther)
		at := b.start(t)
		form := url.Values{"challenge": {typed}}
		for name, page := range map[string]string{
			"read back": b.post(t, at+"/challenge", form, http.StatusOK), "answered": b.post(t, at+"/response", form, http.StatusConflict),
		} {
			t.Log(typed, name)
			has(t, page, want, `name="confirmed" value="yes"`, "The card does show this", "Or correct it")
			lacks(t, page, "<button autofocus>", grouped[:4])
		}
		if b.hsm.calls != 1 {
			t.Errorf("%s: the HSM was asked %d times", typed, b.hsm.calls-1)
		}
		form.Set("confirmed", "yes")
		has(t, b.post(t, at+"/response", form, http.StatusOK), grouped[:4])
	}
}

// The last attempts are warned of; then nothing goes on but what a supervisor
// answers for, or once a response is reported to have worked.
func TestAttempts(t *testing.T) {
	b := newBench(t, nil)
	answered := func() string {
		t.Helper()
		at := b.start(t)
		b.post(t, at+"/response", url.Values{"challenge": {challenge}, "confirmed": {"yes"}}, http.StatusOK)
		return at
	}
	limit := unblockLimit(t, b)
	for range limit - 1 {
		answered()
	}
	has(t, b.get(t, cardPath(serial), http.StatusOK), "One response is left", "1 left", "Report what happened", "PIN")
	last := answered()
	page := b.get(t, cardPath(serial), http.StatusOK)
	has(t, page, "attempts-exhausted", "0 left", `href="`+last+`"`)
	lacks(t, page, "Start the unblock", `id="override"`)

	forbidden := begin()
	forbidden.Set("override", "because")
	has(t, b.post(t, cardPath(serial)+"/unblock", forbidden, http.StatusConflict), "override-forbidden")
	b.now = b.now.Add(time.Hour) // a fresh answer keeps others away
	b.as("sven", identity.Supervisor, func() {
		page := b.get(t, cardPath(serial), http.StatusOK)
		has(t, page, `id="override"`, "No attempt is left", "Start the unblock", "Ask anna to report")
		lacks(t, page, "would be refused", last)
		has(t, b.post(t, cardPath(serial)+"/unblock", begin(), http.StatusConflict), "attempts-exhausted")
		at := b.post(t, cardPath(serial)+"/unblock", forbidden, http.StatusSeeOther)
		has(t, b.get(t, at, http.StatusOK), "Beyond the limit", "because")
		has(t, b.post(t, at+"/response", url.Values{"challenge": {challenge}, "confirmed": {"yes"}}, http.StatusOK), grouped[:4])
	})
	b.now = b.now.Add(time.Hour)
	b.post(t, last+"/complete", url.Values{"outcome": {"pin-changed"}}, http.StatusSeeOther)
	has(t, b.get(t, cardPath(serial), http.StatusOK), "Start the unblock")
}

func unblockLimit(t *testing.T, b *bench) int {
	t.Helper()
	p, err := b.registry.Profile("gids")
	if err != nil {
		t.Fatal(err)
	}
	return p.Retry.MaxUnconfirmed()
}

// A card that the operator may not see is told of as one that is not there.
func TestUnseenCard(t *testing.T) {
	b := newBench(t, nil)
	b.unseen = true
	page := content(b.get(t, cardPath(serial), http.StatusNotFound))
	unknown := content(b.get(t, cardPath("none"), http.StatusNotFound))
	if strings.ReplaceAll(page, serial, "none") != unknown {
		t.Errorf("unseen:\n%s\nunknown:\n%s", page, unknown)
	}
	lacks(t, b.get(t, "/console/?q=Berta", http.StatusOK), holder)
	has(t, b.post(t, cardPath(serial)+"/unblock", begin(), http.StatusConflict), string(unblock.CardUnknown))
}
