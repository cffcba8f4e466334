package server

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/audit"
	"latchkey/server/api"
	"latchkey/unblock"
)

// wire is a TLS connection that one writes to by hand.
type wire struct {
	*tls.Conn
	read *bufio.Reader
	t    *testing.T
}

func (w *world) dial(client string) wire {
	w.t.Helper()
	c, err := tls.Dial("tcp", strings.TrimPrefix(w.url, "https://"), w.tlsConfig(client))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		w.t.Fatal(err)
	}
	return wire{c, bufio.NewReader(c), w.t}
}

// send writes text; whether all of it is taken is the server's affair.
func (c wire) send(text string) { _, _ = io.WriteString(c, text) }

// status reads one answer, 0 where the connection is closed instead.
func (c wire) status() (int, string) {
	c.t.Helper()
	response, err := http.ReadResponse(c.read, nil)
	if err != nil {
		return 0, ""
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, ""
	}
	return response.StatusCode, string(body)
}

const respondBody = `{"challenge":"1603EBDF1C8A2E72","confirmed":true,"reason":"INC"}`

// Requests that proxies and servers read differently are read in one way or not at
// all, and what is hidden in a body is never run as a request of its own.
func TestSmuggling(t *testing.T) {
	w := newWorld(t)
	w.stock()
	hidden := "POST /v1/cards/GOOD/response HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: " +
		fmt.Sprint(len(respondBody)) + "\r\n\r\n" + respondBody
	head := "POST /v1/unblocks HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
	for name, text := range map[string]string{
		"two lengths":            head + "Content-Length: 4\r\nContent-Length: 5\r\n\r\n{}  " + hidden,
		"chunks, badly named":    head + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + hidden,
		"chunks, twice":          head + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + hidden,
		"blank before the colon": head + "Content-Length : 4\r\n\r\n{}  " + hidden,
		"folded header":          head + "X-A: b\r\n Content-Length: 4\r\n\r\n{}  " + hidden,
		"negative length":        head + "Content-Length: -1\r\n\r\n" + hidden,
		"length with a plus":     head + "Content-Length: +4\r\n\r\n{}  " + hidden,
		"bare line feeds":        head + "X: y\rContent-Length: 4\r\n\r\n{}  " + hidden,
	} {
		t.Run(name, func(t *testing.T) {
			before := w.done()
			c := w.dial("anna")
			c.send(text)
			for {
				status, body := c.status()
				if status == 0 {
					break
				}
				if status < 400 {
					t.Errorf("%d %s", status, body)
				}
			}
			if after := w.done(); after != before {
				t.Errorf("%d responses were given out", after-before)
			}
		})
	}
	// Chunks count for more than a length (RFC 9112, 6.3), so here the request stands
	// in the open, behind one with an empty body. The test above would have seen it.
	c := w.dial("anna")
	c.send(head + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden)
	for _, want := range []int{http.StatusBadRequest, http.StatusOK} {
		if status, body := c.status(); status != want {
			t.Errorf("%d %s, want %d", status, body, want)
		}
	}
}

// done counts what the audit log says was done.
func (w *world) done() int {
	n := 0
	for _, e := range w.entries() {
		if e.Outcome == audit.Permit {
			n++
		}
	}
	return n
}

