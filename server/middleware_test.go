package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/identity"
	"latchkey/identity/people"
	"latchkey/policy"
	"latchkey/server/api"
	"latchkey/store"
	"latchkey/unblock"
)

func TestRequestID(t *testing.T) {
	w := newWorld(t)
	for _, sent := range []string{"", "a b", "x\"},{", strings.Repeat("a", 65), "ünïcode"} {
		a := w.call("", "GET", "/healthz", nil, requestIDHeader, sent)
		if got := a.header.Get(requestIDHeader); got == sent || len(got) != 36 {
			t.Errorf("for %q the request ID is %q, want a UUID", sent, got)
		}
	}
	for _, sent := range []string{"INC-20417.a_b", strings.Repeat("a", 64)} {
		if got := w.call("", "GET", "/healthz", nil, requestIDHeader, sent).header.Get(requestIDHeader); got != sent {
			t.Errorf("for %q the request ID is %q", sent, got)
		}
	}
}

func TestHeaders(t *testing.T) {
	w := newWorld(t)
	w.stock()
	for _, a := range []answer{
		w.call("anna", "POST", "/v1/cards/GOOD/response", api.Respond{Challenge: "1603EBDF1C8A2E72", Reason: "INC"}),
		w.call("anna", "POST", "/v1/cards/GOOD/response", api.Respond{Challenge: "x", Reason: "INC"}),
		w.call("", "GET", "/healthz", nil),
	} {
		for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Server": "", "X-Powered-By": ""} {
			if got := a.header.Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
	}
}

// What a client types and gets never reaches the log, whatever becomes of it.
func TestLog(t *testing.T) {
	w := newWorld(t)
	w.stock()
	w.logs.TakeAll()
	var response api.Response
	a := w.call("anna", "POST", "/v1/cards/GOOD/response",
		api.Respond{Challenge: "1603EBDF1C8A2E72", Reason: "reason-to-hide"}, "Cookie", "session=cookie-to-hide")
	if err := json.Unmarshal(a.body, &response); err != nil || a.status != http.StatusOK {
		t.Fatalf("%d %v", a.status, err)
	}
	w.call("anna", "POST", "/v1/cards/GOOD/response", api.Respond{Challenge: "16O3-hide-me", Reason: "reason-to-hide"})
	w.call("anna", "POST", "/v1/cards/GOOD/response", `{"challenge":"hide","field-to-hide":true}`)
	w.call("anna", "GET", "/v1/cards?q=query-to-hide", nil)
	w.call("anna", "GET", "/v1/cards/path-to-hide", nil)
	w.call("", "GET", "/v1/cards/GOOD", nil, "Authorization", "Bearer token-to-hide")
	w.call("backend", "GET", "/v1/cards/GOOD", nil, "Latchkey-Operator-Token", "token-to-hide")

	logged := w.logs.TakeAll()
	if len(logged) != 7 {
		t.Fatalf("%d lines in the log, want one a request", len(logged))
	}
	encoder := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
	for _, line := range logged {
		text, err := encoder.EncodeEntry(line.Entry, line.Context)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{response.Response, response.Grouped, response.Spoken, "1603EBDF", "hide"} {
			if strings.Contains(strings.ToLower(text.String()), strings.ToLower(secret)) {
				t.Errorf("the log holds %q: %s", secret, text)
			}
		}
	}
	fields := logged[1].ContextMap()
	for name, want := range map[string]any{
		"method": "POST", "route": "/v1/cards/{serial}/response", "status": int64(422), "client": "anna",
		"address": "127.0.0.1", "problem": "challenge-not-hex", "latency": time.Duration(0),
	} {
		if fields[name] != want {
			t.Errorf("log field %s is %v, want %v", name, fields[name], want)
		}
	}
	if id, _ := fields["request_id"].(string); len(id) != 36 {
		t.Errorf("log field request_id is %v", fields["request_id"])
	}
}

