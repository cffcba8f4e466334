package console

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/identity"
	"latchkey/policy"
	"latchkey/store"
	"latchkey/unblock"
)

const (
	serial    = "GIDS 4711/ü" // all that a path has to escape
	challenge = "1603 EBDF 1C8A 2E72"
	grouped   = "9F0A 0042 CAFE 0F1E" // what the fake HSM answers
	holder    = "Berta <script>alert('x')</script> Beispiel"
)

// records is a store in memory with one card type, for the desk and the console.
type records struct {
	cards       map[string]card.Card
	on          map[string]bool
	processes   map[string]unblock.Process
	unconfirmed int
	latest      string
	entries     []audit.Entry
	fault       error
}

func (g *records) Card(_ context.Context, serial string) (card.Card, error) {
	c, ok := g.cards[serial]
	if !ok {
		return c, errors.Join(card.ErrNotFound, g.fault)
	}
	return c, g.fault
}

func (g *records) CardType(_ context.Context, id string) (card.Type, error) {
	if id != "employee" {
		return card.Type{}, card.ErrNotFound
	}
	return card.Type{ID: id, Name: "Employee card", Profile: "gids", UnblockRemote: g.on}, nil
}

func (g *records) FindCards(_ context.Context, q store.Query) (found []card.Card, next string, err error) {
	if q.After == "typed" {
		return nil, "", store.ErrQuery
	}
	for _, c := range g.cards {
		if q.Keep != nil {
			if keep, err := q.Keep(c); err != nil || !keep {
				continue
			}
		}
		if strings.Contains(c.Holder.Name+c.Serial, q.Text) && q.After == "" {
			found, next = append(found, c), "cursor&1"
		}
	}
	return found, next, g.fault
}

func (g *records) Profile(string) (card.Profile, error) {
	return card.Profile{
		ID: "gids", Algorithm: card.TDESECB, ChallengeLen: 8, CardKeyType: card.TDES3,
		Scheme: card.LatchkeyV1, MasterKey: "fleet", MasterKeyVersion: 1, Retry: card.RetryUnknown,
	}, nil
}

func (g *records) Operator(_ context.Context, id string) (policy.Operator, error) {
	return policy.Operator{ID: id, Name: id, Roles: []identity.Role{identity.Operator}}, nil
}

func (g *records) Usable(context.Context, string, int) (string, error) { return "", nil }

func (g *records) Apply(_ context.Context, c unblock.Change) error {
	if g.processes[c.Process.ID].Revision != c.From {
		return unblock.ErrConflict
	}
	if c.Repeat {
		return g.Deny(context.Background(), c.Entry, nil, nil)
	}
	g.processes[c.Process.ID] = c.Process
	if c.Answer {
		g.unconfirmed++
	}
	if c.Confirm {
		g.unconfirmed = 0
	}
	if c.From == 0 || c.Answer {
		g.latest = c.Process.ID
	}
	return g.Deny(context.Background(), c.Entry, nil, nil)
}

func (g *records) Deny(_ context.Context, e audit.Entry, _ []unblock.Charge, _ *policy.Decided) error {
	g.entries = append(g.entries, e)
	return nil
}

func (g *records) Process(_ context.Context, id string) (unblock.Process, error) {
	p, ok := g.processes[id]
	if !ok {
		return p, card.ErrNotFound
	}
	return p, nil
}

func (g *records) ProcessOf(_ context.Context, key string) (unblock.Process, error) {
	for _, p := range g.processes {
		if p.Begun.Key == key || p.Given.Key == key {
			return p, nil
		}
	}
	return unblock.Process{}, card.ErrNotFound
}

func (g *records) WaitingProcesses(_ context.Context, now time.Time) (waiting []unblock.Process, err error) {
	for _, p := range g.processes {
		if p.State == unblock.Waiting && now.Before(p.ExpiresAt) {
			waiting = append(waiting, p)
		}
	}
	return waiting, g.fault
}

func (g *records) OpenProcesses(_ context.Context, serial string, now time.Time) (open []unblock.Process, err error) {
	for _, p := range g.processes {
		if p.Card == serial && (p.State == unblock.Answered || p.Holds("", now)) {
			open = append(open, p)
		}
	}
	return open, g.fault
}

