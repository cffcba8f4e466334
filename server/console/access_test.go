package console

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"latchkey/identity"
	"latchkey/policy"
)

// Every page says whom it is for: each role gets into its own pages, and reads on all
// others whose they are; nothing is done for somebody who may not.
func TestRoles(t *testing.T) {
	b := newBench(t, nil)
	c := console{Config: Config{Desk: b.desk}}
	for _, role := range everybody() {
		b.as("rosa", role, func() {
			for _, r := range c.routes() {
				method, path, _ := strings.Cut(r.pattern, " ")
				if path == "" {
					method, path = http.MethodGet, r.pattern+"nowhere"
				}
				path = strings.NewReplacer("{$}", "", "{serial}", url.PathEscape(serial), "{id}", "none", "{version}", "1", "{name}", "none").Replace(path)
				w := httptest.NewRecorder()
				before := len(b.registry.entries)
				request := httptest.NewRequest(method, path, nil)
				request.Header.Set("Sec-Fetch-Site", "same-origin")
				b.ServeHTTP(w, request)
				mine := slices.Contains(r.roles, role)
				if !slices.Contains(r.roles, role) && len(b.registry.entries) != before {
					t.Errorf("%s at %s left something in the log", role, r.pattern)
				}
				if out := strings.Contains(w.Body.String(), "This page is not for your role"); out == mine || out && w.Code != http.StatusForbidden {
					t.Errorf("%s at %s: %d, though its roles are %v", role, r.pattern, w.Code, r.roles)
				}
			}
			for _, p := range c.places() {
				if !slices.Contains(p.roles, role) {
					continue
				}
				if w := httptest.NewRecorder(); true {
					b.ServeHTTP(w, httptest.NewRequest(http.MethodGet, p.path, nil))
					if w.Code == http.StatusForbidden {
						t.Errorf("the head leads %s to %s, which is not for them", role, p.path)
					}
				}
			}
		})
	}
}

// Somebody with two roles has the places of both.
func TestPlaces(t *testing.T) {
	b := newBench(t, nil)
	b.caller.Operator = &policy.Operator{ID: "a", Roles: []identity.Role{identity.Operator, identity.Supervisor}}
	has(t, b.get(t, "/console/", http.StatusOK), `<a href="/console/" aria-current="page">Find a card</a>`, `<a href="/console/approvals">Approvals</a>`)
	b.caller.Operator.Roles = []identity.Role{identity.Operator}
	lacks(t, b.get(t, "/console/", http.StatusOK), "Approvals")
}

// prefer sends the form of the menu and gives the cookies that came back.
func (b *bench) prefer(t *testing.T, form url.Values) (to string, cookies []*http.Cookie) {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, preferencesPath, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	b.ServeHTTP(w, r)
	if w.Code != http.StatusSeeOther {
		t.Fatalf("%d\n%s", w.Code, w.Body)
	}
	return w.Header().Get("Location"), w.Result().Cookies()
}

// A language and a zone are remembered by the browser alone, also before anybody
// signed in, and nobody is led elsewhere by choosing.
func TestPreferences(t *testing.T) {
	b := newBench(t, nil)
	at := b.start(t)
	b.caller.Client = ""
	to, cookies := b.prefer(t, url.Values{"language": {"sv"}, "zone": {"Asia/Tokyo"}, "to": {at + "?x=1"}})
	if to != at+"?x=1" || len(cookies) != 2 {
		t.Fatalf("led to %s with %v", to, cookies)
	}
	for _, c := range cookies {
		if !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != Path || c.Domain != "" {
			t.Errorf("a cookie is %v", c)
		}
	}
	b.caller.Client = "desk-anna"
	r := httptest.NewRequest(http.MethodGet, at, nil)
	r.Header.Set("Accept-Language", "de")
	for _, c := range cookies {
		r.AddCookie(c)
	}
	has(t, b.do(t, r, http.StatusOK), `<html lang="sv">`, "Sök kort", b.now.UTC().Add(9*60*60*1e9).Format("15:04")+" JST", b.now.UTC().Format(`datetime="2006-01-02T15:04:05Z"`))
	r = httptest.NewRequest(http.MethodGet, at, nil)
	r.Header.Set("Accept-Language", "de-AT")
	r.AddCookie(&http.Cookie{Name: zoneCookie, Value: url.QueryEscape("../etc/passwd")})
	r.AddCookie(&http.Cookie{Name: languageCookie, Value: "%zz"})
	has(t, b.do(t, r, http.StatusOK), `<html lang="de">`, "Karte suchen", " UTC<")

	for _, elsewhere := range []string{"https://evil.example/console/", "//evil.example/console/", "/v1/cards", "", "javascript:alert(1)", "\\\\evil.example", "/console/%zz"} {
		if to, _ := b.prefer(t, url.Values{"zone": {""}, "to": {elsewhere}}); to != Path {
			t.Errorf("%q leads to %s", elsewhere, to)
		}
	}
	if _, cookies = b.prefer(t, url.Values{"zone": {""}}); len(cookies) != 1 || cookies[0].MaxAge >= 0 {
		t.Errorf("the configured zone is chosen by %v", cookies)
	}
}