// A client that calls too often is told when to come back, before its body is
// looked at. Others are not held up.
func TestRate(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Rate = Rate{PerSecond: 0.25, Burst: 3} })
	for range 3 {
		w.must(http.StatusOK, nil, "admin", "GET", "/v1/card-types", nil)
	}
	a := w.call("admin", "PUT", "/v1/card-types/x", "not JSON")
	if p := a.problem(t); p.Code != codeRate || a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") != "4" {
		t.Errorf("%d %s, Retry-After %q; want 429, 4", a.status, p.Code, a.header.Get("Retry-After"))
	}
	w.must(http.StatusOK, nil, "auditor", "GET", "/v1/card-types", nil)
	w.must(http.StatusOK, nil, "admin", "GET", "/healthz", nil)
	w.clock.advance(4 * time.Second)
	w.must(http.StatusOK, nil, "admin", "GET", "/v1/card-types", nil)
	if a := w.call("admin", "GET", "/v1/card-types", nil); a.status != http.StatusTooManyRequests {
		t.Errorf("one call came back, and %d answers the second", a.status)
	}
}

// broken is a directory whose writes and reads do what they are told to.
type broken struct {
	Directory
	err   error
	panic any
}

func (b broken) CardTypes(context.Context) ([]card.Type, error) {
	if b.panic != nil {
		panic(b.panic)
	}
	return nil, b.err
}

func (b broken) PutCards(context.Context, []store.CardPut, *store.SyncStep) ([]store.Result, error) {
	return nil, b.err
}

func (b broken) PutCardType(context.Context, card.Type, audit.Entry) (store.Result, error) {
	return "", b.err
}

func TestPanic(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Directory = broken{c.Directory, nil, "secret reason"} })
	a := w.call("admin", "GET", "/v1/card-types", nil, requestIDHeader, "the-request")
	p := a.problem(t)
	if a.status != http.StatusInternalServerError || p.Code != codeInternal || p.Instance != "urn:request:the-request" || strings.Contains(string(a.body), "secret") {
		t.Errorf("%d %s", a.status, a.body)
	}
	lines := w.logs.FilterMessage("request").All()
	cause, _ := lines[len(lines)-1].ContextMap()["cause"].(string)
	if !strings.Contains(cause, "secret reason") || !strings.Contains(cause, "middleware_test.go") || lines[len(lines)-1].Level != zapcore.ErrorLevel {
		t.Errorf("the log says at level %s: %s", lines[len(lines)-1].Level, cause)
	}
}

// Parts that do not work are told apart, and the caller is told no more than that.
func TestFailures(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.Directory = broken{c.Directory, errors.New("disk on fire at /var/lib"), nil}
	})
	w.stockStore()
	respond := func(serial string) answer {
		return w.call("anna", "POST", "/v1/cards/"+serial+"/response", api.Respond{Challenge: "1603EBDF1C8A2E72", Reason: "INC"})
	}
	expect := func(name string, a answer, status int, code string, cause string) {
		t.Helper()
		if p := a.problem(t); a.status != status || p.Code != code || p.Detail == "" || strings.Contains(string(a.body), cause) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		lines := w.logs.FilterMessage("request").All()
		if got, _ := lines[len(lines)-1].ContextMap()["cause"].(string); !strings.Contains(got, cause) {
			t.Errorf("%s: the log says %q, and nothing of %q", name, got, cause)
		}
	}
	expect("store", w.call("admin", "GET", "/v1/card-types", nil), 503, string(unblock.StoreUnavailable), "disk on fire")
	expect("put", w.call("admin", "PUT", "/v1/card-types/x", api.CardType{Name: "x", Profile: "gids", UnblockRemote: map[string]bool{}}),
		503, string(unblock.StoreUnavailable), "disk on fire")
	expect("key not in the token", respond("NOKEY"), 500, string(unblock.HSMRefused), "not-in-the-token")
	if err := w.token.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect("token", respond("GOOD"), 503, string(unblock.HSMUnavailable), "closed")
	if a := w.call("", "GET", "/readyz", nil); a.status != http.StatusServiceUnavailable ||
		string(a.body) != `{"status":"unavailable","checks":{"hsm":"unavailable","store":"ok"}}` {
		t.Errorf("readiness: %d %s", a.status, a.body)
	}
	if a := w.call("", "GET", "/healthz", nil); a.status != http.StatusOK || string(a.body) != `{"status":"ok"}` {
		t.Errorf("health: %d %s", a.status, a.body)
	}
}