func (g *records) Standing(context.Context, string) (unblock.Standing, error) {
	return unblock.Standing{Unconfirmed: g.unconfirmed, Latest: g.processes[g.latest]}, nil
}

func (g *records) Dossier(ctx context.Context, q unblock.Question) (d unblock.Dossier, err error) {
	if d.Card, err = g.Card(ctx, q.Card); err != nil {
		return unblock.Dossier{}, err
	}
	if d.Type, err = g.CardType(ctx, d.Card.Type); err != nil {
		return unblock.Dossier{}, err
	}
	for _, p := range g.processes {
		d.Answered = d.Answered || p.Challenge != "" && p.Challenge == q.Challenge && p.ID != q.Process
	}
	d.Standing, err = g.Standing(ctx, q.Card)
	return d, err
}

func (g *records) Arrivals(context.Context, ...string) (map[string]time.Time, error) {
	return nil, nil
}

// hsm answers every challenge alike, and counts them.
type hsm struct {
	calls int
	fault error
}

func (h *hsm) Respond(context.Context, card.AdminKey, card.Algorithm, card.Challenge) (card.Response, error) {
	h.calls++
	return card.Response{0x9f, 0x0a, 0x00, 0x42, 0xca, 0xfe, 0x0f, 0x1e}, h.fault
}

// sight is policies that can be told to hide every card.
type sight struct {
	*policy.Engine
	unseen *bool
}

func (s sight) View(ctx context.Context, r policy.ViewRequest) (policy.Decision, error) {
	d, err := s.Engine.View(ctx, r)
	d.Allow = d.Allow && !*s.unseen
	return d, err
}

// bench is a console over a real desk, with what stands under both.
type bench struct {
	http.Handler
	desk     Desk
	registry *records
	hsm      *hsm
	now      time.Time
	caller   unblock.Caller
	reported []error
	forms    int  // that were sent
	unseen   bool // nobody may see a card
}

