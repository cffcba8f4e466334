package server

import (
	"crypto/tls"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"latchkey/audit"
	"latchkey/identity"
	"latchkey/server/api"
	"latchkey/softhsm-test/throwawayca"
)

// A certificate that runs out while its client is connected is good for nothing from
// then on, over the connection that it was made with and in a session that is
// resumed; nor does it make a new one.
func TestExpiredCertificate(t *testing.T) {
	w := newWorld(t)
	clock := &clock{now: time.Now()}
	transport, err := w.files(w.ca, w.ca).Open(w.server.Logger, clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	w.restart(func(c *Config) { c.TLS, c.StillGood = transport.Config(), transport.Check })
	config := w.tlsConfig("admin")
	config.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	call := func(c *http.Client) (status int, code string, resumed bool) {
		t.Helper()
		response, err := c.Get(w.url + "/v1/card-types")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		var p api.Problem
		if err := json.NewDecoder(response.Body).Decode(&p); err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, p.Code, response.TLS.DidResume
	}
	kept := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
	defer kept.CloseIdleConnections()
	fresh := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	for _, c := range []*http.Client{kept, fresh} {
		if status, code, _ := call(c); status != http.StatusOK {
			t.Fatalf("in time: %d %s", status, code)
		}
	}
	clock.advance(91 * 24 * time.Hour)
	for name, c := range map[string]*http.Client{"kept connection": kept, "resumed session": fresh} {
		status, code, resumed := call(c)
		if status != http.StatusUnauthorized || code != codeNoCertificate || resumed != (c == fresh) && c == fresh {
			t.Errorf("%s (resumed %v): %d %s", name, resumed, status, code)
		}
	}
	// The same again where the TLS library sees the same time.
	w.restart(func(c *Config) {
		c.TLS, c.StillGood = c.TLS.Clone(), nil
		c.TLS.GetConfigForClient, c.TLS.Time = nil, clock.Now
	})
	if c, err := tls.Dial("tcp", strings.TrimPrefix(w.url, "https://"), w.tlsConfig("admin")); err == nil {
		if _, err := fmt.Fprint(c, "GET /v1/card-types HTTP/1.1\r\nHost: a\r\n\r\n"); err == nil {
			if text, err := io.ReadAll(io.LimitReader(c, 12)); err == nil && len(text) != 0 {
				t.Errorf("a new connection is answered with %q", text)
			}
		}
		_ = c.Close()
	}
}

// Certificates that look like a client's over real TLS.
func TestForgedCertificates(t *testing.T) {
	w := newWorld(t)
	pair := func(ca *throwawayca.Authority, subject pkix.Name, names ...string) tls.Certificate {
		t.Helper()
		p, err := ca.Client(subject, names...)
		if err != nil {
			t.Fatal(err)
		}
		return p.TLS()
	}
	foreign, err := throwawayca.New("Test CA") // of the same name
	if err != nil {
		t.Fatal(err)
	}
	backend := pkix.Name{CommonName: "backend", Organization: []string{"Example"}}
	own, theirs := pair(foreign, backend), pair(w.ca, backend)
	stolen := tls.Certificate{Certificate: theirs.Certificate, PrivateKey: own.PrivateKey}
	behind := tls.Certificate{Certificate: [][]byte{own.Certificate[0], theirs.Certificate[0]}, PrivateKey: own.PrivateKey}
	underLeaf := tls.Certificate{Certificate: [][]byte{own.Certificate[0], theirs.Certificate[0], w.ca.Certificate.Raw}, PrivateKey: own.PrivateKey}
	for name, test := range map[string]struct {
		certificate tls.Certificate
		code        string // none where TLS does not let it so far
	}{
		"of another CA of the same name":    {own, ""},
		"without its key":                   {stolen, ""},
		"behind one of another CA":          {behind, ""},
		"with a leaf and a CA as its chain": {underLeaf, ""},
		"of two clients":                    {pair(w.ca, backend, "email:anna@example.org"), codeClientUnknown},
		"of two clients by name":            {pair(w.ca, pkix.Name{}, "email:anna@example.org", "uri:spiffe://example/admin"), codeClientUnknown},
		"of a client in another case":       {pair(w.ca, pkix.Name{}, "email:ANNA@example.org"), codeClientUnknown},
		"of a client with more behind it":   {pair(w.ca, pkix.Name{}, "uri:spiffe://example/admin/x"), codeClientUnknown},
		"of a client with a NUL behind it":  {pair(w.ca, pkix.Name{CommonName: "backend\x00", Organization: []string{"Example"}}), codeClientUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			config := w.tlsConfig("")
			config.Certificates = []tls.Certificate{test.certificate}
			plain := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
			response, err := plain.Get(w.url + "/v1/card-types")
			if err != nil {
				if test.code != "" {
					t.Fatal(err)
				}
				return
			}
			defer func() { _ = response.Body.Close() }()
			var p api.Problem
			if err := json.NewDecoder(response.Body).Decode(&p); err != nil || test.code == "" || p.Code != test.code {
				t.Errorf("%d %s %v, want %q", response.StatusCode, p.Code, err, test.code)
			}
		})
	}
}

