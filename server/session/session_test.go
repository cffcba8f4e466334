package session_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/identity"
	"latchkey/identity/oidc"
	"latchkey/server/session"
	openidtest "latchkey/softhsm-test/openid"
	"latchkey/store"
)

// scene is a console that has sessions and no pages, with a real provider and a
// real database.
type scene struct {
	t      *testing.T
	app    *httptest.Server
	roots  *x509.CertPool
	dex    *openidtest.Dex
	store  *store.Store
	people *people

	mu  sync.Mutex
	now time.Time
	err error // of the last sign-in or request
}

// people is who there is: anna and omar may use the console, as long as they are
// registered, active and operators.
type people struct {
	mu       sync.Mutex
	err      error // of whoever is asked for
	auditors bool  // is what everybody is
}

func (p *people) Bearer(_ context.Context, t identity.Token) (identity.Person, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	person := t.Person
	person.Roles = []identity.Role{identity.Operator}
	if p.auditors {
		person.Roles = []identity.Role{identity.Auditor}
	}
	return person, p.err
}

func (p *people) become(err error, auditors bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err, p.auditors = err, auditors
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t: t, people: &people{}, now: time.Now().Truncate(time.Second)} // the store keeps microseconds
	s.app = httptest.NewUnstartedServer(nil)
	s.app.StartTLS()
	t.Cleanup(s.app.Close)
	callback := s.app.URL + "/console/callback"
	s.dex = openidtest.NewDex(t, callback)
	s.roots = x509.NewCertPool()
	s.roots.AppendCertsFromPEM(s.dex.CA)
	s.roots.AddCert(s.app.Certificate())
	var err error
	if s.store, err = store.Open(t.Context(), filepath.Join(t.TempDir(), "latchkey.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.store.Close() })
	s.app.Config.Handler = s.handler(s.sessions(s.dex.Issuer, callback))
	return s
}

func (s *scene) sessions(issuer, callback string) *session.Sessions {
	s.t.Helper()
	provider, err := oidc.New(oidc.Config{
		Issuer: issuer, CA: s.dex.CA, Audience: openidtest.ClientID, Algorithms: oidc.DefaultAlgorithms(), ClockSkew: time.Minute,
		Claims: oidc.Claims{Operator: "name"}, Now: time.Now,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	sessions, err := session.New(session.Config{
		Flow:  provider.Code(oidc.SignIn{ClientSecret: openidtest.ClientSecret, Redirect: callback, Scopes: []string{"openid", "profile", "email"}}),
		Store: s.store, People: s.people, Idle: idle, Lifetime: lifetime, Home: "/console/", Origin: s.app.URL,
		Admit:   func(p identity.Person) bool { return p.Roles[0] == identity.Operator },
		Request: func(*http.Request) (id, address string) { return "request", "192.0.2.1" },
		Now: func() time.Time {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.now
		},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return sessions
}

// handler tells in the body who somebody is.
func (s *scene) handler(sessions *session.Sessions) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/console/", func(w http.ResponseWriter, r *http.Request) {
		person, err := sessions.Person(r)
		s.failed(err)
		_, _ = fmt.Fprintf(w, "%s %s", person.ID, sessions.FormToken(r))
	})
	mux.HandleFunc("/console/sign-in", func(w http.ResponseWriter, r *http.Request) {
		s.failed(sessions.Begin(w, r, r.URL.Query().Get("to")))
	})
	mux.HandleFunc("/console/callback", func(w http.ResponseWriter, r *http.Request) {
		to, err := sessions.Finish(w, r)
		s.failed(err)
		_, _ = io.WriteString(w, to)
	})
	mux.HandleFunc("/console/sign-out", func(w http.ResponseWriter, r *http.Request) {
		elsewhere, err := sessions.End(w, r, "anna")
		s.failed(err)
		_, _ = io.WriteString(w, elsewhere)
	})
	return mux
}

func (s *scene) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *scene) later(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// browser keeps cookies, and stops where the provider sends it back to us.
func (s *scene) browser() *http.Client {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.roots, MinVersion: tls.VersionTLS12}}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if r.URL.Path == "/console/callback" {
			return http.ErrUseLastResponse
		}
		return nil
	}}
}

// get is the body at a path or an address, and the error that the handler had.
func (s *scene) get(b *http.Client, where string) (*http.Response, string, error) {
	s.t.Helper()
	if strings.HasPrefix(where, "/") {
		where = s.app.URL + where
	}
	answer, err := b.Get(where)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return answer, string(body), s.err
}

