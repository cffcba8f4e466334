package server

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/audit"
	"latchkey/custody"
	"latchkey/identity"
	"latchkey/identity/oidc"
	"latchkey/server/api"
	openidtest "latchkey/softhsm-test/openid"
)

// tokens makes the world take the tokens of a forge, and gives what makes them:
// of a person with the role, or with other claims.
func (w *world) tokens(f *openidtest.Forge) func(changes map[string]any) string {
	w.t.Helper()
	key := openidtest.EC(w.t, "k1")
	f.Show(key.Public())
	provider, err := oidc.New(oidc.Config{
		Issuer: f.Issuer, CA: f.CA, Audience: "latchkey", ClockSkew: 30 * time.Second, Algorithms: oidc.DefaultAlgorithms(), Now: w.clock.Now,
		Claims: oidc.Claims{
			Operator: "preferred_username", Name: "name", Roles: "roles", AMR: []string{"otp"},
			RoleOf: map[string]identity.Role{
				"desk": identity.Operator, "leads": identity.Supervisor, "admins": identity.Administrator, "officers": identity.SecurityOfficer, "auditors": identity.Auditor,
				"backends": identity.Backend, // which a configuration may not say
			},
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.restart(func(c *Config) {
		c.Tokens = provider
		c.Clients = append(c.Clients,
			identity.Client{Name: "service", TokenSubject: "service-1", Roles: []identity.Role{identity.Backend}, NamesOperators: true},
			identity.Client{Name: "silent", TokenSubject: "service-2", Roles: []identity.Role{identity.Backend}})
	})
	return func(changes map[string]any) string {
		claims := map[string]any{
			"iss": f.Issuer, "sub": "s-anna", "aud": "latchkey", "exp": w.clock.Now().Add(time.Minute).Unix(),
			"preferred_username": "berta", "name": "Berta", "roles": []string{"desk"},
		}
		maps.Copy(claims, changes)
		return key.Sign(w.t, claims)
	}
}

const respondPath = "/v1/cards/GOOD/response"

// Who is established by what, and what the audit log says of it.
func TestTokens(t *testing.T) {
	w := newWorld(t)
	w.stock()
	token := w.tokens(openidtest.NewForge(t))
	berta, service, silent := token(nil), token(map[string]any{"sub": "service-1"}), token(map[string]any{"sub": "service-2"})
	for name, test := range map[string]struct {
		client   string // whose certificate
		headers  []string
		operator string // that the body names
		entry    [3]string
	}{
		"own token":                    {"", []string{"Authorization", "Bearer " + berta}, "", [3]string{"person:berta", "berta", "own token"}},
		"own token, names self":        {"", []string{"Authorization", "bearer " + berta}, "berta", [3]string{"person:berta", "berta", "own token"}},
		"passed beside a certificate":  {"backend", []string{operatorHeader, berta}, "", [3]string{"backend", "berta", "own token, passed by the client"}},
		"passed by one who names none": {"mute", []string{operatorHeader, berta}, "", [3]string{"mute", "berta", "own token, passed by the client"}},
		"passed beside a token":        {"", []string{"Authorization", "Bearer " + silent, operatorHeader, berta}, "berta", [3]string{"silent", "berta", "own token, passed by the client"}},
		"named by a service":           {"", []string{"Authorization", "Bearer " + service}, "anna", [3]string{"service", "anna", "named by the client"}},
	} {
		t.Run(name, func(t *testing.T) {
			headers := slices.Concat(test.headers, []string{requestIDHeader, "this-one"})
			serial := strings.ReplaceAll(name, " ", "-")
			w.must(http.StatusCreated, nil, "backend", "PUT", "/v1/cards/"+serial, aCard("gids"))
			a := w.call(test.client, "POST", "/v1/cards/"+serial+"/response", api.Respond{Challenge: "1603EBDF1C8A2E72", Operator: test.operator, Reason: "INC"}, headers...)
			if a.status != http.StatusOK {
				t.Fatalf("%d %s", a.status, a.body)
			}
			entries := w.entries()
			e := entries[len(entries)-1]
			if got := [3]string{e.Client, e.Operator, e.Delegation}; got != test.entry || e.RequestID != "this-one" {
				t.Errorf("the audit log says %q, want %q", got, test.entry)
			}
		})
	}
}

// What does not make somebody of a caller, and changes nothing.
func TestTokensRefused(t *testing.T) {
	w := newWorld(t)
	w.stock()
	f := openidtest.NewForge(t)
	token := w.tokens(f)
	berta, service := token(nil), token(map[string]any{"sub": "service-2"})
	with := func(changes map[string]any) []string { return []string{"Authorization", "Bearer " + token(changes)} }
	w.register("idle", api.Operator{Name: "Idle", Roles: []string{"operator"}, State: stateInactive})
	w.register("carla", api.Operator{Name: "Carla", Roles: []string{"operator"}, State: stateActive, Token: &api.OperatorToken{Issuer: f.Issuer, Subject: "s-carla"}})
	w.register("dora", api.Operator{Name: "Dora", Roles: []string{"auditor"}, State: stateActive})
	body := api.Respond{Challenge: "1603EBDF1C8A2E72", Reason: "INC"}
	for name, test := range map[string]struct {
		client  string
		headers []string
		status  int
		code    string
	}{
		"certificate and token":          {"anna", with(nil), 401, codeTwoIdentities},
		"certificate and its own token":  {"backend", []string{"Authorization", "Bearer " + service}, 401, codeTwoIdentities},
		"person passes a token":          {"", append(with(nil), operatorHeader, berta), 401, codeTwoIdentities},
		"operator passes a token":        {"anna", []string{operatorHeader, berta}, 401, codeTwoIdentities},
		"administrator passes a token":   {"admin", []string{operatorHeader, berta}, 403, "delegation-refused"},
		"nobody passes a token":          {"", []string{operatorHeader, berta}, 401, codeNoCertificate},
		"stranger passes a token":        {"stranger", []string{operatorHeader, berta}, 403, codeClientUnknown},
		"passed token of a client":       {"mute", []string{operatorHeader, service}, 401, codeToken},
		"passed token expired":           {"backend", []string{operatorHeader, token(map[string]any{"exp": 1})}, 401, codeToken},
		"passed token empty":             {"backend", []string{operatorHeader, ""}, 401, codeIdentity},
		"passed with a scheme":           {"backend", []string{operatorHeader, "Bearer " + berta}, 401, codeIdentity},
		"two in one header":              {"", []string{"Authorization", "Bearer " + berta + ", Bearer " + berta}, 401, codeIdentity},
		"no scheme":                      {"", []string{"Authorization", berta}, 401, codeIdentity},
		"another scheme":                 {"", []string{"Authorization", "Basic YW5uYTphbm5h"}, 401, codeIdentity},
		"empty":                          {"", []string{"Authorization", ""}, 401, codeIdentity},
		"no token":                       {"", []string{"Authorization", "Bearer "}, 401, codeIdentity},
		"expired":                        {"", with(map[string]any{"exp": 1}), 401, codeToken},
		"for another":                    {"", with(map[string]any{"aud": "other"}), 401, codeToken},
		"of nobody":                      {"", with(map[string]any{"preferred_username": ""}), 401, codeToken},
		"claims another's ID":            {"", with(map[string]any{"preferred_username": "carla"}), 401, codeToken},
		"inactive":                       {"", with(map[string]any{"preferred_username": "idle"}), 403, "operator-inactive"},
		"inactive and passed":            {"backend", []string{operatorHeader, token(map[string]any{"preferred_username": "idle"})}, 403, "operator-inactive"},
		"no role":                        {"", with(map[string]any{"roles": []string{"unheard-of"}}), 403, codeRole},
		"claims more than is registered": {"", with(map[string]any{"preferred_username": "dora"}), 403, codeRole},
		"claims to be a backend":         {"", with(map[string]any{"roles": "backends"}), 403, codeRole},
		"cookie":                         {"", []string{"Cookie", "session=" + berta}, 401, codeNoCertificate},
		"another header":                 {"", []string{"X-Auth-Token", berta, "Proxy-Authorization", "Bearer " + berta}, 401, codeNoCertificate},
	} {
		t.Run(name, func(t *testing.T) {
			before := w.state()
			a := w.call(test.client, "POST", respondPath, body, test.headers...)
			if p := a.problem(t); a.status != test.status || p.Code != test.code {
				t.Errorf("%d %s (%s), want %d %s", a.status, p.Code, p.Detail, test.status, test.code)
			}
			if strings.Contains(string(a.body), berta) {
				t.Error("the answer holds the token")
			}
			if after := w.state(); after != before {
				t.Errorf("state before:\n%s\nand after:\n%s", before, after)
			}
		})
	}
	for _, name := range []string{"Authorization", operatorHeader} {
		t.Run(name+" twice", func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), "GET", w.url+"/v1/card-types", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header[name] = []string{"Bearer " + berta, "Bearer " + berta}
			response, err := w.as("").Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = response.Body.Close() }()
			var p api.Problem
			if err := json.NewDecoder(response.Body).Decode(&p); err != nil || p.Code != codeIdentity {
				t.Errorf("%v %s", err, p.Code)
			}
		})
	}
}

