package server

import (
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"

	"latchkey/identity"
	"latchkey/server/api"
	openidtest "latchkey/softhsm-test/openid"
	"latchkey/unblock"
)

// nobody stands among the roles of the matrix for a caller without an identity.
const nobody = "nobody"

// matrix reads testdata/matrix.txt: for each route, whom it lets past the check of
// roles.
func matrix(t *testing.T) map[string]map[string]bool {
	t.Helper()
	text, err := os.ReadFile("testdata/matrix.txt")
	if err != nil {
		t.Fatal(err)
	}
	var columns []string
	lines := map[string]map[string]bool{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0 || fields[0] == "#":
			continue
		case columns == nil:
			columns = fields[1:]
			continue
		case len(fields) != 2+len(columns):
			t.Fatalf("testdata/matrix.txt: %q has %d columns, want %d", line, len(fields)-2, len(columns))
		}
		place := fields[0] + " " + fields[1]
		if lines[place] != nil {
			t.Fatalf("testdata/matrix.txt: %s is there twice", place)
		}
		lines[place] = map[string]bool{}
		for i, word := range fields[2:] {
			if word != "yes" && word != "no" {
				t.Fatalf("testdata/matrix.txt: %s: %q is neither yes nor no", place, word)
			}
			lines[place][columns[i]] = word == "yes"
		}
	}
	for _, r := range identity.Roles() {
		if !slices.Contains(columns, string(r)) {
			t.Errorf("testdata/matrix.txt has no column %s", r)
		}
	}
	if columns[0] != nobody || len(columns) != 1+len(identity.Roles()) {
		t.Errorf("testdata/matrix.txt has the columns %q", columns)
	}
	return lines
}

// example is a request of the operation, as openapi.yaml gives an example of it.
type example struct{ method, path, body, media string }

func exampleOf(t *testing.T, place string, op *v3.Operation) example {
	t.Helper()
	var e example
	e.method, e.path, _ = strings.Cut(place, " ")
	for _, p := range op.Parameters {
		if p.In == "path" {
			if p.Example == nil {
				t.Fatalf("%s: the parameter %s has no example", place, p.Name)
			}
			e.path = strings.ReplaceAll(e.path, "{"+p.Name+"}", p.Example.Value)
		}
	}
	if op.RequestBody == nil {
		return e
	}
	media := op.RequestBody.Content.First()
	var value any
	if err := media.Value().Examples.First().Value().Value.Decode(&value); err != nil {
		t.Fatalf("%s: %v", place, err)
	}
	e.media = media.Key()
	if text, ok := value.(string); ok {
		e.body = text
		return e
	}
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatalf("%s: %v", place, err)
	}
	e.body = string(text)
	return e
}

// send calls with the example and whatever shows who calls.
func (w *world) send(e example, b badge) answer {
	w.t.Helper()
	headers := slices.Clone(b.headers)
	if e.media == "" {
		return w.call(b.certificate, e.method, e.path, nil, headers...)
	}
	return w.call(b.certificate, e.method, e.path, e.body, append(headers, "Content-Type", e.media)...)
}

// badge is what a caller shows: the certificate of a client, none for "", and headers.
type badge struct {
	certificate string
	headers     []string
}

// A way is one that a caller with a role is known by. Not every role has each.
type way struct {
	name   string
	badges map[string]badge // by role
}

// ways are all the ways of being somebody that the server knows.
func (w *world) ways(token func(map[string]any) string) []way {
	client := map[string]badge{}
	for _, r := range identity.Roles() {
		client[string(r)] = badge{certificate: "role-" + string(r)}
	}
	person := map[string]badge{"backend": {"", bearer(token(map[string]any{"sub": "service-2"}))}} // a client; no person is one
	for claim, r := range map[string]identity.Role{
		"desk": identity.Operator, "leads": identity.Supervisor, "admins": identity.Administrator, "officers": identity.SecurityOfficer, "auditors": identity.Auditor,
	} {
		person[string(r)] = badge{"", bearer(token(map[string]any{"preferred_username": "p-" + claim, "roles": claim}))}
	}
	// Whatever the person may do, the client that passes the token is a backend.
	chief := token(map[string]any{"preferred_username": "chief", "roles": []string{"desk", "leads", "admins", "officers", "auditors"}})
	passed := []string{operatorHeader, chief}
	return []way{
		{"certificate", client},
		{"token", person},
		{"certificate and a person's token", map[string]badge{"backend": {"role-backend", passed}}},
		{"token and a person's token", map[string]badge{"backend": {"", append(passed, person["backend"].headers...)}}},
	}
}

