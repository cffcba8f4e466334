// Package retention takes the bodies of old audit entries away and leaves every proof
// as it was: their leaves stay in the tree. What no signed checkpoint is over stays,
// and so does what a sink has not taken yet.
package retention

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"latchkey/audit"
)

// Ledger prunes.
type Ledger interface {
	Prune(ctx context.Context, upTo int64, e audit.Entry) error
	// Cursor is the number of the last entry that a sink took.
	Cursor(ctx context.Context, sink string) (int64, error)
}

// Config is what pruning goes by.
type Config struct {
	Log    audit.Source
	Ledger Ledger
	Keep   time.Duration // how long bodies are kept
	Sinks  []string      // which must have taken them before
	// Trusted tells of a checkpoint whether it is signed by a key that is known.
	Trusted func(audit.Checkpoint) error
	Now     func() time.Time
}

// Plan is what would be pruned: the bodies after From up to To, none where they are
// the same.
type Plan struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
	// Held says what keeps older bodies from being pruned, if anything does.
	Held string `json:"held,omitempty"`
}

// Look tells what would be pruned.
func (c Config) Look(ctx context.Context) (Plan, error) {
	head, err := c.Log.Head(ctx)
	if err != nil {
		return Plan{}, err
	}
	newest, err := c.Log.Newest(ctx)
	if err != nil {
		return Plan{}, err
	}
	p := Plan{From: head.Pruned}
	if p.To, err = c.olderThan(ctx, head, c.Now().Add(-c.Keep)); err != nil {
		return Plan{}, err
	}
	hold := func(upTo int64, why string) {
		if upTo < p.To {
			p.To, p.Held = upTo, why
		}
	}
	switch err := c.Trusted(newest); {
	case newest.Note == "":
		hold(0, "no checkpoint is signed")
	case err != nil:
		hold(0, "the newest checkpoint: "+err.Error())
	default:
		hold(newest.Size, fmt.Sprintf("the newest checkpoint is over %d entries", newest.Size))
	}
	for _, sink := range c.Sinks {
		cursor, err := c.Ledger.Cursor(ctx, sink)
		if err != nil {
			return Plan{}, err
		}
		hold(cursor, fmt.Sprintf("sink %s has taken %d entries", sink, cursor))
	}
	p.To = max(p.To, p.From)
	return p, nil
}

// Prune carries out what Look tells of. The entry says who had it done.
func (c Config) Prune(ctx context.Context, by audit.Entry) (Plan, error) {
	p, err := c.Look(ctx)
	if err != nil || p.From == p.To {
		return p, err
	}
	by.Time, by.Action, by.Outcome = c.Now(), audit.AuditPrune, audit.Permit
	by.Detail = fmt.Sprintf("bodies of entries %d to %d", p.From+1, p.To)
	return p, c.Ledger.Prune(ctx, p.To, by)
}

// olderThan finds the last entry up to which all are older than a moment. It looks at
// each: where a clock was set, entries are not in the order of their times.
func (c Config) olderThan(ctx context.Context, head audit.Head, moment time.Time) (int64, error) {
	const batch = 1000
	for n := head.Pruned; ; {
		rows, err := c.Log.Rows(ctx, n+1, batch)
		if err != nil {
			return n, fmt.Errorf("look for entries to prune: %w", err)
		}
		for _, row := range rows {
			var e audit.Entry
			if err := json.Unmarshal([]byte(row.Text), &e); err != nil {
				return n, fmt.Errorf("look for entries to prune: entry %d: %w", row.Sequence, err)
			}
			if !e.Time.Before(moment) {
				return n, nil
			}
			n = row.Sequence
		}
		if len(rows) == 0 {
			return n, nil
		}
	}
}

// Run prunes from time to time until the context ends. What goes wrong is told of.
func (c Config) Run(ctx context.Context, every time.Duration, tell func(Plan, error)) {
	look := time.NewTicker(every)
	defer look.Stop()
	for {
		if p, err := c.Prune(ctx, audit.Entry{Client: "latchkey"}); ctx.Err() == nil && (err != nil || p.From != p.To) {
			tell(p, err)
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}