// Without a provider, or with one that is away, nobody comes in by a token, and
// those with certificates do as ever.
func TestNoProvider(t *testing.T) {
	w := newWorld(t)
	bearer := []string{"Authorization", "Bearer a.b.c"}
	if p := w.call("", "GET", "/v1/card-types", nil, bearer...).problem(t); p.Code != codeToken {
		t.Errorf("without a provider: %s", p.Code)
	}
	f := openidtest.NewForge(t)
	f.Away(true)
	token := w.tokens(f)(nil)
	a := w.call("", "GET", "/v1/card-types", nil, "Authorization", "Bearer "+token)
	if p := a.problem(t); p.Code != codeProviderAway || a.status != http.StatusServiceUnavailable {
		t.Errorf("with the provider away: %d %s", a.status, p.Code)
	}
	w.must(http.StatusOK, nil, "anna", "GET", "/v1/card-types", nil)
}

// Each person who calls with tokens has a share of calls, however many tokens.
func TestRateOfTokens(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Rate = Rate{PerSecond: 0.25, Burst: 3} })
	token := w.tokens(openidtest.NewForge(t))
	call := func(id string, n int) int {
		return w.call("", "GET", "/v1/card-types", nil, "Authorization", "Bearer "+token(map[string]any{"preferred_username": id, "n": n})).status
	}
	for i := range 3 {
		if status := call("berta", i); status != http.StatusOK {
			t.Fatalf("call %d: %d", i, status)
		}
	}
	if status := call("berta", 4); status != http.StatusTooManyRequests {
		t.Errorf("the fourth call: %d", status)
	}
	if status := call("carla", 1); status != http.StatusOK {
		t.Errorf("somebody else's call: %d", status)
	}
}

