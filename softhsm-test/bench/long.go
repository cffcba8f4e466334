package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/miekg/pkcs11"
	"gonum.org/v1/plot/plotter"

	"latchkey/card"
)

// long is what a process holds as it gives more and more answers: with `unblock`, and
// beside it, for a tenth as many answers, with what is below, whose growth is in it.
type long struct {
	circumstances
	Below []longOf `json:"below"`
	longOf
}

type longOf struct {
	Of      string   `json:"of"`
	Samples []sample `json:"samples"`
}

// sample is what a process holds at a moment, and what answers took since the one
// before.
type sample struct {
	Answers     int64   `json:"answers"`
	Seconds     float64 `json:"seconds"`
	PerSecond   float64 `json:"per_second"`
	CPU         float64 `json:"cpu_us"`
	P99         int64   `json:"p99_us"`
	Resident    float64 `json:"resident_mib"`
	Heap        float64 `json:"live_heap_mib"`
	Goroutines  int     `json:"goroutines"`
	Descriptors int     `json:"descriptors"`
	Sessions    uint    `json:"hsm_sessions"`
	Objects     int     `json:"hsm_objects"`
	DatabaseMiB int64   `json:"database_mib"`
}

// samples is how many are taken.
const samples = 40

func measureLong(ctx context.Context, h *house, o options) ([]finding, error) {
	if err := spaceFor(h.dir, plural(int(o.long), "answer"), o.long*answerBytes); err != nil {
		return nil, err
	}
	_, _ = fmt.Fprintln(os.Stderr, "bench: at some 8,000 answers a second; interrupt it to see what there is until then")
	file := h.path("latchkey.db")
	if err := bulk(ctx, file, o.cards, time.Now()); err != nil {
		return nil, err
	}
	found := long{circumstances: circumstancesOf(o)}
	for _, of := range []string{"raw", "hsm", "unblock"} {
		t := task{Kind: "long", Of: of, Callers: o.clients, Cards: o.cards, Store: file, Answers: o.long}
		if of != "unblock" {
			t.Callers, t.Answers = sessions, max(o.long/10, 2)
		}
		// It is asked to stop, not ended: what it has found until then is wanted.
		cmd, out, err := start(context.WithoutCancel(ctx), h, t, nil)
		if err != nil {
			return nil, err
		}
		stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGINT) })
		f, err := finish(cmd, out)
		stop()
		if err != nil {
			return nil, err
		}
		if len(f.Samples) < 2 {
			return nil, errors.New("it was over before there was anything to compare")
		}
		found.Below = append(found.Below, longOf{of, f.Samples})
	}
	found.Below, found.longOf = found.Below[:2], found.Below[2]
	return []finding{found}, nil
}

// steady gives each caller what it does again and again, of which room it is that is
// looked at, and what is to be closed in the end.
func steady(ctx context.Context, t task) (answers []func() error, done func() error, err error) {
	switch t.Of {
	case "raw":
		answers, err := rawAnswers(t)
		return answers, func() error { return nil }, err
	case "hsm":
		token, err := openToken(ctx, t)
		if err != nil {
			return nil, nil, err
		}
		return repeat(t.Callers, func() error {
			_, err := token.Respond(ctx, keyOf(rand.IntN(t.Cards)), card.AESECB, make(card.Challenge, 16)) //nolint:gosec // any card will do
			if ctx.Err() != nil {
				return nil // its time is over
			}
			return err
		}), func() error { return token.Close(context.WithoutCancel(ctx)) }, nil
	}
	d, err := openDesk(ctx, t)
	if err != nil {
		return nil, nil, err
	}
	return repeat(t.Callers, func() error { return d.answer(ctx, t.Cards) }), func() error { return d.close(ctx) }, nil
}

// longTier answers so many times, and looks now and then at what it holds.
func longTier(ctx context.Context, t task) (f figures, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	answers, done, err := steady(ctx, t)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, done()) }()
	look, err := newLook(t)
	if err != nil {
		return f, err
	}
	var given atomic.Int64
	var mu sync.Mutex
	var failed error
	times := hdrhistogram.New(1, longest, 3)
	var wait sync.WaitGroup
	for _, answer := range answers {
		wait.Go(func() {
			for ctx.Err() == nil && given.Add(1) <= t.Answers {
				from := time.Now()
				err := answer()
				mu.Lock()
				failed = errors.Join(failed, err)
				_ = times.RecordValue(min(time.Since(from).Microseconds(), longest)) // within its bounds
				mu.Unlock()
				if err != nil {
					stop()
				}
			}
		})
	}
	over := make(chan struct{})
	go func() { wait.Wait(); close(over) }()
	began, last, cpu := time.Now(), sample{}, ownCPU()
	every := max(1, t.Answers/samples)
	for ended := false; !ended; {
		select {
		case <-over:
			ended = true
		case <-time.After(10 * time.Millisecond):
		}
		n := min(given.Load(), t.Answers)
		if n < last.Answers+every && !ended || n == last.Answers {
			continue
		}
		s, err := look.at(t)
		if err != nil {
			stop()
			<-over
			return f, err
		}
		now := ownCPU()
		s.Answers, s.Seconds = n, time.Since(began).Seconds()
		s.PerSecond = float64(n-last.Answers) / (s.Seconds - last.Seconds)
		s.CPU = float64((now - cpu).Microseconds()) / float64(n-last.Answers)
		mu.Lock()
		s.P99 = times.ValueAtPercentile(99)
		times.Reset()
		mu.Unlock()
		cpu, last = now, s
		f.Samples = append(f.Samples, s)
		_, _ = fmt.Fprintf(os.Stderr, "bench: %s: %d answers in %.0f s, %.0f a second now, %.0f MiB resident, database %d MiB\n", t.Of, n, s.Seconds, s.PerSecond, s.Resident, s.DatabaseMiB)
	}
	return f, failed
}

