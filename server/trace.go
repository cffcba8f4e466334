package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"latchkey/dualcontrol"
	"latchkey/unblock"
)

// requestIDHeader carries a request's ID, both ways.
const requestIDHeader = "X-Request-Id"

// trace is what is found out about one request on its way, for the answer, the
// audit log and the access log.
type trace struct {
	requestID string
	address   string
	route     string // the pattern, never the path itself
	party     *party // nil until the caller is known
	problem   string // the code that was answered
	cause     error  // what our own log is to know of it
	began     time.Time
	span      func(Exchange) // ends the request\'s span; nil where there is none
}

type traceKey struct{}

// traceOf is the request's trace. Every request has one: see Server.traced.
func traceOf(ctx context.Context) *trace {
	t, _ := ctx.Value(traceKey{}).(*trace)
	if t == nil {
		t = &trace{}
	}
	return t
}

// CallerOf tells who calls, or false where the caller is not known. It is for
// handlers that the server mounts, such as the console.
func CallerOf(r *http.Request) (unblock.Caller, bool) {
	t := traceOf(r.Context())
	if t.party == nil {
		return unblock.Caller{RequestID: t.requestID, Address: t.address}, false
	}
	return t.caller(), true
}

// Report puts the error that a mounted handler answered with into the access log.
func Report(r *http.Request, err error) { traceOf(r.Context()).note(err) }

func (t *trace) caller() unblock.Caller {
	return unblock.Caller{
		Client: t.party.name, Operator: t.party.person, Means: t.party.means, NamesOperators: t.party.namesOperators,
		Address: t.address, RequestID: t.requestID,
	}
}

// note keeps the code of an error, and of its text only what is meant for our log:
// the details for callers can hold what they typed.
func (t *trace) note(err error) {
	var ours *refusal
	var desk *unblock.Refusal
	var office *dualcontrol.Refusal
	var routing *echo.HTTPError
	switch {
	case errors.As(err, &ours):
		t.problem, t.cause = ours.code, ours.cause
	case errors.As(err, &desk):
		t.problem, t.cause = string(desk.Code), desk.Unwrap()
	case errors.As(err, &office):
		t.problem, t.cause = string(office.Code), office.Unwrap()
	case errors.As(err, &routing):
		t.problem = document(err, "").Code
	default:
		t.problem, t.cause = codeInternal, err
	}
}

// traced is around everything else: it gives the request its ID, catches panics,
// answers errors with problem documents and writes the access log.
func (s *Server) traced(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		t := &trace{requestID: requestID(r.Header), address: c.RealIP(), began: s.Now()}
		r = r.WithContext(context.WithValue(r.Context(), traceKey{}, t))
		// Routes are found by the path as it was sent, so that a serial number with a
		// slash in it, as %2F, stays one segment and is decoded once.
		r.URL.RawPath = r.URL.EscapedPath()
		c.SetRequest(r)

		h := c.Response().Header()
		h.Set(requestIDHeader, t.requestID)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")

		err := caught(c, next)
		begun := c.Response().Committed
		if err != nil {
			t.note(err)
			s.turnedAway(t, err)
			if !begun {
				answerProblem(c, err)
			}
		}
		s.tell(c, t)
		if err != nil && begun {
			// Part of an answer is out already: the client must not take it for the whole.
			panic(http.ErrAbortHandler)
		}
		return nil
	}
}

// caught makes an error of a panic, so that it is answered and logged like others.
func caught(c echo.Context, next echo.HandlerFunc) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return next(c)
}

// requestID takes the caller's ID if it can do no harm in logs, and else makes one.
func requestID(h http.Header) string {
	id := h.Get(requestIDHeader)
	if id == "" || len(id) > 64 {
		return uuid.NewString()
	}
	for _, b := range []byte(id) {
		switch {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', b == '.', b == '_', b == '-':
		default:
			return uuid.NewString()
		}
	}
	return id
}

// tell tells the log, the meter and the tracer of a request that was answered.
func (s *Server) tell(c echo.Context, t *trace) {
	x := Exchange{
		Route: cmp.Or(t.route, "other"), Method: method(c.Request()), Status: c.Response().Status, Problem: t.problem,
		RequestID: t.requestID, Took: s.Now().Sub(t.began),
	}
	s.log(c, t, x.Took)
	if s.Meter != nil {
		s.Meter.Answered(x.Route, x.Method, x.Problem, x.Took)
	}
	if t.span != nil {
		t.span(x)
	}
}

// log writes the access log's line. What it holds is written out here, so that it
// can be seen to hold no body, no query and no header but the request's ID.
func (s *Server) log(c echo.Context, t *trace, latency time.Duration) {
	level := zapcore.InfoLevel
	switch status := c.Response().Status; {
	case t.problem == codeOverloaded: // the gate tells of all of them at once
		level = zapcore.DebugLevel
	case status >= http.StatusInternalServerError:
		level = zapcore.ErrorLevel
	case t.party == nil && status == http.StatusOK: // probes, and whoever reads the description
		level = zapcore.DebugLevel
	}
	fields := []zap.Field{
		zap.String("method", method(c.Request())),
		zap.String("route", t.route),
		zap.Int("status", c.Response().Status),
		zap.Duration("latency", latency),
		zap.String("request_id", t.requestID),
		zap.String("address", t.address),
	}
	if t.party != nil {
		fields = append(fields, zap.String("client", t.party.name))
	}
	if t.problem != "" {
		fields = append(fields, zap.String("problem", t.problem))
	}
	if t.cause != nil {
		fields = append(fields, zap.NamedError("cause", t.cause))
	}
	s.Logger.Log(level, "request", fields...)
}

// method is the request's method, where it is one that exists.
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return r.Method
	}
	return "other"
}