func bearer(token string) []string { return []string{authorizationHeader, "Bearer " + token} }

// roleClients are clients with one role each.
func roleClients() []identity.Client {
	var list []identity.Client
	for _, r := range identity.Roles() {
		list = append(list, identity.Client{Name: "role-" + string(r), Subject: "CN=role-" + string(r) + ",O=Example", Roles: []identity.Role{r}})
	}
	return list
}

// turnedAway is a badge that opens nothing, and the code of what its bearer is told.
type turnedAway struct {
	badge
	code string
}

// worthless is what makes nobody of a caller, or nobody with a role.
func (w *world) worthless(f *openidtest.Forge, token func(map[string]any) string) map[string]turnedAway {
	admin := token(map[string]any{"roles": "admins"})
	claims := map[string]any{"iss": f.Issuer, "sub": "s-anna", "aud": "latchkey", "exp": w.clock.Now().Add(time.Minute).Unix(), "preferred_username": "anna", "roles": "admins"}
	cut := strings.LastIndex(admin, ".") // and one character of what is signed with it
	return map[string]turnedAway{
		"nothing":                       {badge{}, codeNoCertificate},
		"a cookie":                      {badge{"", []string{"Cookie", "__Host-latchkey=" + admin + "; latchkey=" + admin + "; session=" + admin}}, codeNoCertificate},
		"headers that name":             {badge{"", namingHeaders()}, codeNoCertificate},
		"headers that hold a token":     {badge{"", []string{"Proxy-Authorization", "Bearer " + admin, "X-Access-Token", admin, "X-Authorization", "Bearer " + admin}}, codeNoCertificate},
		"a client that is not":          {badge{certificate: "stranger"}, codeClientUnknown},
		"a client without roles":        {badge{certificate: "roleless"}, codeRole},
		"certificate and token":         {badge{"role-administrator", bearer(admin)}, codeTwoIdentities},
		"person who passes a token":     {badge{"anna", []string{operatorHeader, admin}}, codeTwoIdentities},
		"token and a passed token":      {badge{"", append(bearer(admin), operatorHeader, admin)}, codeTwoIdentities},
		"no backend, and passes one":    {badge{"role-administrator", []string{operatorHeader, admin}}, string(unblock.DelegationRefused)},
		"a passed token alone":          {badge{"", []string{operatorHeader, admin}}, codeNoCertificate},
		"a backend's, passed":           {badge{"role-backend", []string{operatorHeader, token(map[string]any{"sub": "service-1"})}}, codeToken},
		"a person who claims a backend": {badge{"", bearer(token(map[string]any{"roles": "backends"}))}, codeRole},
		"an expired token":              {badge{"", bearer(token(map[string]any{"roles": "admins", "exp": w.clock.Now().Add(-time.Minute).Unix()}))}, codeToken},
		"a token for another":           {badge{"", bearer(token(map[string]any{"roles": "admins", "aud": "other"}))}, codeToken},
		"a token of another issuer":     {badge{"", bearer(token(map[string]any{"roles": "admins", "iss": "https://mallory.example"}))}, codeToken},
		"a token of another key":        {badge{"", bearer(openidtest.EC(w.t, "k1").Sign(w.t, claims))}, codeToken},
		"an unsigned token":             {badge{"", bearer(openidtest.Unsigned(w.t, claims))}, codeToken},
		"a token changed":               {badge{"", bearer(admin[:cut-1] + admin[cut:])}, codeToken},
		"Basic":                         {badge{"", []string{authorizationHeader, "Basic YWRtaW46YWRtaW4="}}, codeIdentity},
	}
}