func TestVisitors(t *testing.T) {
	now := time.Unix(0, 0)
	v := newVisitors(Rate{PerSecond: 1, Burst: 2}, func() time.Time { return now })
	busy := v.share("busy")
	busy.calls.AllowN(now, 2)
	for i := range maxVisitors - 1 {
		v.share("idle-" + time.Duration(i).String())
	}
	if v.share("one more"); len(v.shares) != 2 || v.share("busy") != busy {
		t.Errorf("%d are remembered; want whoever called lately, and the new one", len(v.shares))
	}
}

// An officer who comes by two ways is one officer.
func TestOneOfficer(t *testing.T) {
	w := newWorld(t)
	token := w.tokens(openidtest.NewForge(t))
	w.restart(func(c *Config) {
		i := slices.IndexFunc(c.Clients, func(k identity.Client) bool { return k.Name == "olga" })
		c.Clients[i].Operator = "petra"
	})
	w.register("petra", api.Operator{Name: "Petra", Roles: []string{"security-officer"}, State: stateActive})
	var open api.KeyProposal
	w.must(http.StatusCreated, &open, "olga", "POST", "/v1/key-proposals", about(custody.Generate, 2))
	own := []string{"Authorization", "Bearer " + token(map[string]any{"preferred_username": "petra"})}
	a := w.call("", "POST", "/v1/key-proposals/"+open.ID+"/approve", api.ApproveProposal{Hash: open.Hash}, own...)
	if p := a.problem(t); p.Code != "proposal-own" {
		t.Errorf("%d %s: who proposed by certificate approves by token", a.status, p.Code)
	}
}