// newBench makes a bench; a desk that is given stands in for the real one.
func newBench(t *testing.T, desk Desk) *bench {
	t.Helper()
	b := &bench{
		registry: &records{
			cards: map[string]card.Card{serial: {
				Serial: serial, Type: "employee", State: "blocked",
				Holder: card.Holder{ID: "e-17", Name: holder, Email: "berta@example.org", EmployeeNumber: "000017", State: "active"},
			}},
			on:        map[string]bool{"blocked": true},
			processes: map[string]unblock.Process{},
		},
		hsm: &hsm{},
		now: time.Now(),
		caller: unblock.Caller{
			Client: "desk-anna", RequestID: "request-7", Means: identity.ByCertificate,
			Operator: &policy.Operator{ID: "anna", Name: "anna", Roles: []identity.Role{identity.Operator}},
		},
	}
	policies, err := policy.Default()
	if err != nil {
		t.Fatal(err)
	}
	seeing := sight{policies, &b.unseen}
	if desk == nil {
		desk, err = unblock.New(unblock.Config{
			Cards: b.registry, Profiles: b.registry, Operators: b.registry, Policy: seeing, Keys: b.registry, HSM: b.hsm, Ledger: b.registry,
			CardStates: card.DefaultCardStates(), HolderStates: card.DefaultHolderStates(),
			Lifetime: 15 * time.Minute, ApprovalLifetime: 10 * time.Minute,
			Now:   func() time.Time { return b.now },
			NewID: func() string { return fmt.Sprintf("process-%d", len(b.registry.processes)+1) },
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	b.desk = desk
	b.Handler, err = New(furnish(t, Config{
		Desk: desk, Cards: b.registry, Profiles: b.registry,
		CardStates: card.DefaultCardStates(), HolderStates: card.DefaultHolderStates(),
		Caller: func(*http.Request) (unblock.Caller, bool) { return b.caller, b.caller.Client != "" },
		Problem: func(code string) Problem {
			return Problem{Status: http.StatusConflict, Title: "Title of " + code, Remedy: "Remedy of " + code}
		},
		Report:  func(_ *http.Request, err error) { b.reported = append(b.reported, err) },
		Version: "1.2.3", Now: func() time.Time { return b.now },
	}))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// inline finds what the content security policy would stop.
var inline = regexp.MustCompile(`(?i)<script[^ ]|defer>[^<]|<style|\sstyle=|\son[a-z]+=|javascript:|https?:`)

// do sends a request and checks what holds for every page.
func (b *bench) do(t *testing.T, r *http.Request, status int) string {
	t.Helper()
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	if w.Code != status {
		t.Fatalf("%s %s: status %d, want %d\n%s", r.Method, r.URL, w.Code, status, w.Body)
	}
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
		"X-Frame-Options":         "DENY",
		"X-Content-Type-Options":  "nosniff",
		"Referrer-Policy":         "no-referrer",
		"Cache-Control":           "no-store",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s %s: %s is %q, want %q", r.Method, r.URL, name, got, want)
		}
	}
	if found := inline.FindString(w.Body.String()); found != "" {
		t.Errorf("%s %s: the page has %q", r.Method, r.URL, found)
	}
	if location := w.Header().Get("Location"); status == http.StatusSeeOther {
		return location
	}
	return w.Body.String()
}

func (b *bench) get(t *testing.T, path string, status int) string {
	t.Helper()
	return b.do(t, httptest.NewRequest(http.MethodGet, path, nil), status)
}

func (b *bench) post(t *testing.T, path string, form url.Values, status int) string {
	t.Helper()
	if form == nil {
		form = url.Values{}
	}
	if !form.Has("key") { // each form has another
		b.forms++
		form.Set("key", fmt.Sprint("key ", b.forms))
	}
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return b.do(t, r, status)
}

// begin is the form that starts a process.
func begin() url.Values {
	return url.Values{"reason": {"PIN forgotten"}, "verification": {"call-back"}, "ticket": {"INC-7"}}
}

// start starts a process and gives its path.
func (b *bench) start(t *testing.T) string {
	t.Helper()
	return b.post(t, cardPath(serial)+"/unblock", begin(), http.StatusSeeOther)
}

// has checks that a page has every one of the texts, as a reader sees them.
func has(t *testing.T, page string, texts ...string) {
	t.Helper()
	seen := html.UnescapeString(page)
	for _, text := range texts {
		if !strings.Contains(seen, text) {
			t.Errorf("the page lacks %q:\n%s", text, page)
		}
	}
}

// content is what a page has between its head and its foot.
func content(page string) string {
	_, rest, _ := strings.Cut(page, "<main")
	inside, _, _ := strings.Cut(rest, "</main>")
	return inside
}

func lacks(t *testing.T, page string, texts ...string) {
	t.Helper()
	seen := html.UnescapeString(page)
	for _, text := range texts {
		if strings.Contains(seen, text) {
			t.Errorf("the page has %q:\n%s", text, page)
		}
	}
}

// secret is what of the response must not be found on any page but one.
var secret = []string{"9F0A", "CAFE", "9F0A0042CAFE0F1E", "nine Foxtrot"}

func TestUnblock(t *testing.T) {
	b := newBench(t, nil)

	page := b.get(t, "/console/?q=Berta", http.StatusOK)
	has(t, page, holder, serial, "blocked", `href="/console/cards/GIDS%204711%2F%C3%BC"`)

	page = b.get(t, "/console/cards/GIDS%204711%2F%C3%BC", http.StatusOK)
	has(t, page, holder, "berta@example.org", "000017", "Employee card", "Start the unblock")
	lacks(t, page, "would be refused")

	at := b.start(t)
	page = b.get(t, at, http.StatusOK)
	has(t, page, holder, "16 digits", "____ ____ ____ ____", "Attempts left", "PIN forgotten")
	lacks(t, page, "Response derived in the HSM", "PIN changed")

	// What was typed is read back first, and the button that goes on has the focus.
	page = b.post(t, at+"/challenge", url.Values{"challenge": {"i6O3-ebdf 1c8a2e72"}, "key": {"answer"}}, http.StatusOK)
	has(t, page, "1603", "one six zero three", "two Echo seven two", "<button autofocus>It is right", `name="key" value="answer"`, `name="challenge" value="i6O3-ebdf 1c8a2e72"`)
	lacks(t, page, append(secret, `name="confirmed"`)...)
	if b.hsm.calls != 0 {
		t.Error("the HSM was asked before the challenge was read back")
	}

	answer := url.Values{"challenge": {"i6O3-ebdf 1c8a2e72"}, "key": {"answer"}}
	page = b.post(t, at+"/response", answer, http.StatusOK)
	for i, digits := range strings.Fields(grouped) {
		has(t, page, digits, []string{"nine Foxtrot zero Alfa", "zero zero four two", "Charlie Alfa Foxtrot Echo", "zero Foxtrot one Echo"}[i])
	}
	has(t, page, "Do not remove the card", challenge, "Response derived in the HSM", "Audit entry durable", "PIN changed")

	// Looking at the process does not show it again, nor does another form; the same
	// form does, and counts nothing.
	lacks(t, b.get(t, at, http.StatusOK), secret...)
	has(t, b.post(t, at+"/response", answer, http.StatusOK), "9F0A", "not given out twice")
	if b.registry.unconfirmed != 1 {
		t.Errorf("%d responses were counted", b.registry.unconfirmed)
	}
	page = b.post(t, at+"/response", url.Values{"challenge": {challenge}}, http.StatusConflict)
	has(t, page, "process-answered", "cannot be shown again", "request-7", at)
	lacks(t, page, secret...)
	if b.hsm.calls != 2 {
		t.Errorf("the HSM was called %d times", b.hsm.calls)
	}

	if to := b.post(t, at+"/complete", url.Values{"outcome": {"pin-changed"}}, http.StatusSeeOther); to != at {
		t.Errorf("completing leads to %s, want %s", to, at)
	}
	page = b.get(t, at, http.StatusOK)
	has(t, page, "PIN changed", "works again")
	lacks(t, page, "What happened?", "Cancel this unblock")
	if b.registry.unconfirmed != 0 {
		t.Error("the card's attempts were not confirmed")
	}
	for _, e := range b.registry.entries {
		if e.Client != "desk-anna" || e.Operator != "anna" {
			t.Errorf("entry %s is of %s and %s", e.Action, e.Client, e.Operator)
		}
	}
}

func TestStartChecksAreThoseOfTheDesk(t *testing.T) {
	b := newBench(t, nil)
	opened, err := b.desk.Start(t.Context(), b.caller, unblock.Begin{Card: serial, Reason: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if want := unblock.StartChecks(); !slices.Equal(opened.Checks, want) {
		t.Errorf("the desk made the checks %q at the start; StartChecks has %q", opened.Checks, want)
	}
}

// TestChallengeFaults: what was typed is kept, the character is named, and neither
// the HSM nor the process is touched.
func TestChallengeFaults(t *testing.T) {
	for typed, want := range map[string][]string{
		`1603 EBDF 1CSA "2E72`: {`value="1603 EBDF 1CSA "2E72"`, "<mark>S</mark>", "Character 13", "5 or 8", string(unblock.ChallengeAmbiguous)},
		"1603 EBDF 1C8A 2E7x":  {`value="1603 EBDF 1C8A 2E7x"`, "<mark>x</mark>", "Character 19", string(unblock.ChallengeNotHex)},
		"1603 EBDF 1C8A 2E7":   {`value="1603 EBDF 1C8A 2E7"`, "15 hex digits", string(unblock.ChallengeLength)},
		"":                     {"0 hex digits", string(unblock.ChallengeLength)},
	} {
		b := newBench(t, nil)
		at := b.start(t)
		page := b.post(t, at+"/challenge", url.Values{"challenge": {typed}}, http.StatusConflict)
		has(t, page, append(want, `aria-invalid="true"`, `role="alert"`, "request-7", "Remedy of")...)
		if p := b.registry.processes["process-1"]; p.State != unblock.Started || b.hsm.calls != 0 {
			t.Errorf("%q: the process is %s, the HSM was called %d times", typed, p.State, b.hsm.calls)
		}
	}
}

// TestChallengeKept: where a part that is needed does not work, the challenge can
// be sent again without being typed again, and the cause is for the log only.
func TestChallengeKept(t *testing.T) {
	b := newBench(t, nil)
	at := b.start(t)
	b.hsm.fault = errors.New("CKR_DEVICE_ERROR")
	page := b.post(t, at+"/response", url.Values{"challenge": {challenge}}, http.StatusConflict)
	has(t, page, `value="`+challenge+`"`, "hsm-refused", "request-7")
	lacks(t, page, append(secret, "CKR_")...)
	if len(b.reported) != 1 || !errors.Is(b.reported[0], b.hsm.fault) {
		t.Errorf("reported: %v", b.reported)
	}
	b.hsm.fault = nil
	has(t, b.post(t, at+"/response", url.Values{"challenge": {challenge}}, http.StatusOK), "9F0A")
}

func TestEnds(t *testing.T) {
	for name, c := range map[string]struct {
		answer bool
		form   string
		values url.Values
		later  time.Duration
		want   []string
	}{
		"refused":             {answer: true, form: "complete", values: url.Values{"outcome": {"failed"}}, want: []string{"Card refused"}},
		"unknown":             {answer: true, form: "complete", values: url.Values{"outcome": {"unknown"}}, want: []string{"Outcome not known"}},
		"cancelled":           {form: "cancel", want: []string{"Cancelled", "No response was given out"}},
		"cancelled, answered": {answer: true, form: "cancel", want: []string{"Cancelled", "still counts"}},
		"expired":             {later: time.Hour, want: []string{"Expired", "No challenge came in time"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			at := b.start(t)
			if c.answer {
				b.post(t, at+"/response", url.Values{"challenge": {challenge}}, http.StatusOK)
			}
			if c.form != "" {
				b.post(t, at+"/"+c.form, c.values, http.StatusSeeOther)
			}
			b.now = b.now.Add(c.later)
			page := b.get(t, at, http.StatusOK)
			has(t, page, append(c.want, cardPath(serial))...)
			lacks(t, content(page), "<form")
		})
	}
}

// refuser is a desk that refuses everything for one reason.
type refuser struct{ no *unblock.Refusal }

func (d refuser) Foresee(context.Context, unblock.Caller, unblock.Begin) *unblock.Refusal {
	return d.no
}

func (d refuser) Start(context.Context, unblock.Caller, unblock.Begin) (unblock.Opened, error) {
	return unblock.Opened{}, d.no
}

func (d refuser) Process(_ context.Context, _ unblock.Caller, id string) (unblock.Process, error) {
	return unblock.Process{ID: id, State: unblock.Started, Card: serial}, nil
}

func (d refuser) Answer(context.Context, unblock.Caller, string, unblock.Typed) (unblock.Answer, error) {
	return unblock.Answer{}, d.no
}

func (d refuser) Complete(context.Context, unblock.Caller, string, unblock.Outcome) (unblock.Process, error) {
	return unblock.Process{}, d.no
}

func (d refuser) ReadBack(context.Context, unblock.Caller, string, string) (unblock.ReadBack, error) {
	return unblock.ReadBack{}, d.no
}

func (d refuser) Look(context.Context, unblock.Caller, string) (unblock.Outlook, error) {
	return unblock.Outlook{Card: card.Card{Serial: serial, Type: "employee", State: "blocked"}}, nil
}

func (d refuser) Sees(context.Context, unblock.Caller) func(card.Card) (bool, error) { return nil }

func (d refuser) Pending(context.Context, unblock.Caller) ([]unblock.Pending, error) {
	return nil, d.no
}

func (d refuser) Approve(context.Context, unblock.Caller, string, string, string) (unblock.Pending, error) {
	return unblock.Pending{}, d.no
}

func (d refuser) Refuse(context.Context, unblock.Caller, string, string) (unblock.Pending, error) {
	return unblock.Pending{}, d.no
}

func (d refuser) Cancel(context.Context, unblock.Caller, string) (unblock.Process, error) {
	return unblock.Process{}, d.no
}

func TestRefusals(t *testing.T) {
	for _, code := range codes(t) {
		b := newBench(t, refuser{&unblock.Refusal{Code: code, Check: unblock.CardActive, Detail: "Detail <b>."}})
		want := []string{"Title of " + string(code), "Detail <b>.", "Remedy of " + string(code), "request-7", "Card active"}
		for path, form := range map[string]url.Values{
			cardPath(serial) + "/unblock":  begin(),
			processPath("1") + "/response": {"challenge": {challenge}},
			processPath("1") + "/complete": {"outcome": {"failed"}},
			processPath("1") + "/cancel":   {},
		} {
			page := b.post(t, path, form, http.StatusConflict)
			has(t, page, want...)
			if strings.Contains(page, "<b>") {
				t.Errorf("%s: the detail is not escaped", path)
			}
		}
		if len(b.reported) != 4 {
			t.Errorf("%s was reported %d times", code, len(b.reported))
		}
		has(t, b.get(t, cardPath(serial), http.StatusOK), append(want, "would be refused")...)
	}
}

// codes lists the codes that package unblock declares.
func codes(t *testing.T) []unblock.Code {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../unblock/refusal.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var codes []unblock.Code
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Code" {
			code, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			codes = append(codes, unblock.Code(code))
		}
		return true
	})
	if len(codes) < 20 {
		t.Fatalf("found only the codes %v", codes)
	}
	return codes
}

func TestHindrances(t *testing.T) {
	for name, c := range map[string]struct {
		upset  func(*bench)
		want   string
		closed bool
	}{
		"card":     {func(b *bench) { b.alter(func(c *card.Card) { c.State = "revoked" }) }, "The card is revoked", true},
		"holder":   {func(b *bench) { b.alter(func(c *card.Card) { c.Holder.State = "left" }) }, "holder is left", true},
		"off":      {func(b *bench) { b.registry.on = nil }, "switched off", true},
		"attempts": {func(b *bench) { b.registry.unconfirmed = 4 }, "One more could destroy it", true},
		"policy":   {func(b *bench) { b.alter(func(c *card.Card) { c.Holder.ID = "anna" }) }, "own card", false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			c.upset(b)
			page := b.get(t, cardPath(serial), http.StatusOK)
			has(t, page, "unblock would be refused", c.want)
			if strings.Contains(content(page), "<form") == c.closed {
				t.Error("the form to start is there, or is not, against what was expected")
			}
			if len(b.registry.entries) != 0 {
				t.Errorf("looking at a card wrote %v", b.registry.entries)
			}
		})
	}
}

