package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// circumstances are those of a run.
type circumstances struct {
	At         time.Time `json:"at"`
	Processors int       `json:"processors"`
	Cards      int       `json:"cards"`
	Clients    int       `json:"connections"`
}

func circumstancesOf(o options) circumstances {
	return circumstances{time.Now().UTC().Truncate(time.Second), runtime.NumCPU(), o.cards, o.clients}
}

func (c circumstances) String() string {
	return fmt.Sprintf("%s, %d processors, %d cards, %d connections", c.At.Format(time.DateOnly), c.Processors, c.Cards, c.Clients)
}

// tier is one line of the table.
type tier struct {
	Name string `json:"name"`
	figures
	// Ratio is its share of the bare loop's best with one process.
	Ratio float64 `json:"of_raw_best"`
	// Busy is how many processors it and what asks it took.
	Busy float64 `json:"processors_busy"`
}

// throughput is how many answers a second there are with more and more of Latchkey
// around the HSM.
type throughput struct {
	circumstances
	Tiers []tier `json:"tiers"`
}

// series is what is measured, each in every round.
type series struct {
	name    string
	measure func(context.Context) (figures, error)
	found   []figures
	raw     bool // one process's bare loop: the best of these is what all are compared with
}

const servedTier = "https, SQLite"

// measureAll is the run that is meant by `make bench`.
func measureAll(ctx context.Context, h *house, o options) ([]finding, error) {
	now := time.Now()
	if err := errors.Join(bulk(ctx, h.path("latchkey.db"), o.cards, now), bulk(ctx, h.path("served.db"), o.cards, now)); err != nil {
		return nil, err
	}
	list := append(inProcess(h, o), &series{name: servedTier, measure: func(ctx context.Context) (figures, error) { return h.served(ctx, o, 1, h.path("served.db"), 0) }})
	if h.postgres != nil {
		where, err := h.postgres.Database(ctx, "bench")
		if err != nil {
			return nil, err
		}
		if err := fill(ctx, where, 0, o.cards, now); err != nil {
			return nil, err
		}
		for _, nodes := range []int{1, 2, 4} {
			list = append(list, &series{
				name:    "https, PostgreSQL, " + plural(nodes, "node"),
				measure: func(ctx context.Context) (figures, error) { return h.served(ctx, o, nodes, where, 0) },
			})
		}
	}
	if _, err := os.Stat(o.openbao); err == nil {
		list = append(list, &series{name: "OpenBao transit, file audit", measure: func(ctx context.Context) (figures, error) { return h.transit(ctx, o) }})
	} else {
		_, _ = fmt.Fprintf(os.Stderr, "bench: without OpenBao, since %s is not there; scripts/openbao builds it\n", o.openbao)
	}
	t := throughput{circumstances: circumstancesOf(o)}
	if err := inTurn(ctx, o.rounds, list); err != nil {
		return nil, err
	}
	var best float64
	for _, s := range list {
		if s.raw {
			best = max(best, middle(s.found, perSecond).PerSecond)
		}
	}
	for _, s := range list {
		f := middle(s.found, perSecond)
		t.Tiers = append(t.Tiers, tier{s.name, f, f.PerSecond / best, f.PerSecond * (f.CPU + f.DatabaseCPU + f.LoadCPU) / 1e6})
	}
	found := []finding{t}
	half, err := measureHalf(ctx, h, o, t)
	if err != nil {
		return nil, err
	}
	slow, err := measureSlow(ctx, h, o)
	if err != nil {
		return nil, err
	}
	rooms, err := measureRooms(ctx, h, o)
	if err != nil {
		return nil, err
	}
	return append(found, half, slow, rooms), nil
}