// callback has somebody sign in at the provider, and gives the address that it
// sends the browser back to.
func (s *scene) callback(b *http.Client, name, to string) *url.URL {
	s.t.Helper()
	page, _, err := s.get(b, "/console/sign-in?to="+url.QueryEscape(to))
	if err != nil {
		s.t.Fatal(err)
	}
	answer := openidtest.SignIn(s.t, b, page, name)
	_ = answer.Body.Close()
	back, err := answer.Location()
	if err != nil || back.Path != "/console/callback" {
		s.t.Fatalf("Dex answers %s at %s, and leads to %v (%v)", answer.Status, answer.Request.URL, back, err)
	}
	return back
}

// signIn signs somebody in, and gives where that leads to.
func (s *scene) signIn(b *http.Client, name, to string) string {
	s.t.Helper()
	_, body, err := s.get(b, s.callback(b, name, to).String())
	if err != nil {
		s.t.Fatal(err)
	}
	return body
}

// is checks who somebody is to the console: "" for nobody, for a reason.
func (s *scene) is(b *http.Client, want string, why error) {
	s.t.Helper()
	_, body, err := s.get(b, "/console/")
	if name, _, _ := strings.Cut(body, " "); name != want || !errors.Is(err, why) {
		s.t.Errorf("the browser is of %q (%v), want %q (%v)", name, err, want, why)
	}
}

func (s *scene) cookies(b *http.Client) map[string]string {
	s.t.Helper()
	at, err := url.Parse(s.app.URL)
	if err != nil {
		s.t.Fatal(err)
	}
	held := map[string]string{}
	for _, c := range b.Jar.Cookies(at) {
		held[c.Name] = c.Value
	}
	return held
}

func (s *scene) setCookie(b *http.Client, name, value string) {
	s.t.Helper()
	at, err := url.Parse(s.app.URL)
	if err != nil {
		s.t.Fatal(err)
	}
	b.Jar.SetCookies(at, []*http.Cookie{{Name: name, Value: value, Path: "/", Secure: true}})
}

