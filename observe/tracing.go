package observe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"latchkey/card"
	"latchkey/policy"
	"latchkey/server"
	"latchkey/trust"
	"latchkey/unblock"
)

// TracingConfig says where spans go and how many of them. All fields but CA are
// required.
type TracingConfig struct {
	// Endpoint is an OTLP receiver's URL, as in "https://host:4318/v1/traces".
	Endpoint string
	// CA is a PEM file of the CAs that the receiver's certificate is checked against,
	// empty for the system's.
	CA string
	// Sample is the part of all requests that spans are made of, from 0 to 1.
	Sample  float64
	Version string // of the program
	Log     *zap.Logger
}

// Tracing makes spans and sends them to an OTLP receiver. One that does not take
// them, or not fast enough, costs the spans and nothing else.
type Tracing struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// NewTracing makes a Tracing. The receiver need not be there yet.
func NewTracing(ctx context.Context, c TracingConfig) (*Tracing, error) {
	var authorities *x509.CertPool // the system's
	if c.CA != "" {
		bundle, err := trust.Read(c.CA)
		if err != nil {
			return nil, fmt.Errorf("trace to %s: %w", c.Endpoint, err)
		}
		authorities = bundle.Pool()
	}
	client := &http.Client{
		Timeout:       10 * time.Second,
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authorities}, Proxy: http.ProxyFromEnvironment, IdleConnTimeout: time.Minute},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(c.Endpoint), otlptracehttp.WithHTTPClient(client))
	if err != nil {
		return nil, fmt.Errorf("trace to %s: %w", c.Endpoint, err)
	}
	ratio := sdktrace.TraceIDRatioBased(c.Sample)
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(&reporting{SpanExporter: exporter, log: c.Log}),
		// A client's word that its trace is sampled is not taken: it could have us send
		// a span for each of its calls.
		sdktrace.WithSampler(sdktrace.ParentBased(ratio, sdktrace.WithRemoteParentSampled(ratio))),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "latchkey"), attribute.String("service.version", c.Version))),
	)
	return &Tracing{provider, provider.Tracer("latchkey")}, nil
}

// Close sends the spans that wait, for as long as the context lets it.
func (t *Tracing) Close(ctx context.Context) error {
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("send the last spans: %w", err)
	}
	return nil
}

// reporting puts what an exporter fails with into the log, once a minute at most,
// instead of where OpenTelemetry keeps its errors for the whole process.
type reporting struct {
	sdktrace.SpanExporter
	log  *zap.Logger
	last atomic.Int64
	lost atomic.Int64
}

// ExportSpans implements sdktrace.SpanExporter.
func (r *reporting) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := r.SpanExporter.ExportSpans(ctx, spans)
	if err == nil {
		return nil
	}
	lost := r.lost.Add(int64(len(spans)))
	now, last := time.Now().Unix(), r.last.Load()
	if now-last >= 60 && r.last.CompareAndSwap(last, now) {
		r.log.Warn("spans could not be sent", zap.Int64("lost_so_far", lost), zap.Error(err))
	}
	return nil
}

// traceparentLen is the length of a traceparent of version 00, the only one there is.
const traceparentLen = 55

// Request implements [server.Tracer].
func (t *Tracing) Request(ctx context.Context, parent string, began time.Time) (context.Context, func(server.Exchange)) {
	if len(parent) == traceparentLen {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": parent})
	}
	ctx, span := t.tracer.Start(ctx, "request", trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(began))
	return ctx, func(x server.Exchange) {
		span.SetName(x.Method + " " + x.Route)
		span.SetAttributes(
			attribute.String("http.request.method", x.Method), attribute.String("http.route", x.Route),
			attribute.Int("http.response.status_code", x.Status), attribute.String("latchkey.request_id", x.RequestID),
		)
		if x.Problem != "" {
			span.SetAttributes(attribute.String("latchkey.problem", x.Problem))
		}
		if x.Status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, x.Problem)
		}
		span.End()
	}
}

// start begins a span inside of the one in the context.
func (t *Tracing) start(ctx context.Context, name string, about ...attribute.KeyValue) (context.Context, trace.Span) {
	return t.tracer.Start(ctx, name, trace.WithAttributes(about...))
}

// end ends a span. Of an error it says that there was one and which code it has:
// its text may tell of a card or a person.
func end(span trace.Span, err error) {
	var no *unblock.Refusal
	switch {
	case errors.As(err, &no):
		span.SetAttributes(attribute.String("latchkey.problem", string(no.Code)), attribute.String("latchkey.check", string(no.Check)))
	case errors.Is(err, card.ErrNotFound):
		span.SetAttributes(attribute.Bool("latchkey.found", false))
	case err != nil:
		span.SetStatus(codes.Error, "failed")
	}
	span.End()
}

