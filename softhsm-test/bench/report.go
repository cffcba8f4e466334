package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"
)

// tier is one line of the table.
type tier struct {
	Name string `json:"name"`
	figures
	// Ratio is its share of the bare loop's best.
	Ratio float64 `json:"of_raw_best"`
}

type report struct {
	At         time.Time `json:"at"`
	Processors int       `json:"processors"`
	Cards      int       `json:"cards"`
	Clients    int       `json:"connections"`
	Tiers      []tier    `json:"tiers"`
}

// series is what is measured, each in every round.
type series struct {
	name    string
	measure func(context.Context) (figures, error)
	found   []figures
	raw     bool
}

func measureAll(ctx context.Context, h *house, o options) (r report, err error) {
	r = report{At: time.Now().UTC().Truncate(time.Second), Processors: runtime.NumCPU(), Cards: o.cards, Clients: o.clients}
	file := h.path("latchkey.db")
	if err := fill(ctx, file, o.cards); err != nil {
		return r, err
	}
	list := inProcess(h, o, file)
	sqlite, err := h.serve(ctx, "sqlite", h.path("served.db"), "")
	if err != nil {
		return r, err
	}
	if err := sqlite.stop(); err != nil {
		return r, err
	}
	if err := fill(ctx, h.path("served.db"), o.cards); err != nil {
		return r, err
	}
	list = append(list, &series{name: "https, SQLite", measure: func(ctx context.Context) (figures, error) { return h.served(ctx, o, 1, h.path("served.db"), 0) }})
	if h.postgres != nil {
		where, err := h.postgres.Database(ctx, "bench")
		if err != nil {
			return r, err
		}
		if err := fill(ctx, where, o.cards); err != nil {
			return r, err
		}
		for _, nodes := range []int{1, 2, 4} {
			list = append(list, &series{
				name:    fmt.Sprintf("https, PostgreSQL, %d %s", nodes, map[bool]string{true: "node", false: "nodes"}[nodes == 1]),
				measure: func(ctx context.Context) (figures, error) { return h.served(ctx, o, nodes, where, 0) },
			})
		}
	}
	for range o.rounds {
		for _, s := range list {
			f, err := s.measure(ctx)
			if err != nil {
				return r, fmt.Errorf("%s: %w", s.name, err)
			}
			s.found = append(s.found, f)
		}
	}
	var best float64
	for _, s := range list {
		if f := middle(s.found); s.raw {
			best = max(best, f.PerSecond)
		}
	}
	for _, s := range list {
		f := middle(s.found)
		r.Tiers = append(r.Tiers, tier{s.name, f, f.PerSecond / best})
	}
	// Half of what it can do, asked for at even intervals.
	i := slices.IndexFunc(r.Tiers, func(t tier) bool { return t.Name == "https, SQLite" })
	half, err := h.served(ctx, o, 1, h.path("served.db"), r.Tiers[i].PerSecond/2)
	if err != nil {
		return r, err
	}
	r.Tiers = append(r.Tiers, tier{"https, SQLite, half load", half, half.PerSecond / best})
	return r, nil
}

// inProcess are the tiers that need no server.
func inProcess(h *house, o options, file string) (list []*series) {
	for _, threads := range []int{1, 2, 4, 8} {
		list = append(list, &series{name: fmt.Sprintf("raw, %d threads", threads), raw: true, measure: func(ctx context.Context) (figures, error) {
			return measure(ctx, h, task{Kind: "raw", Callers: threads, Slice: o.slice, Cards: o.cards})
		}})
	}
	for _, processes := range []int{2, 4} {
		list = append(list, &series{name: fmt.Sprintf("raw, %d processes", processes), measure: func(ctx context.Context) (figures, error) {
			return together(ctx, h, processes, task{Kind: "raw", Callers: 1, Slice: o.slice, Cards: o.cards})
		}})
	}
	return append(list,
		&series{name: "hsm", measure: func(ctx context.Context) (figures, error) {
			return measure(ctx, h, task{Kind: "hsm", Callers: 8, Slice: o.slice, Cards: o.cards})
		}},
		&series{name: "unblock, SQLite", measure: func(ctx context.Context) (figures, error) {
			return measure(ctx, h, task{Kind: "unblock", Callers: o.clients, Slice: o.slice, Cards: o.cards, Store: file})
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
	var addresses []string
	var pid int
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
		addresses, pid = append(addresses, n.address), n.cmd.Process.Pid
	}
	return measure(ctx, h, task{Kind: "load", Callers: o.clients, Slice: o.slice, Cards: o.cards, Rate: rate, Load: loadTask{
		Addresses: addresses, CA: h.path("ca.pem"), Cert: h.path("client.pem"), Key: h.path("client.key"), ServerPID: pid,
	}})
}

// middle is the measurement of the middle throughput.
func middle(list []figures) figures {
	list = slices.SortedFunc(slices.Values(list), func(a, b figures) int { return cmp.Compare(a.PerSecond, b.PerSecond) })
	return list[len(list)/2]
}

func (r report) print(w io.Writer) {
	_, _ = fmt.Fprintf(w, "%s, %d processors, %d cards, %d connections; the median of the rounds. Times in microseconds.\n\n",
		r.At.Format(time.DateOnly), r.Processors, r.Cards, r.Clients)
	_, _ = fmt.Fprintf(w, "| %-28s | answers/s | of raw |   p50 |    p99 |  p99.9 | CPU | allocations | MiB |\n|%s|\n", "", strings.Repeat("-", 30)+"|----------:|-------:|------:|-------:|-------:|----:|------------:|----:")
	for _, t := range r.Tiers {
		_, _ = fmt.Fprintf(w, "| %-28s | %9.0f | %6.2f | %5d | %6d | %6d | %3.0f | %11.0f | %3.0f |\n",
			t.Name, t.PerSecond, t.Ratio, t.P50, t.P99, t.P999, t.CPU, t.Allocations, t.Memory)
	}
}
