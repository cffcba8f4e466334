package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"go.uber.org/zap"

	"latchkey/config"
	"latchkey/hsm"
	"latchkey/observe"
	"latchkey/server"
	"latchkey/server/console"
	"latchkey/store"
	"latchkey/unblock"
)

// observer watches the rooms at work, as far as the configuration wants it: without
// a listener there are no metrics, without an endpoint no spans.
type observer struct {
	metrics *observe.Metrics // nil where there are none
	l       net.Listener     // nil where there are none
	tracing *observe.Tracing // nil where there are no spans
	log     *zap.Logger
}

// observerOf makes what the configuration wants. The observer has to be closed.
func observerOf(ctx context.Context, c config.Observe, log *zap.Logger) (*observer, error) {
	o := &observer{log: log}
	version := readVersion().Version
	if c.Listen != "" {
		var err error
		if o.l, err = observe.Listen(ctx, c.Listen); err != nil {
			return nil, fmt.Errorf("observe.listen: %w", err)
		}
		o.metrics = observe.NewMetrics(version)
	}
	if c.Tracing.Endpoint != "" {
		var err error
		o.tracing, err = observe.NewTracing(ctx, observe.TracingConfig{
			Endpoint: c.Tracing.Endpoint, CA: c.Tracing.CA, Sample: c.Tracing.Sample, Version: version, Log: log,
		})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("observe.tracing: %w", err), o.close(ctx))
		}
	}
	return o, nil
}

// close sends the spans that wait.
func (o *observer) close(ctx context.Context) error {
	var err error
	if o.l != nil {
		_ = o.l.Close() // Serve closes it too
	}
	if o.tracing != nil {
		ctx, cancel := closing(ctx)
		defer cancel()
		err = o.tracing.Close(ctx)
	}
	return err
}

// calls is who is told of PKCS#11 calls.
func (o *observer) calls() hsm.Observer {
	if o.metrics == nil {
		return nil
	}
	return o.metrics
}

// store has the store tell of its writes.
func (o *observer) store(s *store.Store) {
	if o.metrics != nil {
		s.Observe(o.metrics)
	}
}

// desk makes a desk, with spans of its work and of that of the rooms it asks.
func (o *observer) desk(c unblock.Config) (desk, error) {
	if o.tracing == nil {
		return unblock.New(c)
	}
	c.Cards, c.Policy, c.HSM, c.Ledger = o.tracing.Cards(c.Cards), o.tracing.Policy(c.Policy), o.tracing.HSM(c.HSM), o.tracing.Ledger(c.Ledger)
	d, err := unblock.New(c)
	if err != nil {
		return nil, err
	}
	return o.tracing.Desk(d), nil
}

// desk is what the server and its console want of one.
type desk interface {
	server.Desk
	console.Desk
}

// server has the server tell of its requests.
func (o *observer) server(c *server.Config) {
	if o.metrics != nil {
		c.Meter = o.metrics
	}
	if o.tracing != nil {
		c.Tracer = o.tracing
	}
}

// serve gives out the metrics until it is stopped.
func (o *observer) serve(ctx context.Context, c *config.Config, s *store.Store, g *hsm.Group, web *server.Server, kept *auditLog) (stop func()) {
	if o.metrics == nil {
		return func() {}
	}
	parts := observe.Parts{Tokens: g.Status, Store: s.Status, Load: web.Load, Sinks: kept.streams.Status}
	if told := kept.notify; told != nil {
		parts.Notified, parts.NotifyWaiting = told.Counts, told.Waiting
	}
	for _, k := range c.Clients {
		if k.Operator == "" { // a person's client has a person's name
			parts.Sources = append(parts.Sources, k.Name)
		}
	}
	o.metrics.Watch(parts, o.log)
	o.log.Info("metrics and profiles", zap.Stringer("listen", o.l.Addr()))
	ctx, cancel := context.WithCancel(ctx)
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := o.metrics.Serve(ctx, o.l, o.log); err != nil {
			o.log.Error("metrics are no longer given out", zap.Error(err))
		}
	})
	return func() {
		cancel()
		serving.Wait()
	}
}
