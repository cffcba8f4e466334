package server

import (
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"

	"latchkey/identity"
	"latchkey/server/api"
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
func (w *world) ways() []way {
	byCertificate := way{"certificate", map[string]badge{}}
	for _, r := range identity.Roles() {
		byCertificate.badges[string(r)] = badge{certificate: "role-" + string(r)}
	}
	return []way{byCertificate}
}

// roleClients are clients with one role each.
func roleClients() []identity.Client {
	var list []identity.Client
	for _, r := range identity.Roles() {
		list = append(list, identity.Client{Name: "role-" + string(r), Subject: "CN=role-" + string(r) + ",O=Example", Roles: []identity.Role{r}})
	}
	return list
}

// worthless is what makes nobody of a caller, with the code that it is told of.
func (w *world) worthless() map[string]struct {
	badge
	code string
} {
	type refused = struct {
		badge
		code string
	}
	return map[string]refused{
		"nothing":                {badge{}, codeNoCertificate},
		"a cookie":               {badge{"", []string{"Cookie", "latchkey=x; __Host-latchkey=x; session=x"}}, codeNoCertificate},
		"headers that name":      {badge{"", namingHeaders()}, codeNoCertificate},
		"a client that is not":   {badge{certificate: "stranger"}, codeClientUnknown},
		"a client without roles": {badge{certificate: "roleless"}, codeRole},
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
	ways, worthless := w.ways(), w.worthless()
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
			before := w.onDisk(true)
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
			if after := w.onDisk(true); after != before {
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
