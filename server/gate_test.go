package server

import (
	"bufio"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// fill has a client send as much as it is let in with.
func fill(g *gate, client string) (n int) {
	for g.enter(client) {
		n++
	}
	return n
}

// However much one client sends there is room for the others, and what a client
// leaves is there again.
func TestGateIsFair(t *testing.T) {
	g := newGate("api", 256, time.Now, zap.NewNop())
	if n := fill(g, "flood"); n != 128 {
		t.Errorf("one client alone has %d of 256 places, want half", n)
	}
	if n := fill(g, "another"); n != 64 {
		t.Errorf("the next has %d, want half of what is left", n)
	}
	for range 128 {
		g.leave("flood")
		g.enter("flood")
		if !g.enter("another") {
			break
		}
	}
	for i := range 16 {
		if client := fmt.Sprint("operator ", i); !g.enter(client) {
			t.Errorf("%s is shut out", client)
		} else {
			g.leave(client)
		}
	}
	for client, n := range g.inside {
		for range n {
			g.leave(client)
		}
	}
	if g.total != 0 || len(g.inside) != 0 {
		t.Errorf("when all have left %d are inside and %d clients are kept", g.total, len(g.inside))
	}
	if tiny := newGate("console", 0, time.Now, zap.NewNop()); !tiny.enter("a") || !tiny.enter("b") {
		t.Error("the smallest gate does not let two in")
	}
}

// Slow answers narrow the gate, down to a point, and quick ones widen it again
// where there is a use for it. The log hears of it once a second.
func TestGateFollowsLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.WarnLevel)
		g := newGate("api", 256, time.Now, zap.New(core))
		fill(g, "flood")
		for range 100 {
			g.answered(2 * patience)
		}
		if got := int(g.places); got != 128 {
			t.Errorf("late answers of one moment leave %d places, want 128", got)
		}
		for range 20 {
			time.Sleep(patience)
			g.answered(2 * patience)
			g.enter("flood")
			g.enter("flood")
		}
		if got := int(g.places); got != 32 {
			t.Errorf("late answers leave %d places at last, want 32", got)
		}
		if n := logs.Len(); n != 21 {
			t.Errorf("%d lines in the log over 20 s, want one a second", n)
		}
		for range 128 {
			g.leave("flood")
		}
		for range 1000 {
			g.answered(patience / 100)
		}
		if got := int(g.places); got != 32 {
			t.Errorf("with nobody inside quick answers make %d places of 32", got)
		}
		for range 1000 {
			fill(g, "flood")
			g.answered(patience / 100)
		}
		if got := int(g.places); got != 256 {
			t.Errorf("under load quick answers bring back %d places, want 256", got)
		}
	})
}

// Who is turned away is told before its body is read, with a time to wait; others
// are let in, health and the console answer.
func TestOverload(t *testing.T) {
	w := newWorld(t)
	w.stock()
	w.restart(func(c *Config) { c.InProgress = 4 })
	w.logs.TakeAll()

	// Two requests whose bodies are yet to come are all that one client may have.
	var held []wire
	for range 2 {
		c := w.dial("backend")
		c.send("POST /v1/cards/GOOD/response HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
		held = append(held, c)
	}
	for w.server.Load()[0].InProgress < 2 {
		time.Sleep(time.Millisecond)
	}
	c := w.dial("backend")
	c.send("POST /v1/cards/GOOD/response HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") != "1" {
		t.Errorf("the third is answered %d, Retry-After %q", response.StatusCode, response.Header.Get("Retry-After"))
	}
	if a := w.call("backend", "GET", "/v1/cards/GOOD", nil); a.problem(t).Code != codeOverloaded {
		t.Errorf("another request of the same client is answered %d %s", a.status, a.body)
	}
	if a := w.call("anna", "GET", "/v1/cards/GOOD", nil); a.status != http.StatusOK {
		t.Errorf("another client is answered %d %s", a.status, a.body)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if a := w.call("", "GET", path, nil); a.status != http.StatusOK {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	if got := w.server.Load(); got[0] != (Load{"api", 2, 4}) || got[1] != (Load{"console", 0, 2}) {
		t.Errorf("load %+v", got)
	}
	for _, c := range held {
		_ = c.Close()
	}
	for w.server.Load()[0].InProgress > 0 {
		time.Sleep(time.Millisecond)
	}
	if a := w.call("backend", "GET", "/v1/cards/GOOD", nil); a.status != http.StatusOK {
		t.Errorf("when they are gone: %d %s", a.status, a.body)
	}
	lines := 0
	for _, line := range w.logs.TakeAll() {
		if line.Message == "overloaded: requests are turned away" {
			lines++
		} else if line.ContextMap()["problem"] == codeOverloaded && line.Level != zapcore.DebugLevel {
			t.Errorf("a request that was turned away is logged at level %s", line.Level)
		}
	}
	if lines != 1 {
		t.Errorf("%d lines tell of the overload, want 1", lines)
	}
}

// metered counts what a Meter is told.
type metered struct {
	mu    sync.Mutex
	heard map[string]int
}

func (m *metered) Answered(route, method, problem string, _ time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.heard[method+" "+route+" "+problem]++
}

// The meter hears routes and codes, never what a caller wrote.
func TestMeter(t *testing.T) {
	m := &metered{heard: map[string]int{}}
	w := newWorld(t, func(c *Config) { c.Meter = m })
	w.stockStore()
	w.call("backend", "GET", "/v1/cards/GOOD", nil)
	w.call("backend", "GET", "/v1/cards/ELSEWHERE", nil)
	w.call("", "GET", "/v1/cards/GOOD", nil)
	c := w.dial("")
	c.send("MAKEUP /nowhere/at/all HTTP/1.1\r\nHost: x\r\n\r\n")
	c.status()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, want := range []string{
		"GET /v1/cards/{serial} ", "GET /v1/cards/{serial} card-unknown", "GET /v1/cards/{serial} client-certificate-required",
		"other other route-unknown",
	} {
		if m.heard[want] != 1 {
			t.Errorf("%q was heard %d times, want once; all: %v", want, m.heard[want], m.heard)
		}
	}
	if len(m.heard) != 4 {
		t.Errorf("heard %v", m.heard)
	}
}