// register puts a record as if an administrator had.
func (w *world) register(id string, o api.Operator) {
	w.t.Helper()
	r, faults := recordOf(id, o)
	if len(faults) != 0 {
		w.t.Fatal(faults)
	}
	if _, err := w.store.PutOperator(w.t.Context(), r, audit.Entry{Action: audit.OperatorPut, Outcome: audit.Permit}); err != nil {
		w.t.Fatal(err)
	}
}

// The register of operators, as administrators work with it.
func TestOperators(t *testing.T) {
	w := newWorld(t)
	token := w.tokens(openidtest.NewForge(t))
	bearer := []string{"Authorization", "Bearer " + token(map[string]any{"roles": "admins"})}
	put := func(id string, o api.Operator) answer {
		t.Helper()
		return w.call("", "PUT", "/v1/operators/"+id, o, bearer...)
	}
	officer := api.Operator{Name: "Olga", Roles: []string{"security-officer"}, State: stateActive}
	clerk := api.Operator{Name: "Carla", Roles: []string{"operator"}, Groups: []string{"help-desk"}, State: stateActive, Token: &api.OperatorToken{Issuer: "https://id.example", Subject: "s-carla"}}
	for _, test := range []struct {
		name   string
		answer answer
		status int
		code   string
	}{
		{"somebody new", put("carla", clerk), http.StatusCreated, ""},
		{"the same again", put("carla", clerk), http.StatusOK, ""},
		{"an officer, by a person", put("olga", officer), http.StatusCreated, ""},
		{"the token of another", put("mallory", clerk), http.StatusConflict, codeTokenTaken},
		{"one's own", put("berta", clerk), http.StatusForbidden, codeOwnRecord},
		{"somebody new, by nobody", w.call("admin", "PUT", "/v1/operators/emil", api.Operator{Name: "Emil", Roles: []string{"operator"}, State: stateActive}), http.StatusCreated, ""},
		{"an officer, by nobody", w.call("admin", "PUT", "/v1/operators/emil", officer), http.StatusForbidden, codeGrant},
		{"an officer shut out, by nobody", w.call("admin", "PUT", "/v1/operators/olga", api.Operator{Name: "Olga", Roles: []string{"security-officer"}, State: stateInactive}), http.StatusOK, ""},
		{"faults", put("x", api.Operator{ID: "y", Roles: []string{"backend", "chief", "auditor", "auditor"}, State: "asleep", Token: &api.OperatorToken{}}), http.StatusUnprocessableEntity, codeInvalid},
		{"nobody", w.call("admin", "GET", "/v1/operators/nobody", nil), http.StatusNotFound, codeRecordUnknown},
		{"by an operator", w.call("anna", "PUT", "/v1/operators/carla", clerk), http.StatusForbidden, codeRole},
		{"by an officer", w.call("olga", "GET", "/v1/operators", nil), http.StatusForbidden, codeRole},
		{"a cursor with a control", w.call("admin", "GET", "/v1/operators?after=%00", nil), http.StatusUnprocessableEntity, codeInvalid},
	} {
		code := ""
		if test.answer.status >= 400 {
			code = test.answer.problem(t).Code
		}
		if test.answer.status != test.status || code != test.code {
			t.Errorf("%s: %d %s, want %d %s\n%s", test.name, test.answer.status, code, test.status, test.code, test.answer.body)
		}
	}
	var page api.Operators
	w.must(http.StatusOK, &page, "admin", "GET", "/v1/operators?limit=2", nil)
	if len(page.Operators) != 2 || page.Operators[0].ID != "carla" || page.Operators[0].UpdatedBy != "berta" || page.Next != "emil" {
		t.Errorf("page %+v", page)
	}
	var said []string
	for _, e := range w.entries() {
		if e.Action == audit.OperatorPut {
			said = append(said, e.Client+" "+e.Operator+" "+e.Delegation+" "+e.Subject+": "+e.Detail)
		}
	}
	want := []string{
		"person:berta berta own token carla: active, operator, in help-desk, token s-carla of https://id.example",
		"person:berta berta own token olga: active, security-officer",
		"admin   emil: active, operator",
		"admin   olga: inactive, security-officer",
	}
	if !slices.Equal(said, want) {
		t.Errorf("the audit log says\n%s\nwant\n%s", strings.Join(said, "\n"), strings.Join(want, "\n"))
	}
}