// noPolicy cannot decide.
type noPolicy struct{ unblock.Policy }

func (noPolicy) Decide(context.Context, policy.Request) (policy.Decision, error) {
	return policy.Decision{}, errors.New("policy set is torn")
}

// deafLedger does not write.
type deafLedger struct{ unblock.Ledger }

func (deafLedger) Apply(context.Context, unblock.Change) error { return errors.New("disk full") }

func TestDeskFailures(t *testing.T) {
	w := newWorld(t)
	w.stock()
	desk, ok := w.server.Desk.(*unblock.Desk)
	if !ok {
		t.Fatal("the desk is another")
	}
	config := desk.Config
	for _, test := range []struct {
		code   unblock.Code
		status int
		change func(*unblock.Config)
	}{
		{unblock.PolicyFailed, 500, func(c *unblock.Config) { c.Policy = noPolicy{c.Policy} }},
		{unblock.AuditUnavailable, 503, func(c *unblock.Config) { c.Ledger = deafLedger{c.Ledger} }},
	} {
		broken := config
		test.change(&broken)
		desk.Config = broken
		a := w.call("anna", "POST", "/v1/cards/GOOD/response", api.Respond{Challenge: "1603EBDF1C8A2E72", Reason: "INC"})
		if p := a.problem(t); a.status != test.status || p.Code != string(test.code) {
			t.Errorf("%d %s, want %d %s", a.status, a.body, test.status, test.code)
		}
	}
}

func TestReadiness(t *testing.T) {
	hang := make(chan struct{})
	asked := 0
	var failure error
	w := newWorld(t, func(c *Config) {
		c.Ready = map[string]func(context.Context) error{
			"works": func(context.Context) error { asked++; return failure },
			"hangs": func(context.Context) error { <-hang; return nil }, // as a C call does, whatever its context says
		}
	})
	t.Cleanup(func() { close(hang) })
	w.hurry(func(t *times) { t.probe = 50 * time.Millisecond })
	for range 2 { // the second time the first is still under way
		if a := w.call("", "GET", "/readyz", nil); string(a.body) != `{"status":"unavailable","checks":{"hangs":"unavailable","works":"ok"}}` {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times within a second, want once", asked)
	}
	failure = errors.New("torn")
	w.clock.advance(probeFresh)
	if a := w.call("backend", "GET", "/readyz", nil); string(a.body) != `{"status":"unavailable","version":"0.0-test","checks":{"hangs":"unavailable","works":"unavailable"}}` {
		t.Errorf("%d %s", a.status, a.body)
	}
	if w.logs.FilterMessage("not ready").FilterField(zap.NamedError("error", failure)).Len() != 1 {
		t.Error("the log does not say what is wrong")
	}
}

func TestProblemPages(t *testing.T) {
	w := newWorld(t)
	for _, p := range problems() {
		var kind api.ProblemKind
		w.must(http.StatusOK, &kind, "", "GET", "/problems/"+p.code, nil)
		if kind.Code != p.code || kind.Status != p.status || kind.Remedy != p.remedy {
			t.Errorf("%+v", kind)
		}
	}
	a := w.call("", "GET", "/problems/card-not-active", nil, "Accept", "text/html,*/*;q=0.8")
	if !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") || !strings.Contains(string(a.body), "<h1>The card is not active</h1>") {
		t.Errorf("%s\n%s", a.header.Get("Content-Type"), a.body)
	}
	if a := w.call("", "GET", "/openapi.yaml", nil); string(a.body) != string(openAPI) {
		t.Error("/openapi.yaml is something else")
	}
}