// No header and no query says who the operator is, or makes another request of one.
// They go over the wire by hand, in spellings that Go's client would not send.
func TestSmuggledOperator(t *testing.T) {
	w := newWorld(t)
	w.stock()
	head := func(line, headers, body string) string {
		return line + " HTTP/1.1\r\nHost: a\r\nX-Request-Id: this-one\r\nContent-Type: application/json\r\nContent-Length: " +
			fmt.Sprint(len(body)) + "\r\n" + headers + "\r\n" + body
	}
	var all strings.Builder
	for i, named := range namingHeaders() {
		if i%2 == 0 {
			fmt.Fprintf(&all, "%s: olga\r\n%s: %s\r\n", strings.ToLower(named), strings.ToUpper(named), namingHeaders()[i+1])
		}
	}
	const path = "POST /v1/cards/GOOD/response"
	for name, test := range map[string]struct {
		client, line, headers, body string
		status                      int
		code, operator              string // what the audit log says
	}{
		"an operator, with all of them":         {"anna", path, all.String(), respondBody, 200, "", "anna"},
		"a backend that names nobody":           {"backend", path, all.String(), respondBody, 422, "operator-required", ""},
		"a backend that may name nobody":        {"mute", path, all.String(), `{"challenge":"1603EBDF1C8A2E72","reason":"INC","operator":"anna"}`, 403, "delegation-refused", "anna"},
		"an operator that names another":        {"anna", path, "", `{"challenge":"1603EBDF1C8A2E72","reason":"INC","operator":"olga"}`, 403, "operator-mismatch", "anna"},
		"in the query":                          {"backend", path + "?operator=anna&Latchkey-Operator-Token=anna&access_token=anna", "", respondBody, 422, "operator-required", ""},
		"as user information":                   {"backend", "POST https://anna:anna@a/v1/cards/GOOD/response", "", respondBody, 422, "operator-required", ""},
		"in a trailer":                          {"backend", path, "Trailer: X-Operator\r\n", respondBody, 422, "operator-required", ""},
		"an officer's GET, to be a PUT":         {"olga", "GET /v1/card-types", "X-HTTP-Method-Override: PUT\r\nX-HTTP-Method: PUT\r\nX-Method-Override: PUT\r\n", "", 200, "", ""},
		"an auditor's GET, to be of another":    {"auditor", "GET /v1/audit/state", "X-Original-URL: /v1/cards\r\nX-Rewrite-URL: /v1/cards\r\nX-Forwarded-Prefix: /v1/cards\r\n", "", 200, "", ""},
		"an auditor's GET of a card":            {"auditor", "GET /v1/cards/GOOD?_method=POST", "X-HTTP-Method-Override: POST\r\n", "", 403, codeRole, ""},
		"nobody's, with all of them":            {"", path, all.String(), respondBody, 401, codeNoCertificate, ""},
		"nobody's, as if a proxy had seen them": {"", path, "X-SSL-Client-Verify: SUCCESS\r\nX-SSL-Client-S-DN: CN=backend,O=Example\r\nSSL_CLIENT_S_DN: CN=backend,O=Example\r\n", respondBody, 401, codeNoCertificate, ""},
	} {
		t.Run(name, func(t *testing.T) {
			before, logged := w.state(), len(w.entries())
			c := w.dial(test.client)
			c.send(head(test.line, test.headers, test.body))
			status, body := c.status()
			if status != test.status || !strings.Contains(body, `"`+test.code) {
				t.Errorf("%d %s, want %d %s", status, body, test.status, test.code)
			}
			for _, e := range w.entries()[logged:] {
				if e.Action == audit.AccessRefused {
					continue
				}
				if e.Client != test.client || e.Operator != test.operator || e.Address != "127.0.0.1" || e.RequestID != "this-one" {
					t.Errorf("the audit log says %+v", e)
				}
				if own := test.client == "anna"; own != (e.Delegation == string(identity.ByCertificate)) {
					t.Errorf("the audit log says %q of operator %q", e.Delegation, e.Operator)
				}
				if (e.Outcome == audit.Permit) != (status == http.StatusOK) {
					t.Errorf("the audit log says %s, and the answer is %d", e.Outcome, status)
				}
			}
			if status >= 400 && w.state() != before {
				t.Errorf("before\n%s\nafter\n%s", before, w.state())
			}
		})
	}
}
