package main

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"latchkey/audit"
	"latchkey/audit/digest"
	"latchkey/audit/notary"
	"latchkey/audit/retention"
	"latchkey/audit/stream"
	"latchkey/config"
	"latchkey/hsm"
	"latchkey/notify"
	"latchkey/store"
)

// pruneEvery is how often a server looks for entries to prune.
const pruneEvery = time.Hour

// auditLog is what looks after the audit log while the server runs.
type auditLog struct {
	notary  *notary.Notary // nil without a key
	streams *stream.Streams
	digest  *digest.Digester
	notify  *notify.Notifier // nil where nobody is told
	stop    func() error
}

// keepLog has the audit log signed, sent on, digested and pruned until stop is called,
// which has to be before the tokens are closed.
func keepLog(ctx context.Context, c *config.Config, s *store.Store, g *hsm.Group, log *zap.Logger) (_ *auditLog, err error) {
	a := &auditLog{digest: &digest.Digester{Log: s.Log(), Ledger: s}}
	works := []func(context.Context){func(ctx context.Context) {
		a.digest.Run(ctx, func(err error) { log.Warn("the audit log could not be digested; searches take longer", zap.Error(err)) })
	}}
	release := func() error { return nil }
	if c.Audit.Key == "" {
		log.Warn("audit.key names no key: the audit log is a tree, but nobody signs it, so whoever can write to the database can make all of it anew")
	} else {
		signer, err := g.Tokens()[0].OpenSigner(ctx, c.Audit.Key, false)
		if errors.Is(err, hsm.ErrKeyUnknown) {
			err = fmt.Errorf("%w; make it with: latchkey audit key %s", err, c.Audit.Key)
		}
		if err != nil {
			return nil, fmt.Errorf("audit.key: %w", err)
		}
		release = func() error {
			ctx, cancel := closing(ctx)
			defer cancel()
			return signer.Close(ctx)
		}
		a.notary, err = notary.New(ctx, notary.Config{
			Log: s.Log(), Ledger: s, Key: signer, Every: c.Audit.CheckpointEvery, After: c.Audit.CheckpointAfter,
			File: c.Audit.CheckpointFile, Logger: log, Now: time.Now,
		})
		if err != nil {
			return nil, errors.Join(err, release())
		}
		works = append(works, a.notary.Run)
		if public, ok := signer.Public().(*ecdsa.PublicKey); ok && c.Audit.Keep > 0 {
			keep := retentionOf(c, s, []*ecdsa.PublicKey{public})
			works = append(works, func(ctx context.Context) {
				keep.Run(ctx, pruneEvery, func(p retention.Plan, err error) {
					log.Info("pruned the audit log", zap.Int64("from", p.From+1), zap.Int64("to", p.To), zap.Error(err))
				})
			})
		}
	}
	var followers []stream.Follower
	if c.Notify != nil {
		if a.notify, err = notifierOf(ctx, c, s, log); err != nil {
			return nil, errors.Join(err, release())
		}
		works = append(works, a.notify.Run)
		followers = append(followers, stream.Follower{Name: notify.Name, Take: a.notify.Take})
	}
	a.streams, err = stream.New(ctx, stream.Config{
		Log: s.Log(), Ledger: s, Sinks: c.Audit.Sinks, Followers: followers, Version: readVersion().Version, Logger: log, Now: time.Now,
	})
	if err != nil {
		return nil, errors.Join(err, release())
	}
	works = append(works, a.streams.Run)

	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var working sync.WaitGroup
	for _, work := range works {
		working.Go(func() { work(ctx) })
	}
	a.stop = func() error {
		cancel()
		working.Wait()
		return release()
	}
	return a, nil
}

func retentionOf(c *config.Config, s *store.Store, keys []*ecdsa.PublicKey) retention.Config {
	r := retention.Config{
		Log: s.Log(), Ledger: s, Keep: c.Audit.Keep, Now: time.Now,
		Trusted: func(c audit.Checkpoint) error {
			_, err := audit.OpenCheckpoint(c.Note, keys)
			return err
		},
	}
	for _, sink := range c.Audit.Sinks {
		r.Sinks = append(r.Sinks, sink.Name)
	}
	if c.Notify != nil {
		r.Sinks = append(r.Sinks, notify.Name)
	}
	return r
}

// auditServed is the audit log as the server shows it to auditors.
type auditServed struct {
	*store.Log
	store *store.Store
	kept  *auditLog
}

func (s auditServed) Append(ctx context.Context, e audit.Entry) error { return s.store.Append(ctx, e) }

func (s auditServed) Sign(ctx context.Context) error {
	if s.kept.notary == nil {
		return nil
	}
	_, err := s.kept.notary.Sign(ctx)
	return err
}

func (s auditServed) Sinks(ctx context.Context) ([]stream.Status, error) {
	return s.kept.streams.Status(ctx)
}
