package server

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"
)

// Overloaded is the code of the problem that those who are turned away are told.
const Overloaded = codeOverloaded

const (
	// patience is how long an answer may take, waiting included, before fewer
	// requests are let in.
	patience = time.Second
	// consoleShare is the part of the places that are kept for the console: people
	// are few and send one request at a time.
	consoleShare = 8
	// narrowest is the part of its places that a gate keeps however slow answers are:
	// as many as two for each of the HSM's sessions to one client, by default.
	narrowest = 8
	// widening is the part of a place that an answer in time brings back. However fast
	// the HSM is, a client's wait so grows by an eighth of the time that goes by.
	widening = 0.25
	// retryAfter is what those who are turned away are told to wait, in seconds. A
	// place is free again long before.
	retryAfter = 1
	// bodyGrace is how long the answer to one who is turned away waits for the body
	// that is on its way.
	bodyGrace = 500 * time.Millisecond
)

// gate bounds the requests in progress, waiting and working, so that those who are
// let in are answered soon: whoever comes beyond it is turned away at once and has
// cost next to nothing.
//
// A client is let in while it has fewer requests in progress than there are places
// left. One that floods the server alone so fills half of them, two a third each,
// and there is always room for whoever has none in progress. This is the dynamic
// threshold of Choudhury and Hahne, "Dynamic queue length thresholds for
// shared-memory packet switches" (1998), with its factor at 1.
//
// How many places there are follows how long answers take: they are halved when one
// is late and come back one by one, as with TCP. A slow HSM so has a short queue.
type gate struct {
	name string
	most int
	now  func() time.Time
	log  *zap.Logger

	mu     sync.Mutex
	inside map[string]int // requests in progress, by client
	total  int
	places float64
	eased  time.Time // when places were last taken away
	warned time.Time
	away   int // turned away since then
}

func newGate(name string, most int, now func() time.Time, log *zap.Logger) *gate {
	most = max(most, 2) // with fewer, whoever is inside alone shuts the others out
	return &gate{name: name, most: most, now: now, log: log, inside: make(map[string]int), places: float64(most)}
}

// enter lets a request in or turns it away. One that was let in has to leave.
func (g *gate) enter(client string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := g.inside[client]; n < int(g.places)-g.total {
		g.inside[client] = n + 1
		g.total++
		return true
	}
	// One line of the log in a while tells of all: a line for each would be the next
	// thing to be flooded.
	g.away++
	if now := g.now(); now.Sub(g.warned) >= time.Second {
		g.log.Warn("overloaded: requests are turned away", zap.String("gate", g.name), zap.Int("turned_away", g.away),
			zap.Int("in_progress", g.total), zap.Int("places", int(g.places)))
		g.warned, g.away = now, 0
	}
	return false
}

func (g *gate) leave(client string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total--
	if g.inside[client]--; g.inside[client] == 0 {
		delete(g.inside, client) // so that the map holds no more than there are places
	}
}

// answered takes note of how long an answer took, since its body was read. One
// that was late takes half the places, once in a while; each one in time brings
// back a part of a place, where the places are made use of.
func (g *gate) answered(took time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch now := g.now(); {
	case took > patience && now.Sub(g.eased) >= patience:
		g.places = max(g.places/2, float64(g.most)/narrowest, 2)
		g.eased = now
	case took <= patience && 2*g.total >= int(g.places):
		g.places = min(g.places+widening, float64(g.most))
	}
}

// Load is how much of the server's room is taken up.
type Load struct {
	Gate string // "api" or "console"
	// InProgress is how many requests are in progress, Places how many there may be.
	InProgress, Places int
}

// Load tells how much is in progress, for metrics.
func (s *Server) Load() []Load {
	var list []Load
	for _, g := range []*gate{s.work, s.pages} {
		g.mu.Lock()
		list = append(list, Load{g.name, g.total, int(g.places)})
		g.mu.Unlock()
	}
	return list
}

// shed runs the handler unless there is too much in progress. Nothing of the body
// was read until then.
func shed(c echo.Context, g *gate, handle echo.HandlerFunc) error {
	client := traceOf(c.Request().Context()).holder()
	if !g.enter(client) {
		// net/http throws the body away before it answers, so that the connection can
		// be used again. It need not wait for one that does not come.
		_ = http.NewResponseController(c.Response()).SetReadDeadline(time.Now().Add(bodyGrace)) // the next request has its own
		c.Response().Header().Set("Retry-After", fmt.Sprint(retryAfter))
		return refuse(codeOverloaded, fmt.Sprintf("The server has as much to do as it can do in time. Wait %d s, then try again.", retryAfter))
	}
	defer g.leave(client)
	return handle(c)
}

// holder names whose share of the server the request takes: that of the client, or
// of the address where nobody is known yet.
func (t *trace) holder() string {
	if t.party == nil {
		return "address " + t.address
	}
	return "client " + t.party.name
}
