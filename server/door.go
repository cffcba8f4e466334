package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"latchkey/audit"
)

const (
	// refusalsBurst and refusalsEvery bound how many callers that were turned away are
	// entered in the audit log one by one: 30 at once, then one each two seconds, which
	// is some 20 MB a day at most. Those beyond are counted.
	refusalsBurst = 30
	refusalsEvery = 2 * time.Second
	// refusalTimeout bounds the writing of one.
	refusalTimeout = 5 * time.Second
)

// door enters in the audit log who was turned away, and no more of them than the
// log can bear: anybody on the network can be turned away as often as they like.
type door struct {
	rate *rate.Limiter

	mu       sync.Mutex
	uncalled int // turned away since the last entry, and not entered
}

func newDoor() *door { return &door{rate: rate.NewLimiter(rate.Every(refusalsEvery), refusalsBurst)} }

// turn tells whether one who is turned away is to be entered, and how many before
// were not.
func (d *door) turn(now time.Time) (enter bool, uncalled int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.rate.AllowN(now, 1) {
		d.uncalled++
		return false, 0
	}
	uncalled, d.uncalled = d.uncalled, 0
	return true, uncalled
}

// turnedAway enters a refusal of the server's own that says who may come in. What the
// rooms behind it refuse they enter themselves.
func (s *Server) turnedAway(t *trace, err error) {
	var no *refusal
	if !errors.As(err, &no) {
		return
	}
	if p, ok := problemOf(no.code); !ok || p.status != http.StatusUnauthorized && p.status != http.StatusForbidden {
		return
	}
	enter, uncalled := s.door.turn(s.Now())
	if !enter {
		return
	}
	// The route, never the path: that may hold anything.
	e := audit.Entry{
		Action: audit.AccessRefused, Outcome: audit.Deny, Code: no.code, Detail: t.route, Address: t.address, RequestID: t.requestID,
	}
	if t.party != nil {
		e.Client = t.party.name
		if t.party.person != nil {
			e.Operator = t.party.person.ID
		}
	}
	if uncalled > 0 {
		e.Detail += fmt.Sprintf("; %d more were turned away before and not entered", uncalled)
	}
	s.enter(e)
}

// closeDoor enters how many were turned away and not entered, if any.
func (s *Server) closeDoor() {
	s.door.mu.Lock()
	n := s.door.uncalled
	s.door.uncalled = 0
	s.door.mu.Unlock()
	if n > 0 {
		s.enter(audit.Entry{Action: audit.AccessRefused, Outcome: audit.Deny, Detail: fmt.Sprintf("%d more were turned away and not entered", n)})
	}
}

func (s *Server) enter(e audit.Entry) {
	e.Time = s.Now()
	ctx, cancel := context.WithTimeout(context.Background(), refusalTimeout)
	defer cancel()
	if err := s.Audit.Append(ctx, e); err != nil {
		s.Logger.Error("a refusal could not be entered in the audit log", zap.String("request_id", e.RequestID), zap.Error(err))
	}
}
