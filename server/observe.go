package server

import (
	"context"
	"time"

	"github.com/labstack/echo/v4"
)

// Meter counts requests. It is called from many goroutines, so it has to be quick.
type Meter interface {
	// Answered tells of a request that was answered: its route as openapi.yaml has
	// it, "other" where there is none, and the code of the problem that it was
	// answered with, empty where it went well. All of them have few values.
	Answered(route, method, problem string, took time.Duration)
}

// Tracer makes spans of requests.
type Tracer interface {
	// Request begins the span of a request, whose work is to be done with the
	// context that it gives back. parent is the caller's traceparent header as it
	// was sent, empty where there was none; it is text that the caller chose.
	Request(ctx context.Context, parent string, began time.Time) (context.Context, func(Exchange))
}

// Exchange is what there is to know of a request that was answered.
type Exchange struct {
	Route, Method string
	Status        int
	Problem       string // code, empty where it went well
	RequestID     string
	Took          time.Duration
}

// spanned begins the request's span. The caller is known by now: nobody else is
// to make us send spans, or to say what they belong to.
func (s *Server) spanned(c echo.Context, t *trace) {
	if s.Tracer == nil {
		return
	}
	r := c.Request()
	parents := r.Header.Values("Traceparent")
	parent := ""
	if len(parents) == 1 { // W3C Trace Context allows one
		parent = parents[0]
	}
	var ctx context.Context
	ctx, t.span = s.Tracer.Request(r.Context(), parent, t.began)
	c.SetRequest(r.WithContext(ctx))
}