// Nothing that a header says makes somebody of a caller.
func TestForgedHeaders(t *testing.T) {
	w := newWorld(t)
	w.stock()
	forged := []string{
		"X-Forwarded-For", "10.0.0.1", "X-Real-Ip", "10.0.0.1", "Forwarded", "for=10.0.0.1", "X-Client-Cert", "CN=admin,O=Example",
		"X-Ssl-Client-S-Dn", "CN=admin", "Proxy-Authorization", "Basic YWRtaW46YWRtaW4=", "X-Http-Method-Override", "PUT", "X-Original-Url", "/v1/card-types",
		"X-Rewrite-Url", "/v1/card-types",
	}
	if a := w.call("", "GET", "/v1/card-types", nil, forged...); a.status != http.StatusUnauthorized {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := w.call("auditor", "GET", "/v1/cards/GOOD", nil, forged...); a.status != http.StatusForbidden {
		t.Errorf("%d %s", a.status, a.body)
	}
	a := w.call("anna", "POST", "/v1/cards/GOOD/response", respondBody, append(forged, requestIDHeader, "forged")...)
	if a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for _, e := range w.entries() {
		if e.RequestID == "forged" && (e.Address != "127.0.0.1" || e.Client != "anna") {
			t.Errorf("audit entry: %+v", e)
		}
	}
}

func TestMediaTypes(t *testing.T) {
	w := newWorld(t)
	w.stock()
	for _, headers := range [][]string{
		{"Content-Type", ""}, {"Content-Type", "text/plain"}, {"Content-Type", "application/jsonx"}, {"Content-Type", "application/json; charset=utf-16"},
		{"Content-Type", "application/x-www-form-urlencoded"}, {"Content-Type", "multipart/form-data; boundary=x"}, {"Content-Type", "application/json;;"},
		{"Content-Type", api.NDJSON}, {"Content-Encoding", "gzip"}, {"Content-Encoding", "deflate"},
	} {
		a := w.call("anna", "POST", "/v1/cards/GOOD/response", respondBody, headers...)
		if p := a.problem(t); a.status != http.StatusUnsupportedMediaType || p.Code != codeMediaType {
			t.Errorf("%q: %d %s", headers, a.status, a.body)
		}
	}
	if a := w.call("backend", "POST", importPath, cardLine(t, "X")); a.status != http.StatusUnsupportedMediaType {
		t.Errorf("an import as JSON: %d %s", a.status, a.body)
	}
	for _, good := range []string{"application/json; charset=utf-8", "Application/JSON;charset=UTF-8"} {
		if a := w.call("anna", "POST", "/v1/cards/GOOD/response", respondBody, "Content-Type", good); a.status != http.StatusOK {
			t.Errorf("%s: %d %s", good, a.status, a.body)
		}
	}
}

// Paths have one meaning each. These go over the wire by hand: Go's client would
// tidy them.
func TestPaths(t *testing.T) {
	w := newWorld(t)
	w.stock()
	for _, test := range []struct {
		line   string
		status int
		code   string
	}{
		{"GET /v1/cards/GOOD", 200, ""},
		{"GET /v1/card%73/GOOD", 404, codeRoute},
		{"GET /V1/cards/GOOD", 404, codeRoute},
		{"GET //v1/cards/GOOD", 404, codeRoute},
		{"GET /v1//cards/GOOD", 404, codeRoute},
		{"GET /v1/./cards/GOOD", 404, codeRoute},
		{"GET /healthz/../v1/cards/GOOD", 404, codeRoute},
		{"GET /healthz%2F..%2Fv1/cards/GOOD", 404, codeRoute},
		{"GET /v1%2Fcards/GOOD", 404, codeRoute},
		{"GET /v1/cards/GOOD/", 404, codeRoute},
		{"GET /v1/cards/GOOD/response/x", 404, codeRoute},
		{"GET /v1/cards/", 404, codeRoute},
		{"GET /v1/cards/../cards/GOOD", 404, codeRoute},
		{"GET /v1/cards/GOOD%2Fresponse", 404, string(unblock.CardUnknown)},
		{"GET /v1/cards/GOOD;a=b", 404, string(unblock.CardUnknown)},
		{"GET /v1/cards/GOOD%00", 404, string(unblock.CardUnknown)},
		{"GET /v1/cards/%FF%FE", 404, string(unblock.CardUnknown)},
		{"GET /v1/cards:import", 405, codeMethod},
		{"GET /v1/cards:export", 404, codeRoute},
		{"GET /v1/unblocks/..%2Fcards", 404, string(unblock.ProcessUnknown)},
		{"DELETE /v1/cards/GOOD", 405, codeMethod},
		{"POST /healthz", 405, codeMethod},
		{"BREW /v1/cards/GOOD", 405, codeMethod},
		{"GET /v1/cards/%zz", 400, ""},
		{"GET http://elsewhere/v1/cards/GOOD", 200, ""}, // absolute form, RFC 9112 3.2.2
	} {
		c := w.dial("anna")
		c.send(test.line + " HTTP/1.1\r\nHost: a\r\n\r\n")
		if status, body := c.status(); status != test.status || !strings.Contains(body, test.code) {
			t.Errorf("%s: %d %s, want %d %s", test.line, status, body, test.status, test.code)
		}
	}
}

func TestHugeHeaders(t *testing.T) {
	w := newWorld(t)
	c := w.dial("anna")
	c.send("GET /v1/cards/GOOD HTTP/1.1\r\nHost: a\r\nX-A: " + strings.Repeat("a", 64<<10) + "\r\n\r\n")
	if status, _ := c.status(); status != http.StatusRequestHeaderFieldsTooLarge && status != 0 {
		t.Errorf("a header of 64 KiB: %d", status)
	}
	c = w.dial("anna")
	c.send("GET /v1/cards/" + strings.Repeat("a", 64<<10) + " HTTP/1.1\r\nHost: a\r\n\r\n")
	if status, _ := c.status(); status != http.StatusRequestHeaderFieldsTooLarge && status != 0 {
		t.Errorf("a path of 64 KiB: %d", status)
	}
}

// A body that says that it is large is refused before it is sent.
func TestLargeBodyIsNotReadFor(t *testing.T) {
	w := newWorld(t)
	c := w.dial("anna")
	c.send("POST /v1/unblocks HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000000000\r\n\r\n" + strings.Repeat(" ", maxBody+1))
	if status, body := c.status(); status != http.StatusRequestEntityTooLarge || !strings.Contains(body, codeTooLarge) {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := c.status(); status != 0 {
		t.Errorf("the connection goes on, with %d", status)
	}
}

// A client that is slow on purpose is let go.
func TestSlowBody(t *testing.T) {
	w := newWorld(t)
	w.hurry(func(t *times) { t.header, t.read = 200*time.Millisecond, 300*time.Millisecond })
	c := w.dial("anna")
	c.send("POST /v1/unblocks HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	if status, body := c.status(); status != http.StatusRequestTimeout || !strings.Contains(body, codeTimeout) {
		t.Errorf("slow body: %d %s", status, body)
	}
	c = w.dial("anna")
	c.send("POST /v1/unblocks HTTP/1.1\r\nHost:")
	if status, _ := c.status(); status != 0 {
		t.Errorf("slow header: %d", status)
	}
	c = w.dial("anna")
	c.send("POST /v1/unblocks HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if status, body := c.status(); status != http.StatusBadRequest || !strings.Contains(body, codeMalformed) {
		t.Errorf("a body that is cut off: %d %s", status, body)
	}
}

// Of many who answer one process at the same time, one gets a response.
func TestOneProcessOneResponse(t *testing.T) {
	w := newWorld(t)
	w.stock()
	var started api.Unblock
	w.must(http.StatusCreated, &started, "anna", "POST", "/v1/unblocks", api.StartUnblock{Card: "GOOD", Reason: "INC"})
	const many = 16
	answers := make([]answer, many)
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			answers[i] = w.call("anna", "POST", "/v1/unblocks/"+started.ID+"/response", api.Challenge{Challenge: "1603EBDF1C8A2E72"})
		})
	}
	all.Wait()
	given := 0
	for _, a := range answers {
		if a.status == http.StatusOK {
			given++
			continue
		}
		if p := a.problem(t); p.Code != string(unblock.ProcessConflict) && p.Code != string(unblock.ProcessAnswered) {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if n, err := w.unconfirmed(t.Context(), "GOOD"); given != 1 || n != 1 || err != nil {
		t.Errorf("%d responses were given out and %d counted, error %v", given, n, err)
	}
}

// A card's last attempts are not given out by asking for many at once.
func TestAttemptsUnderLoad(t *testing.T) {
	w := newWorld(t)
	w.stock()
	const many = 24
	answers := make([]answer, many)
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() { answers[i] = w.call("anna", "POST", "/v1/cards/MORTAL/response", respondBody) })
	}
	all.Wait()
	given := 0
	for _, a := range answers {
		switch a.status {
		case http.StatusOK:
			given++
		case http.StatusConflict:
			if p := a.problem(t); p.Code != string(unblock.AttemptsExhausted) {
				t.Errorf("%s", a.body)
			}
		default:
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if given != 4 {
		t.Errorf("%d responses were given out for a card that may survive 5 wrong ones, want 4", given)
	}
}

// A client that hangs up before its answer harms nobody.
func TestHangUp(t *testing.T) {
	w := newWorld(t)
	w.stock()
	for range 20 {
		c := w.dial("anna")
		c.send("POST /v1/cards/GOOD/response HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: " +
			fmt.Sprint(len(respondBody)) + "\r\n\r\n" + respondBody)
		if err := c.Close(); err != nil && !errors.Is(err, io.ErrClosedPipe) {
			t.Log(err)
		}
	}
	w.must(http.StatusOK, nil, "anna", "POST", "/v1/cards/GOOD/response", respondBody)
	// What was counted against the card is what the audit log holds.
	n, err := w.unconfirmed(t.Context(), "GOOD")
	if err != nil {
		t.Fatal(err)
	}
	logged := 0
	for _, e := range w.entries() {
		if e.Action == audit.UnblockRespond && e.Outcome == audit.Permit {
			logged++
		}
	}
	if n != logged {
		t.Errorf("%d responses counted, %d in the audit log", n, logged)
	}
}

// A page of another site has a browser do nothing in the name of the certificate
// that it holds, by whichever method.
func TestOtherSites(t *testing.T) {
	w := newWorld(t)
	w.stock()
	var started api.Unblock
	w.must(http.StatusCreated, &started, "anna", "POST", "/v1/unblocks", api.StartUnblock{Card: "GOOD", Reason: "INC"})
	cancel := "/v1/unblocks/" + started.ID + "/cancel"
	for _, headers := range [][]string{
		{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"},
		{"Origin", "https://elsewhere.example"}, {"Origin", "null"},
	} {
		headers = append(headers, "Content-Type", "application/x-www-form-urlencoded")
		if a := w.call("anna", "POST", cancel, "a=b", headers...); a.status != http.StatusForbidden || a.problem(t).Code != codeCrossSite {
			t.Errorf("%q: %d %s", headers, a.status, a.body)
		}
	}
	if a := w.call("anna", "GET", "/v1/cards/GOOD", nil, "Sec-Fetch-Site", "cross-site"); a.status != http.StatusForbidden {
		t.Errorf("by GET: %d %s", a.status, a.body)
	}
	w.must(http.StatusOK, nil, "anna", "POST", cancel, nil)
	if a := w.call("anna", "GET", "/v1/cards/GOOD", nil, "Sec-Fetch-Site", "none"); a.status != http.StatusOK {
		t.Errorf("typed in by hand: %d %s", a.status, a.body)
	}
}