// The console learns who calls, and reports into the same log.
func TestConsole(t *testing.T) {
	var caller unblock.Caller
	var known bool
	w := newWorld(t, func(c *Config) {
		c.Console = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			caller, known = CallerOf(r)
			Report(r, &unblock.Refusal{Code: unblock.CardUnknown, Detail: "detail-to-hide"})
			http.Error(w, r.URL.Path, http.StatusNotFound)
		})
		c.Clients = append(c.Clients, identity.Client{Name: "idle", Subject: "CN=idle,O=Example", Roles: []identity.Role{identity.Auditor}, Operator: "idle"})
		c.Operators = people.Registry{Records: c.Directory.(*store.Store), Seeds: operators{"anna": worldOperators()["anna"], "idle": {ID: "idle"}}}
	})
	get := func(client string) int {
		t.Helper()
		plain := &http.Client{Transport: &http.Transport{TLSClientConfig: w.tlsConfig(client)}}
		defer plain.CloseIdleConnections()
		response, err := plain.Get(w.url + "/console/cards/A%2FB")
		if err != nil {
			t.Fatal(err)
		}
		if err := response.Body.Close(); err != nil {
			t.Fatal(err)
		}
		return response.StatusCode
	}
	get("anna")
	if !known || caller.Client != "anna" || caller.Operator == nil || caller.Operator.ID != "anna" || caller.Means != identity.ByCertificate || caller.Address != "127.0.0.1" || caller.RequestID == "" {
		t.Errorf("the console is told of %+v, known %v", caller, known)
	}
	lines := w.logs.FilterMessage("request").All()
	fields := lines[len(lines)-1].ContextMap()
	if fields["route"] != "/console/*" || fields["problem"] != "card-unknown" || fields["client"] != "anna" || fields["cause"] != nil {
		t.Errorf("the log says %v", fields)
	}
	for _, stranger := range []string{"", "stranger"} {
		if get(stranger); known || caller.Client != "" || caller.RequestID == "" {
			t.Errorf("the console is told of %+v, known %v", caller, known)
		}
	}
	if status := get("idle"); status != http.StatusForbidden {
		t.Errorf("an operator without a role to work with gets %d", status)
	}
}

// Without TLS there is no certificate, and so nobody calls.
func TestWithoutTLS(t *testing.T) {
	w := newWorld(t)
	r := httptest.NewRequest(http.MethodGet, "/v1/card-types", nil)
	r.Header.Set("X-Forwarded-For", "10.0.0.1")
	r.Header.Set("X-Client-Cert", "CN=admin,O=Example")
	recorder := httptest.NewRecorder()
	w.server.http.ServeHTTP(recorder, r)
	if recorder.Code != http.StatusUnauthorized || !strings.Contains(recorder.Body.String(), codeNoCertificate) {
		t.Errorf("%d %s", recorder.Code, recorder.Body)
	}
	lines := w.logs.FilterMessage("request").All()
	if address := lines[len(lines)-1].ContextMap()["address"]; address != "192.0.2.1" {
		t.Errorf("the log says that %v called", address)
	}
}

func TestConfig(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("an empty configuration was taken")
	}
	for name, list := range map[string][]identity.Client{
		"no name":        {{Subject: "CN=a"}},
		"no certificate": {{Name: "a"}},
		"one twice":      {{Name: "a", Subject: "CN=a"}, {Name: "b", Subject: "CN=a"}},
	} {
		if _, err := newClients(list, DefaultRate(), nil); err == nil {
			t.Errorf("%s: was taken", name)
		}
	}
}

// slow is a directory that takes its time.
type slow struct {
	Directory
	entered, leave chan struct{}
}

func (s slow) CardTypes(ctx context.Context) ([]card.Type, error) {
	close(s.entered)
	<-s.leave
	return s.Directory.CardTypes(ctx)
}