func (b *bench) alter(change func(*card.Card)) {
	c := b.registry.cards[serial]
	change(&c)
	b.registry.cards[serial] = c
}

func TestSearch(t *testing.T) {
	b := newBench(t, nil)
	lacks(t, b.get(t, "/console/", http.StatusOK), holder, "No card matches")
	page := b.get(t, "/console/?q=<Nobody>", http.StatusOK)
	has(t, page, "No card matches “<Nobody>”", "Try the first digits", `value="<Nobody>"`)
	lacks(t, page, holder)
	has(t, b.get(t, "/console/?q=Berta", http.StatusOK), "/console/?after=cursor%261&q=Berta")
	has(t, b.get(t, "/console/?q="+strings.Repeat("x", 300), http.StatusOK), "longer than 256 bytes")
	if to := b.get(t, "/console/?q=Berta&after=typed", http.StatusSeeOther); to != "/console/?q=Berta" {
		t.Errorf("a cursor that is none leads to %s", to)
	}
	b.registry.fault = errors.New("disk I/O error")
	page = b.get(t, "/console/?q=Berta", http.StatusConflict)
	has(t, page, "store-unavailable")
	lacks(t, page, "disk")
	if len(b.reported) != 1 || !errors.Is(b.reported[0], b.registry.fault) {
		t.Errorf("reported: %v", b.reported)
	}
}