// look looks at the token from a session of its own.
type look struct {
	ctx     *pkcs11.Ctx
	session pkcs11.SessionHandle
	slot    uint
}

func newLook(t task) (l look, err error) {
	// The library was initialised by hsm, which has logged in.
	if l.ctx = pkcs11.New(t.Module); l.ctx == nil {
		return l, fmt.Errorf("load %s", t.Module)
	}
	slots, err := l.ctx.GetSlotList(true)
	if err != nil {
		return l, err
	}
	for _, l.slot = range slots {
		if info, err := l.ctx.GetTokenInfo(l.slot); err == nil && info.Label == t.Token {
			l.session, err = l.ctx.OpenSession(l.slot, pkcs11.CKF_SERIAL_SESSION)
			return l, err
		}
	}
	return l, fmt.Errorf("no token %s", t.Token)
}

func (l look) at(t task) (s sample, err error) {
	info, err := l.ctx.GetTokenInfo(l.slot)
	if err != nil {
		return s, err
	}
	s.Sessions = info.SessionCount
	if err := l.ctx.FindObjectsInit(l.session, nil); err != nil {
		return s, err
	}
	objects, _, err := l.ctx.FindObjects(l.session, 1000)
	if err := errors.Join(err, l.ctx.FindObjectsFinal(l.session)); err != nil {
		return s, err
	}
	s.Objects = len(objects)
	descriptors, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return s, err
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	file, err := os.Stat(t.Store)
	if err != nil {
		return s, err
	}
	s.Descriptors, s.Goroutines = len(descriptors), runtime.NumGoroutine()
	s.Resident, s.Heap = resident("self"), float64(live[0].Value.Uint64())/(1<<20)
	s.DatabaseMiB = file.Size() >> 20
	return s, nil
}

func (long) name() string { return "long" }

// settled are the samples without the first tenth, in which caches fill.
func (l longOf) settled() []sample { return l.Samples[min(len(l.Samples)/10, len(l.Samples)-2):] }

// slope is by how much something grows in a million answers, by least squares.
func (l longOf) slope(of func(sample) float64) float64 {
	var n, sx, sy, sxx, sxy float64
	for _, s := range l.settled() {
		x, y := float64(s.Answers)/1e6, of(s)
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	return (n*sxy - sx*sy) / (n*sxx - sx*sx)
}

func (l long) print(w io.Writer) {
	last := l.Samples[len(l.Samples)-1]
	_, _ = fmt.Fprintf(w, "%s; `unblock` with SQLite and the HSM in one process, %d answers in %.0f s.\n\n", l.circumstances, last.Answers, last.Seconds)
	_, _ = fmt.Fprint(w, "| answers    | resident, MiB | live heap, MiB | goroutines | descriptors | HSM sessions | HSM objects | CPU | p99    | answers/s | database, MiB |\n|-----------:|--------------:|---------------:|-----------:|------------:|-------------:|------------:|----:|-------:|----------:|--------------:|\n")
	for i, s := range l.Samples {
		if i%max(1, len(l.Samples)/10) == 0 || i == len(l.Samples)-1 {
			_, _ = fmt.Fprintf(w, "| %10d | %13.1f | %14.1f | %10d | %11d | %12s | %11d | %3.0f | %6d | %9.0f | %13d |\n",
				s.Answers, s.Resident, s.Heap, s.Goroutines, s.Descriptors, sessionsOf(s), s.Objects, s.CPU, s.P99, s.PerSecond, s.DatabaseMiB)
		}
	}
	_, _ = fmt.Fprint(w, "\nGrowth in a million answers, once the first tenth is over:\n\n| of        |   answers | resident, MiB | live heap, MiB | goroutines | descriptors | HSM objects |\n|-----------|----------:|--------------:|---------------:|-----------:|------------:|------------:|\n")
	for _, of := range append(l.Below, l.longOf) {
		_, _ = fmt.Fprintf(w, "| %-9s | %9d |", "`"+of.Of+"`", of.Samples[len(of.Samples)-1].Answers)
		for _, value := range []func(sample) float64{
			func(s sample) float64 { return s.Resident }, func(s sample) float64 { return s.Heap },
			func(s sample) float64 { return float64(s.Goroutines) }, func(s sample) float64 { return float64(s.Descriptors) }, func(s sample) float64 { return float64(s.Objects) },
		} {
			_, _ = fmt.Fprintf(w, " %.2f |", of.slope(value))
		}
		_, _ = fmt.Fprintln(w)
	}
}

// sessionsOf is how many sessions the token says are open, where it says it.
func sessionsOf(s sample) string {
	if s.Sessions == pkcs11.CK_UNAVAILABLE_INFORMATION {
		return ""
	}
	return fmt.Sprint(s.Sessions)
}

func (l long) draw() (*drawing, error) {
	resident, heap := line{name: "resident"}, line{name: "live heap"}
	for _, s := range l.Samples {
		x := float64(s.Answers) / 1e6
		resident.points, heap.points = append(resident.points, plotter.XY{X: x, Y: s.Resident}), append(heap.points, plotter.XY{X: x, Y: s.Heap})
	}
	return lines("Memory of a process that answers", "million answers", "MiB", false, resident, heap)
}
