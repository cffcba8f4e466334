package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
)

// halfLoad is how long answers take when half of what can be is asked for, beside the
// bare loop at the same rate.
type halfLoad struct {
	circumstances
	Rate   float64     `json:"rate"`
	Levels []halfLevel `json:"levels"`
}

type halfLevel struct {
	Name string `json:"name"`
	figures
}

func measureHalf(ctx context.Context, h *house, o options, t throughput) (halfLoad, error) {
	i := slices.IndexFunc(t.Tiers, func(t tier) bool { return t.Name == servedTier })
	half := halfLoad{circumstances: circumstancesOf(o), Rate: t.Tiers[i].PerSecond / 2}
	list := []*series{
		{name: "raw, 2 threads", measure: func(ctx context.Context) (figures, error) {
			return measure(ctx, h, task{Kind: "raw", Callers: 2, Slice: o.slice, Cards: o.cards, Rate: half.Rate})
		}},
		{name: "unblock, SQLite", measure: func(ctx context.Context) (figures, error) {
			return measure(ctx, h, task{Kind: "unblock", Callers: o.clients, Slice: o.slice, Cards: o.cards, Store: h.path("latchkey.db"), Rate: half.Rate})
		}},
		{name: servedTier, measure: func(ctx context.Context) (figures, error) {
			return h.served(ctx, o, 1, h.path("served.db"), half.Rate)
		}},
	}
	_, _ = fmt.Fprintln(os.Stderr, "bench: at half load")
	if err := inTurn(ctx, o.rounds, list); err != nil {
		return half, err
	}
	for _, s := range list {
		half.Levels = append(half.Levels, halfLevel{s.name, middle(s.found, byP99)})
	}
	return half, nil
}

func (halfLoad) name() string { return "half-load" }

func (h halfLoad) print(w io.Writer) {
	_, _ = fmt.Fprintf(w, "%s; %.0f answers a second asked for at even intervals, the round of the median p99. Microseconds from when an answer was due.\n\n", h.circumstances, h.Rate)
	_, _ = fmt.Fprint(w, "|                 | answers/s |   p50 |    p99 |  p99.9 | p99 beyond raw |\n|-----------------|----------:|------:|-------:|-------:|---------------:|\n")
	for _, l := range h.Levels {
		_, _ = fmt.Fprintf(w, "| %-15s | %9.0f | %5d | %6d | %6d | %14d |\n", l.Name, l.PerSecond, l.P50, l.P99, l.P999, l.P99-h.Levels[0].P99)
	}
}

func (halfLoad) draw() (*drawing, error) { return nil, nil } //nolint:nilnil // three lines need no plot