// namingHeaders are such as other servers believe about who calls.
func namingHeaders() []string {
	return []string{
		"X-Operator", "anna", "X-Forwarded-User", "admin", "X-Remote-User", "admin", "Remote-User", "admin", "Latchkey-Operator", "anna", "Latchkey-Client", "admin",
		"Latchkey_Operator_Token", "anna", "X-Client-Cert", "CN=admin,O=Example", "X-Ssl-Client-S-Dn", "CN=admin", "X-Ssl-Client-Verify", "SUCCESS", "Forwarded", "for=10.0.0.1;by=admin",
		"X-Role", "administrator", "X-Roles", "administrator", "X-Auth-Request-User", "admin", "X-Forwarded-Client-Cert", "Subject=\"CN=admin,O=Example\"",
	}
}

// Every role on every route, and nobody, by every way of being somebody, over TLS:
// the server does what testdata/matrix.txt says, and openapi.yaml says the same.
func TestMatrix(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.Clients = append(append(c.Clients, roleClients()...), identity.Client{Name: "roleless", Subject: "CN=roleless,O=Example"})
	})
	w.stock()
	forge := openidtest.NewForge(t)
	token := w.tokens(forge)
	ways, worthless := w.ways(token), w.worthless(forge, token)
	lines := matrix(t)
	for place, op := range w.contract.operations() {
		t.Run(place, func(t *testing.T) {
			expected := lines[place]
			delete(lines, place)
			if expected == nil {
				t.Fatal("testdata/matrix.txt has no line for it: write down who may call it")
			}
			node, _ := op.Extensions.Get("x-roles")
			var roles []string
			if err := node.Decode(&roles); err != nil {
				t.Fatal(err)
			}
			for _, r := range identity.Roles() {
				if said := len(roles) == 0 || slices.Contains(roles, string(r)); said != expected[string(r)] {
					t.Errorf("openapi.yaml: %v for %s, testdata/matrix.txt: %v", said, r, expected[string(r)])
				}
			}
			if expected[nobody] != (len(roles) == 0) {
				t.Errorf("openapi.yaml: %v for nobody, testdata/matrix.txt: %v", len(roles) == 0, expected[nobody])
			}

			e := exampleOf(t, place, op)
			before := w.onDisk()
			for name, b := range worthless {
				a := w.send(e, b.badge)
				if expected[nobody] {
					pastRoles(t, name, a)
				} else {
					denied(t, name, a, b.code)
				}
			}
			for _, by := range ways {
				for role, b := range by.badges {
					if !expected[role] {
						denied(t, role+" by "+by.name, w.send(e, b), codeRole)
					}
				}
			}
			if after := w.onDisk(); after != before {
				t.Errorf("whoever may not has changed something: before\n%s\nafter\n%s", before, after)
			}
			for _, by := range ways {
				for role, b := range by.badges {
					if expected[role] {
						pastRoles(t, role+" by "+by.name, w.send(e, b))
					}
				}
			}
		})
	}
	for place := range lines {
		t.Errorf("testdata/matrix.txt: openapi.yaml has no %s", place)
	}
}

// denied wants the problem with the code, and nothing beside it.
func denied(t *testing.T, who string, a answer, code string) {
	t.Helper()
	status, _, _ := Problem(code)
	if p := a.problem(t); a.status != status || p.Code != code || a.header.Get("Content-Type") != api.ProblemJSON {
		t.Errorf("%s: %d %s, want %d %s", who, a.status, p.Code, status, code)
	}
}

// pastRoles wants anything but that somebody may not, or is nobody.
func pastRoles(t *testing.T, who string, a answer) {
	t.Helper()
	code := ""
	if a.header.Get("Content-Type") == api.ProblemJSON {
		code = a.problem(t).Code
	}
	if a.status == http.StatusUnauthorized || slices.Contains([]string{codeRole, codeClientUnknown, codeCrossSite, codeRoute, codeMethod, codeInternal}, code) {
		t.Errorf("%s: %d %s, and the matrix lets them", who, a.status, code)
	}
}

// There is no way in but the routes of the description, and the console's.
func TestNoOtherRoutes(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Console = http.NotFoundHandler() })
	known := map[string]bool{"GET /": true}
	for place := range w.contract.operations() {
		method, path, _ := strings.Cut(place, " ")
		known[method+" "+pattern(path)] = true
	}
	for _, r := range w.server.http.(*echo.Echo).Routes() {
		if place := r.Method + " " + r.Path; !known[place] && !strings.HasPrefix(r.Path, consolePath) {
			t.Errorf("%s is served, and openapi.yaml does not have it", place)
		}
	}
}