// log lists the audit entries, shortly.
func (s *scene) log() []string {
	s.t.Helper()
	entries, err := s.store.Entries(s.t.Context(), 1, 1000)
	if err != nil {
		s.t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		if e.Address != "192.0.2.1" || e.RequestID != "request" || e.Time.IsZero() {
			s.t.Errorf("entry %+v does not say where it came from", e)
		}
		list = append(list, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", e.Action, e.Outcome, e.Operator, e.Detail)))
	}
	return list
}

// last checks how the last audit entry begins.
func (s *scene) last(want string) {
	s.t.Helper()
	if list := s.log(); len(list) == 0 || !strings.HasPrefix(list[len(list)-1], want) {
		s.t.Errorf("the log is %q, want it to end with %q", list, want)
	}
}

const (
	idle     = 15 * time.Minute
	lifetime = 8 * time.Hour

	sessionCookie = "__Host-latchkey"
	signInCookie  = "__Host-latchkey-sign-in"
)

func TestStay(t *testing.T) {
	s := newScene(t)
	b := s.browser()
	s.is(b, "", session.ErrNone)

	// Whoever gave the browser a session beforehand has nothing of the one to come.
	planted := strings.Repeat("A", 43)
	s.setCookie(b, sessionCookie, planted)
	s.is(b, "", session.ErrOver)

	back := s.callback(b, "anna", "/console/cards/SN%201")
	if query := back.Query(); query.Get("state") == "" || len(query.Get("state")) != 43 {
		t.Errorf("the state is %q", query.Get("state"))
	}
	answer, to, err := s.get(b, back.String())
	if err != nil || to != "/console/cards/SN%201" {
		t.Fatalf("signed in, and led to %q: %v", to, err)
	}
	s.is(b, "anna", nil)
	s.last("session.begin permit anna")
	held := s.cookies(b)
	if held[sessionCookie] == planted || len(held[sessionCookie]) != 43 || held[signInCookie] != "" {
		t.Errorf("after the sign-in the cookies are %q", held)
	}
	for _, line := range answer.Header.Values("Set-Cookie") {
		for _, flag := range []string{"__Host-", "; Path=/;", "; HttpOnly", "; Secure", "; SameSite=Lax"} {
			if !strings.Contains(line, flag) {
				t.Errorf("cookie %q lacks %q", line, flag)
			}
		}
		if strings.Contains(line, "Domain") || strings.HasPrefix(line, sessionCookie+"=") && strings.Contains(line, "Max-Age") {
			t.Errorf("cookie %q outlives the browser, or goes to other hosts", line)
		}
	}

	// Signing in once more makes another session, and ends this one.
	before := held[sessionCookie]
	if to := s.signIn(b, "anna", ""); to != "/console/" {
		t.Errorf("led to %q", to)
	}
	old := s.browser()
	s.setCookie(old, sessionCookie, before)
	s.is(old, "", session.ErrOver)
	s.is(b, "anna", nil)

	thief := s.browser()
	s.setCookie(thief, sessionCookie, s.cookies(b)[sessionCookie])
	if _, elsewhere, err := s.get(b, "/console/sign-out"); err != nil || elsewhere != "" { // Dex has no place for it
		t.Errorf("signed out to %q: %v", elsewhere, err)
	}
	s.last("session.end permit anna signed out")
	if held := s.cookies(b); held[sessionCookie] != "" {
		t.Errorf("after signing out the cookies are %q", held)
	}
	s.is(thief, "", session.ErrOver)
	text, err := json.Marshal(s.log())
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{before, back.Query().Get("code"), back.Query().Get("state")} {
		if strings.Contains(string(text), secret) {
			t.Errorf("the audit log has the secret %s", secret)
		}
	}
}

// A session ends when it is not used, when it is used for too long, and when its
// operator may do nothing any more.
func TestEnds(t *testing.T) {
	s := newScene(t)
	b := s.browser()
	s.signIn(b, "anna", "")
	s.later(idle)
	s.is(b, "anna", nil)
	s.later(idle)
	s.is(b, "anna", nil)
	s.later(idle + time.Second)
	s.is(b, "", session.ErrOver)
	s.last("session.end permit anna it was idle")
	s.later(-idle) // the session is gone, whatever the clock says
	s.is(b, "", session.ErrOver)

	s.signIn(b, "anna", "")
	s.later(-idle)
	s.is(b, "anna", nil)
	s.later(-time.Second)
	s.is(b, "", session.ErrOver)
	s.last("session.end permit anna it was used at a time that is yet to come: a clock was wrong then or is now")

	s.signIn(b, "anna", "")
	for range 31 {
		s.later(idle)
		s.is(b, "anna", nil)
	}
	s.later(idle)
	s.is(b, "", session.ErrOver)
	s.last("session.end permit anna it lasted as long as it may")

	s.signIn(b, "anna", "")
	s.people.become(identity.ErrInactive, false)
	s.is(b, "", session.ErrOver)
	s.last("session.end permit anna the operator was made inactive")
	s.people.become(nil, false)
	s.is(b, "", session.ErrOver)
}

// What comes back is not always what was asked for, or not from where.
func TestStrange(t *testing.T) {
	s := newScene(t)
	with := func(back *url.URL, name, value string) string {
		changed, q := *back, back.Query()
		q.Set(name, value)
		changed.RawQuery = q.Encode()
		return changed.String()
	}
	for name, test := range map[string]struct {
		who  string
		call func(b *http.Client, back *url.URL) string // the address that is gone to
		want error
		log  string
	}{
		"another state": {"anna", func(_ *http.Client, back *url.URL) string { return with(back, "state", strings.Repeat("A", 43)) }, session.ErrStrange, "session.refused deny"},
		"no state":      {"anna", func(_ *http.Client, back *url.URL) string { return with(back, "state", "") }, session.ErrStrange, "session.refused deny"},
		"two states": {"anna", func(_ *http.Client, back *url.URL) string {
			return back.String() + "&state=" + back.Query().Get("state")
		}, session.ErrStrange, "session.refused deny"},
		"another provider": {"anna", func(_ *http.Client, back *url.URL) string { return with(back, "iss", "https://mallory.example") }, session.ErrStrange, "session.refused deny"},
		"no code":          {"anna", func(_ *http.Client, back *url.URL) string { return with(back, "code", "") }, nil, "session.refused deny"},
		"declined":         {"anna", func(_ *http.Client, back *url.URL) string { return with(back, "error", "access_denied") }, session.ErrDeclined, "session.refused deny"},
		"too late":         {"anna", func(_ *http.Client, back *url.URL) string { s.later(11 * time.Minute); return back.String() }, session.ErrStrange, "session.refused deny"},
		"another browser's answer": {"anna", func(b *http.Client, _ *url.URL) string {
			return s.callback(s.browser(), "omar", "").String()
		}, session.ErrStrange, "session.refused deny"},
		// Whoever knows a code that was meant for another browser cannot use it: its
		// verifier is another.
		"another browser's code": {"anna", func(_ *http.Client, back *url.URL) string {
			return with(back, "code", s.callback(s.browser(), "omar", "").Query().Get("code"))
		}, nil, "session.refused deny"},
		"a cookie of another sign-in": {"anna", func(b *http.Client, back *url.URL) string {
			s.callback(b, "anna", "")
			return back.String()
		}, session.ErrStrange, "session.refused deny"},
		"a later time in the cookie": {"anna", func(b *http.Client, back *url.URL) string {
			value := s.cookies(b)[signInCookie]
			s.setCookie(b, signInCookie, value[:50]+"AAAA"+strings.TrimLeft(value[50:], "")[4:])
			return back.String()
		}, session.ErrStrange, "session.refused deny"},
		"nobody's cookie": {"anna", func(b *http.Client, back *url.URL) string {
			s.setCookie(b, signInCookie, "x")
			return back.String()
		}, session.ErrStrange, "session.refused deny"},
		"a replay": {"anna", func(b *http.Client, back *url.URL) string {
			_, _, _ = s.get(b, back.String())
			return back.String()
		}, session.ErrStrange, "session.refused deny"},
		"a replay with its cookie": {"anna", func(b *http.Client, back *url.URL) string {
			value := s.cookies(b)[signInCookie]
			_, _, _ = s.get(b, back.String())
			s.setCookie(b, signInCookie, value)
			return back.String()
		}, nil, "session.refused deny"},
		"without a role": {"anna", func(_ *http.Client, back *url.URL) string {
			s.people.become(nil, true)
			return back.String()
		}, session.ErrNotAdmitted, "session.refused deny anna"},
		"not registered": {"anna", func(_ *http.Client, back *url.URL) string {
			s.people.become(card.ErrNotFound, false)
			return back.String()
		}, card.ErrNotFound, "session.refused deny anna"},
		"inactive": {"anna", func(_ *http.Client, back *url.URL) string {
			s.people.become(identity.ErrInactive, false)
			return back.String()
		}, identity.ErrInactive, "session.refused deny anna"},
	} {
		t.Run(name, func(t *testing.T) {
			defer s.people.become(nil, false)
			b := s.browser()
			where := test.call(b, s.callback(b, test.who, ""))
			signedIn := s.cookies(b)[sessionCookie]
			_, to, err := s.get(b, where)
			good := errors.Is(err, test.want)
			if test.want == nil { // a token that is not believed
				good = errors.As(err, new(*identity.TokenError))
			}
			if !good || to != "" {
				t.Errorf("led to %q: %v, want %v", to, err, test.want)
			}
			s.last(test.log)
			if held := s.cookies(b); held[sessionCookie] != signedIn || held[signInCookie] != "" {
				t.Errorf("afterwards the browser has %q", held)
			}
		})
	}
}

func TestSignInLeadsNowhereElse(t *testing.T) {
	s := newScene(t)
	for _, to := range []string{
		"https://mallory.example/", "//mallory.example/console/", "/console/../v1/cards", "/consoles", `/console/\mallory.example`,
		"/console//mallory.example", "/console/?q=x", "/v1/cards", "/console/\n", "/console/" + strings.Repeat("x", 600),
	} {
		if got := s.signIn(s.browser(), "anna", to); got != "/console/" {
			t.Errorf("%q led to %q", to, got)
		}
	}
}

// Forms of a session hold what only its pages know.
func TestFormToken(t *testing.T) {
	s := newScene(t)
	anna, bert := s.browser(), s.browser()
	s.signIn(anna, "anna", "")
	s.signIn(bert, "omar", "")
	seen := map[string]bool{}
	for _, b := range []*http.Client{anna, bert, anna} {
		_, body, err := s.get(b, "/console/")
		_, token, _ := strings.Cut(body, " ")
		if err != nil || len(token) != 43 || token == s.cookies(b)[sessionCookie] {
			t.Errorf("the form token is %q: %v", token, err)
		}
		seen[token] = true
	}
	if len(seen) != 2 {
		t.Errorf("two sessions have %d form tokens", len(seen))
	}
}

func TestProviderAway(t *testing.T) {
	s := newScene(t)
	gone := httptest.NewTLSServer(http.NotFoundHandler())
	issuer := gone.URL
	gone.Close()
	s.app.Config.Handler = s.handler(s.sessions(issuer, s.app.URL+"/console/callback"))
	b := s.browser()
	if _, _, err := s.get(b, "/console/sign-in"); !errors.Is(err, identity.ErrProviderAway) {
		t.Errorf("error %v", err)
	}
	if held := s.cookies(b); len(held) != 0 {
		t.Errorf("the browser has %q", held)
	}
}

// What strangers can have written is bounded.
func TestFlood(t *testing.T) {
	s := newScene(t)
	b := s.browser()
	for range 100 {
		_, _, _ = s.get(b, "/console/callback?state=x&code=y")
	}
	if n := len(s.log()); n == 0 || n > 60 {
		t.Errorf("a hundred strangers make %d entries", n)
	}
	for _, e := range s.log() {
		if !strings.HasPrefix(e, string(audit.SessionRefuse)) {
			t.Errorf("entry %q", e)
		}
	}
}