// A certificate gives nobody more than the record does, and a person who is
// inactive nothing.
func TestRecordOutweighsCertificate(t *testing.T) {
	w := newWorld(t)
	w.stock()
	for _, test := range []struct {
		record api.Operator
		code   string
	}{
		{api.Operator{Name: "Anna", Roles: []string{"operator"}, State: stateActive}, ""},
		{api.Operator{Name: "Anna", Roles: []string{"supervisor"}, State: stateActive}, codeRole},
		{api.Operator{Name: "Anna", Roles: []string{"operator"}, State: stateInactive}, "operator-inactive"},
	} {
		w.register("anna", test.record)
		a := w.call("anna", "GET", "/v1/cards/GOOD", nil)
		code := ""
		if a.status != http.StatusOK {
			code = a.problem(t).Code
		}
		if code != test.code {
			t.Errorf("with %+v: %q, want %q", test.record, code, test.code)
		}
	}
	// A backend that is trusted to name operators cannot name one who is inactive.
	a := w.call("backend", "POST", respondPath, api.Respond{Challenge: "1603EBDF1C8A2E72", Operator: "anna", Reason: "INC"})
	if p := a.problem(t); p.Code != "operator-inactive" {
		t.Errorf("named: %d %s", a.status, p.Code)
	}
}

// The same with a real Dex: a person, a service with a token of its own, and the
// person's token passed by the service.
func TestTokensOfDex(t *testing.T) {
	w := newWorld(t)
	w.stock()
	dex := openidtest.NewDex(t, "https://127.0.0.1:1/back")
	provider, err := oidc.New(oidc.Config{
		Issuer: dex.Issuer, CA: dex.CA, Audience: openidtest.ClientID, Algorithms: oidc.DefaultAlgorithms(),
		Claims: oidc.Claims{Operator: "name"}, ClockSkew: 30 * time.Second, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	anna, service := dex.Token("anna", openidtest.ClientID), dex.Token("identity-manager", openidtest.ClientID)
	of, err := provider.Verify(t.Context(), service)
	if err != nil {
		t.Fatal(err)
	}
	w.restart(func(c *Config) {
		c.Tokens = provider
		c.Clients = append(c.Clients, identity.Client{Name: "service", TokenSubject: of.Subject, Roles: []identity.Role{identity.Backend}})
	})
	for _, test := range []struct {
		headers []string
		status  int
		entry   [3]string
	}{
		{[]string{"Authorization", "Bearer " + anna}, http.StatusOK, [3]string{"person:anna", "anna", "own token"}},
		{[]string{"Authorization", "Bearer " + service, operatorHeader, anna}, http.StatusOK, [3]string{"service", "anna", "own token, passed by the client"}},
		{[]string{"Authorization", "Bearer " + service}, http.StatusForbidden, [3]string{"service", "", ""}},
	} {
		a := w.call("", "POST", respondPath, api.Respond{Challenge: "1603EBDF1C8A2E72", Confirmed: true, Reason: "INC"}, test.headers...)
		entries := w.entries()
		e := entries[len(entries)-1]
		if got := [3]string{e.Client, e.Operator, e.Delegation}; a.status != test.status || got != test.entry {
			t.Errorf("%d, and the audit log says %q; want %d, %q\n%s", a.status, got, test.status, test.entry, a.body)
		}
	}
}