// inTurn measures each in every round.
func inTurn(ctx context.Context, rounds int, list []*series) error {
	for round := range rounds {
		for _, s := range list {
			_, _ = fmt.Fprintf(os.Stderr, "bench: round %d of %d: %s\n", round+1, rounds, s.name)
			f, err := s.measure(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			s.found = append(s.found, f)
		}
	}
	return nil
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// inProcess are the tiers that need no server.
func inProcess(h *house, o options) (list []*series) {
	for _, threads := range []int{1, 2, 4, 8} {
		list = append(list, &series{name: "raw, " + plural(threads, "thread"), raw: true, measure: func(ctx context.Context) (figures, error) {
			return measure(ctx, h, task{Kind: "raw", Callers: threads, Slice: o.slice, Cards: o.cards})
		}})
	}
	for _, processes := range []int{2, 4} {
		list = append(list, &series{name: fmt.Sprintf("raw, %d processes", processes), measure: func(ctx context.Context) (figures, error) {
			return together(ctx, h, processes, task{Kind: "raw", Callers: 1, Slice: o.slice, Cards: o.cards})
		}})
	}
	for _, processes := range []int{1, 2, 4} {
		list = append(list, &series{name: map[bool]string{true: "signers, 1 process", false: fmt.Sprintf("signers, %d processes", processes)}[processes == 1], measure: func(ctx context.Context) (figures, error) {
			return h.pool(ctx, o, processes)
		}})
	}
	return append(list,
		&series{name: "hsm", measure: func(ctx context.Context) (figures, error) {
			return measure(ctx, h, task{Kind: "hsm", Callers: 8, Slice: o.slice, Cards: o.cards})
		}},
		&series{name: "unblock, SQLite", measure: func(ctx context.Context) (figures, error) {
			return measure(ctx, h, task{Kind: "unblock", Callers: o.clients, Slice: o.slice, Cards: o.cards, Store: h.path("latchkey.db")})
		}},
	)
}

// together has several processes do the same task at the same time, and adds up.
func together(ctx context.Context, h *house, n int, t task) (sum figures, err error) {
	results := make(chan error, n)
	each := make([]figures, n)
	for i := range n {
		go func() {
			var err error
			each[i], err = measure(ctx, h, t)
			results <- err
		}()
	}
	for range n {
		err = errors.Join(err, <-results)
	}
	for _, f := range each {
		sum.PerSecond += f.PerSecond
		sum.P50, sum.P99, sum.P999 = max(sum.P50, f.P50), max(sum.P99, f.P99), max(sum.P999, f.P999)
		sum.CPU, sum.Memory = max(sum.CPU, f.CPU), sum.Memory+f.Memory
	}
	return sum, err
}

// served starts nodes and loads them over HTTPS.
func (h *house) served(ctx context.Context, o options, nodes int, where string, rate float64) (_ figures, err error) {
	l := h.load()
	var running []*node
	defer func() {
		for _, n := range running {
			err = errors.Join(err, n.stop())
		}
	}()
	for i := range nodes {
		n, err := h.serve(ctx, fmt.Sprint("node-", i), where, "")
		if err != nil {
			return figures{}, err
		}
		running = append(running, n)
		l.Addresses, l.ServerPIDs = append(l.Addresses, n.address), append(l.ServerPIDs, n.cmd.Process.Pid)
	}
	if strings.HasPrefix(where, "postgres://") {
		l.DatabasePIDs = family(h.postgres.PID())
	}
	return measure(ctx, h, task{Kind: "load", Callers: o.clients, Slice: o.slice, Cards: o.cards, Rate: rate, Load: l})
}

func perSecond(a, b figures) int { return cmp.Compare(a.PerSecond, b.PerSecond) }

func byP99(a, b figures) int { return cmp.Compare(a.P99, b.P99) }

// middle is the measurement in the middle of an order.
func middle(list []figures, order func(a, b figures) int) figures {
	list = slices.SortedFunc(slices.Values(list), order)
	return list[len(list)/2]
}

func (throughput) name() string { return "throughput" }

func (t throughput) print(w io.Writer) {
	_, _ = fmt.Fprintf(w, "%s; the median of the rounds. Times in microseconds.\n\n", t.circumstances)
	_, _ = fmt.Fprintf(w, "| %-28s | answers/s | of raw |   p50 |    p99 |  p99.9 | CPU | CPU, database | CPU, load | processors | allocations | MiB |\n|%s|\n", "",
		strings.Repeat("-", 30)+"|----------:|-------:|------:|-------:|-------:|----:|--------------:|----------:|-----------:|------------:|----:")
	for _, t := range t.Tiers {
		_, _ = fmt.Fprintf(w, "| %-28s | %9.0f | %6.2f | %5d | %6d | %6d | %3.0f | %13s | %9s | %10.1f | %11s | %3.0f |\n",
			t.Name, t.PerSecond, t.Ratio, t.P50, t.P99, t.P999, t.CPU, some(t.DatabaseCPU), some(t.LoadCPU), t.Busy, some(t.Allocations), t.Memory)
	}
}

// some is a number, or nothing where there is none.
func some(n float64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f", n)
}
