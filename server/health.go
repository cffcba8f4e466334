package server

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"latchkey/server/api"
)

// probeFresh is how long a part's word holds that it works: asking costs it
// something, and anybody may ask us.
const probeFresh = time.Second

// States of the service and its parts.
const (
	healthOK          = "ok"
	healthUnavailable = "unavailable"
	healthDegraded    = "degraded" // it works, but not as it should; the log says why
)

// getHealth tells that the process is up, and nothing else.
func (s *Server) getHealth(c echo.Context) error {
	return reply(c, http.StatusOK, api.Health{Status: healthOK, Version: s.versionFor(c)})
}

// getReadiness asks every part, all at once.
func (s *Server) getReadiness(c echo.Context) error {
	health := api.Health{Status: healthOK, Version: s.versionFor(c), Checks: map[string]string{}}
	errs := make([]error, len(s.probes))
	var all sync.WaitGroup
	for i, p := range s.probes {
		all.Go(func() {
			// Somebody who hangs up must not make a part look broken to the next.
			errs[i] = p.ask(context.WithoutCancel(c.Request().Context()), s.times.probe, s.Now())
		})
	}
	all.Wait()
	status := http.StatusOK
	for i, p := range s.probes {
		health.Checks[p.name] = healthOK
		if errs[i] != nil {
			status = http.StatusServiceUnavailable
			health.Status, health.Checks[p.name] = healthUnavailable, healthUnavailable
			s.Logger.Warn("not ready", zap.String("part", p.name), zap.Error(errs[i]))
		}
	}
	for name, check := range s.Uneasy {
		health.Checks[name] = healthOK
		if err := check(c.Request().Context()); err != nil {
			health.Checks[name] = healthDegraded
		}
	}
	return reply(c, status, health)
}

// versionFor tells known clients which version runs. Others it would help to pick
// an attack.
func (s *Server) versionFor(c echo.Context) string {
	if _, err := s.identify(c.Request()); err != nil {
		return ""
	}
	return s.Version
}

// errHangs says that a part does not answer at all.
var errHangs = errors.New("no answer in time")

// probe asks one part whether it works. However many ask, one question at a time
// is under way, so that a part that hangs costs one goroutine.
type probe struct {
	name  string
	check func(context.Context) error

	turn  chan struct{} // held while asking; guards the rest
	asked time.Time
	err   error
}

func newProbes(ready map[string]func(context.Context) error) []*probe {
	var probes []*probe
	for name, check := range ready {
		probes = append(probes, &probe{name: name, check: check, turn: make(chan struct{}, 1)})
	}
	slices.SortFunc(probes, func(a, b *probe) int { return strings.Compare(a.name, b.name) })
	return probes
}

// ask gives the part's word, or errHangs where that takes longer than it may.
func (p *probe) ask(ctx context.Context, patience time.Duration, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		cancel()
		return errHangs
	}
	if age := now.Sub(p.asked); !p.asked.IsZero() && age < probeFresh {
		defer cancel()
		defer func() { <-p.turn }()
		return p.err
	}
	answer := make(chan error, 1)
	go func() {
		defer cancel()
		err := p.check(ctx)
		p.err, p.asked = err, now
		<-p.turn
		answer <- err
	}()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return errHangs
	}
}