func TestStartForm(t *testing.T) {
	b := newBench(t, nil)
	for _, c := range []struct{ field, value, want string }{
		{"reason", " ", "The text is required."}, {"reason", strings.Repeat("x", 257), "longer than 256 bytes"}, {"reason", "a\nb", "control character"},
		{"ticket", "a\nb", "control character"},
		{"verification", "", "Say how you made sure"}, {"verification", "hearsay", "Say how you made sure"},
	} {
		form := begin()
		form.Set(c.field, c.value)
		form.Set("key", "this one")
		page := b.post(t, cardPath(serial)+"/unblock", form, http.StatusUnprocessableEntity)
		has(t, page, c.want, holder, `aria-invalid="true"`, `id="`+c.field+`-fault"`, `name="key" value="this one"`)
		for field, values := range begin() { // nothing has to be typed again
			if field != c.field && field != "verification" {
				has(t, page, `value="`+values[0]+`"`)
			}
		}
	}
	if len(b.registry.processes) != 0 {
		t.Error("a process was started without a reason")
	}
}

// TestForeignForms: a form on another site cannot make an operator's browser do
// anything here.
func TestForeignForms(t *testing.T) {
	b := newBench(t, nil)
	at := b.start(t)
	before := len(b.registry.entries)
	for name, header := range map[string][2]string{
		"fetch metadata": {"Sec-Fetch-Site", "cross-site"},
		"same site":      {"Sec-Fetch-Site", "same-site"},
		"origin":         {"Origin", "https://evil.example"},
		"null":           {"Origin", "null"},
	} {
		for path, form := range map[string]string{
			cardPath(serial) + "/unblock": "reason=x", at + "/response": "challenge=1603EBDF1C8A2E72",
			at + "/complete": "outcome=failed", at + "/cancel": "",
		} {
			r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set(header[0], header[1])
			page := b.do(t, r, http.StatusForbidden)
			has(t, page, "another site")
			if len(b.registry.entries) != before || b.hsm.calls != 0 {
				t.Fatalf("%s: %s was done", name, path)
			}
		}
	}
}