// Desk is an unblock desk whose work has spans.
type Desk struct {
	*unblock.Desk
	t *Tracing
}

// Desk makes spans of a desk's work.
func (t *Tracing) Desk(d *unblock.Desk) *Desk { return &Desk{d, t} }

// process names a process. Its ID is random and says nothing of anybody.
func process(id string) attribute.KeyValue { return attribute.String("latchkey.process", id) }

// Start implements the desk.
func (d *Desk) Start(ctx context.Context, caller unblock.Caller, b unblock.Begin) (unblock.Opened, error) {
	ctx, span := d.t.start(ctx, "unblock.Start")
	o, err := d.Desk.Start(ctx, caller, b)
	if err == nil {
		span.SetAttributes(process(o.Process.ID))
	}
	end(span, err)
	return o, err
}

// Answer implements the desk.
func (d *Desk) Answer(ctx context.Context, caller unblock.Caller, id string, challenge unblock.Typed) (unblock.Answer, error) {
	ctx, span := d.t.start(ctx, "unblock.Answer")
	a, err := d.Desk.Answer(ctx, caller, id, challenge)
	if err == nil {
		span.SetAttributes(process(a.Process.ID))
	}
	end(span, err)
	return a, err
}

// Respond implements the desk.
func (d *Desk) Respond(ctx context.Context, caller unblock.Caller, b unblock.Begin, challenge unblock.Typed) (unblock.Answer, error) {
	ctx, span := d.t.start(ctx, "unblock.Respond")
	a, err := d.Desk.Respond(ctx, caller, b, challenge)
	if err == nil {
		span.SetAttributes(process(a.Process.ID))
	}
	end(span, err)
	return a, err
}

// Complete implements the desk.
func (d *Desk) Complete(ctx context.Context, caller unblock.Caller, id string, outcome unblock.Outcome) (unblock.Process, error) {
	ctx, span := d.t.start(ctx, "unblock.Complete", attribute.String("latchkey.outcome", string(outcome)))
	p, err := d.Desk.Complete(ctx, caller, id, outcome)
	end(span, err)
	return p, err
}

// Cancel implements the desk.
func (d *Desk) Cancel(ctx context.Context, caller unblock.Caller, id string) (unblock.Process, error) {
	ctx, span := d.t.start(ctx, "unblock.Cancel")
	p, err := d.Desk.Cancel(ctx, caller, id)
	end(span, err)
	return p, err
}

// Cards makes spans of looking up cards.
func (t *Tracing) Cards(c unblock.Cards) unblock.Cards { return &cards{c, t} }

type cards struct {
	unblock.Cards
	t *Tracing
}

func (c *cards) Dossier(ctx context.Context, q unblock.Question) (unblock.Dossier, error) {
	ctx, span := c.t.start(ctx, "store.Dossier")
	found, err := c.Cards.Dossier(ctx, q)
	end(span, err)
	return found, err
}

// Policy makes spans of decisions.
func (t *Tracing) Policy(p unblock.Policy) unblock.Policy { return &decider{p, t} }

type decider struct {
	unblock.Policy
	t *Tracing
}

func (p *decider) Decide(ctx context.Context, r policy.Request) (policy.Decision, error) {
	ctx, span := p.t.start(ctx, "policy.Decide")
	d, err := p.Policy.Decide(ctx, r)
	span.SetAttributes(attribute.Bool("latchkey.allow", d.Allow), attribute.StringSlice("latchkey.policies", d.Policies))
	end(span, err)
	return d, err
}

// HSM makes spans of answers by the HSM.
func (t *Tracing) HSM(h unblock.HSM) unblock.HSM { return &responder{h, t} }

type responder struct {
	unblock.HSM
	t *Tracing
}

func (h *responder) Respond(ctx context.Context, key card.AdminKey, alg card.Algorithm, challenge card.Challenge) (card.Response, error) {
	ctx, span := h.t.start(ctx, "hsm.Respond",
		attribute.String("latchkey.scheme", string(key.Scheme)), attribute.String("latchkey.algorithm", string(alg)))
	response, err := h.HSM.Respond(ctx, key, alg, challenge)
	end(span, err)
	return response, err
}

// Ledger makes spans of durable writes.
func (t *Tracing) Ledger(l unblock.Ledger) unblock.Ledger { return &ledger{l, t} }

type ledger struct {
	unblock.Ledger
	t *Tracing
}

func (l *ledger) Apply(ctx context.Context, c unblock.Change) error {
	ctx, span := l.t.start(ctx, "store.Apply")
	err := l.Ledger.Apply(ctx, c)
	end(span, err)
	return err
}
