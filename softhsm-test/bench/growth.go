package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
	"gonum.org/v1/plot/plotter"
)

// growth is what an answer costs in bigger and bigger fleets.
type growth struct {
	circumstances
	Fleets []fleet `json:"fleets"`
}

type fleet struct {
	Cards int           `json:"cards"`
	MiB   int64         `json:"database_mib"`
	Fill  time.Duration `json:"fill_ns"`
	figures
}

// cardBytes is about what a card takes in a database: its row, the words that it is
// found by and its audit entry; answerBytes what an answer does.
const (
	cardBytes   = 700
	answerBytes = 1000
)

func measureGrowth(ctx context.Context, h *house, o options) ([]finding, error) {
	found := growth{circumstances: circumstancesOf(o)}
	var cards int64
	for _, n := range o.growth {
		cards += int64(n)
	}
	if err := spaceFor(h.dir, "the fleets", cards*cardBytes); err != nil {
		return nil, err
	}
	var list []*series
	for _, n := range o.growth {
		file := h.path(fmt.Sprintf("cards-%d.db", n))
		began := time.Now()
		if err := bulk(ctx, file, n, began); err != nil {
			return nil, err
		}
		info, err := os.Stat(file)
		if err != nil {
			return nil, err
		}
		f := fleet{Cards: n, MiB: info.Size() >> 20, Fill: time.Since(began)}
		_, _ = fmt.Fprintf(os.Stderr, "bench: %d cards, %d MiB, filled in %s\n", n, f.MiB, f.Fill.Round(time.Second/10))
		found.Fleets = append(found.Fleets, f)
		list = append(list, &series{name: plural(n, "card"), measure: func(ctx context.Context) (figures, error) {
			return measure(ctx, h, task{Kind: "unblock", Callers: o.clients, Slice: o.slice, Cards: n, Store: file})
		}})
	}
	if err := inTurn(ctx, o.rounds, list); err != nil {
		return nil, err
	}
	for i, s := range list {
		found.Fleets[i].figures = middle(s.found, perSecond)
	}
	return []finding{found}, nil
}

// spaceFor says how much a run is going to put on the disk, and refuses where that does
// not fit with a fifth to spare.
func spaceFor(dir, what string, bytes int64) error {
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		return err
	}
	free := int64(disk.Bavail) * disk.Bsize //nolint:gosec // no disk is that large
	_, _ = fmt.Fprintf(os.Stderr, "bench: %s take about %.1f GB in %s, where %.1f GB are free; they are taken away at the end\n", what, float64(bytes)/1e9, dir, float64(free)/1e9)
	if bytes+bytes/5 > free {
		return errors.New("the disk has too little room; name another folder with -temp, or smaller numbers")
	}
	return nil
}

func (growth) name() string { return "growth" }

func (g growth) print(w io.Writer) {
	_, _ = fmt.Fprintf(w, "%s, %d processors, %d callers, any of the cards; `unblock` with SQLite, the median of the rounds. Times in microseconds.\n\n", g.At.Format(time.DateOnly), g.Processors, g.Clients)
	_, _ = fmt.Fprint(w, "|      cards | database, MiB | CPU | of the first | answers/s |   p50 |    p99 | MiB |\n|-----------:|--------------:|----:|-------------:|----------:|------:|-------:|----:|\n")
	for _, f := range g.Fleets {
		_, _ = fmt.Fprintf(w, "| %10d | %13d | %3.0f | %12.2f | %9.0f | %5d | %6d | %3.0f |\n", f.Cards, f.MiB, f.CPU, f.CPU/g.Fleets[0].CPU, f.PerSecond, f.P50, f.P99, f.Memory)
	}
}

func (g growth) draw() (*drawing, error) {
	l := line{name: "CPU of an answer"}
	for _, f := range g.Fleets {
		l.points = append(l.points, plotter.XY{X: float64(f.Cards), Y: f.CPU})
	}
	return lines("What an answer costs, by how many cards there are", "cards", "microseconds of processor time", true, l)
}