func TestWhoMayComeIn(t *testing.T) {
	b := newBench(t, nil)
	at := b.start(t)
	b.caller.Client = "desk-other"
	page := b.get(t, at, http.StatusConflict)
	has(t, page, "process-unknown")
	lacks(t, page, holder)

	b.caller = unblock.Caller{Client: "identity-manager", NamesOperators: true, RequestID: "request-7"}
	for _, path := range []string{"/console/", at, "/console/nowhere"} {
		page = b.get(t, path, http.StatusForbidden)
		has(t, page, "The console is for people", "identity-manager", "request-7")
	}
	b.post(t, at+"/cancel", nil, http.StatusForbidden)

	b.caller = unblock.Caller{}
	has(t, b.get(t, "/console/?q=Berta", http.StatusConflict), "Title of caller-unknown")
}

func TestBadRequests(t *testing.T) {
	b := newBench(t, nil)
	at := b.start(t)
	b.get(t, "/console/nowhere", http.StatusNotFound)
	has(t, b.get(t, "/console/cards/unknown%2Fcard", http.StatusNotFound), "No card has the serial number unknown/card")
	b.post(t, at+"/response", url.Values{"challenge": {strings.Repeat("1", maxForm)}}, http.StatusRequestEntityTooLarge)
	b.post(t, at+"/complete", url.Values{"outcome": {"won"}}, http.StatusUnprocessableEntity)
	if to := b.get(t, at+"/response", http.StatusSeeOther); to != at {
		t.Errorf("the form's address leads to %s", to)
	}
	if to := b.get(t, cardPath(serial)+"/unblock", http.StatusSeeOther); to != cardPath(serial) {
		t.Errorf("the form's address leads to %s", to)
	}
	if p := b.registry.processes["process-1"]; p.Revision != 1 {
		t.Errorf("the process was changed: %+v", p)
	}
}

// TestAssets: the style sheet and the logo have to be asked for again, and are
// not sent again.
func TestAssets(t *testing.T) {
	b := newBench(t, nil)
	for name, kind := range map[string]string{"console.css": "text/css; charset=utf-8", "logo.svg": "image/svg+xml"} {
		r := httptest.NewRequest(http.MethodGet, "/console/static/"+name, nil)
		w := httptest.NewRecorder()
		b.ServeHTTP(w, r)
		if got := w.Header().Get("Content-Type"); w.Code != http.StatusOK || got != kind || w.Header().Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: %d %s", name, w.Code, got)
		}
		r.Header.Set("If-None-Match", w.Header().Get("ETag"))
		w = httptest.NewRecorder()
		if b.ServeHTTP(w, r); w.Code != http.StatusNotModified {
			t.Errorf("%s again: %d", name, w.Code)
		}
	}
	w := httptest.NewRecorder()
	if b.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/console/static/", nil)); w.Code != http.StatusNotFound {
		t.Errorf("the folder: %d", w.Code)
	}
}

func TestConfigIsComplete(t *testing.T) {
	if _, err := New(Config{}); err == nil || !strings.Contains(err.Error(), "is not set") {
		t.Errorf("an empty configuration gives %v", err)
	}
}
