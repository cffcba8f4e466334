package main

import (
	"context"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// figures are what one measurement gives.
type figures struct {
	PerSecond float64 `json:"per_second"`
	// Of the time of one answer, in microseconds.
	P50  int64 `json:"p50_us"`
	P99  int64 `json:"p99_us"`
	P999 int64 `json:"p999_us"`
	// CPU is the processor time of one answer in the process that gives it, in
	// microseconds, of the user and the kernel.
	CPU float64 `json:"cpu_us"`
	// DatabaseCPU is that of PostgreSQL's processes, and LoadCPU that of the process
	// which asks.
	DatabaseCPU float64 `json:"database_cpu_us,omitempty"`
	LoadCPU     float64 `json:"load_cpu_us,omitempty"`
	// Allocations are those of one answer, where they can be counted.
	Allocations float64 `json:"allocations,omitempty"`
	// Memory is the resident memory at the end, in MiB.
	Memory float64 `json:"memory_mib"`
	Wrong  int64   `json:"wrong"` // answers that were none
	// Samples are those of a long run.
	Samples []sample `json:"samples,omitempty"`
}

// longest is the longest time that is told apart, in microseconds.
const longest = 60_000_000

// during has callers answer for a time, each by a function of its own: one after the
// other, or with a rate at even intervals, where an answer's time counts from when it
// was due.
func during(ctx context.Context, t task, answer []func() error) (figures, error) {
	var mu sync.Mutex
	var failed error
	all := hdrhistogram.New(1, longest, 3)
	var before, after runtime.MemStats
	ctx, cancel := context.WithTimeout(ctx, t.Slice)
	defer cancel()
	runtime.ReadMemStats(&before)
	cpu, began := ownCPU(), time.Now()
	due := paced(ctx, t.Rate)
	var wait sync.WaitGroup
	for _, f := range answer {
		wait.Go(func() {
			own := hdrhistogram.New(1, longest, 3)
			defer func() {
				mu.Lock()
				defer mu.Unlock()
				all.Merge(own)
			}()
			for ctx.Err() == nil {
				from, ok := next(ctx, due)
				if !ok {
					return
				}
				if err := f(); err != nil {
					mu.Lock()
					failed = err
					mu.Unlock()
					cancel()
					return
				}
				_ = own.RecordValue(min(time.Since(from).Microseconds(), longest)) // within its bounds
			}
		})
	}
	wait.Wait()
	took, used := time.Since(began), ownCPU()-cpu
	runtime.ReadMemStats(&after)
	n := float64(max(all.TotalCount(), 1))
	f := ofHistogram(all, took)
	f.CPU = float64(used.Microseconds()) / n
	f.Allocations = float64(after.Mallocs-before.Mallocs) / n
	f.Memory = resident("self")
	return f, failed
}

// paced says when answers are due, so many a second; with none they are due at once.
func paced(ctx context.Context, rate float64) <-chan time.Time {
	if rate == 0 {
		return nil
	}
	due := make(chan time.Time, 1_000_000)
	go pace(ctx, rate, due)
	return due
}

func pace(ctx context.Context, rate float64, due chan<- time.Time) {
	began := time.Now()
	for n := 0; ctx.Err() == nil; {
		for at := began.Add(time.Duration(float64(n) / rate * float64(time.Second))); !at.After(time.Now()); n++ {
			select {
			case due <- at:
			default: // the load is hopelessly behind, which its times show
			}
			at = began.Add(time.Duration(float64(n+1) / rate * float64(time.Second)))
		}
		time.Sleep(200 * time.Microsecond)
	}
}

// next waits until an answer is due, and tells since when.
func next(ctx context.Context, due <-chan time.Time) (time.Time, bool) {
	if due == nil {
		return time.Now(), true
	}
	select {
	case at := <-due:
		return at, true
	case <-ctx.Done():
		return time.Time{}, false
	}
}

func ofHistogram(h *hdrhistogram.Histogram, took time.Duration) figures {
	return figures{
		PerSecond: float64(h.TotalCount()) / took.Seconds(),
		P50:       h.ValueAtPercentile(50), P99: h.ValueAtPercentile(99), P999: h.ValueAtPercentile(99.9),
	}
}

// ownCPU is the processor time that this process has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// cpuOf is the processor time that another process has used, of which the kernel
// counts hundredths of a second.
func cpuOf(pid int) time.Duration {
	fields := stat(pid)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	kernel, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+kernel) * 10 * time.Millisecond
}

// cpuOfAll is cpuOf of several processes.
func cpuOfAll(pids []int) (sum time.Duration) {
	for _, pid := range pids {
		sum += cpuOf(pid)
	}
	return sum
}

// family is a process and its children.
func family(parent int) []int {
	list := []int{parent}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if fields := stat(pid); len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
				list = append(list, pid)
			}
		}
	}
	return list
}

// stat is what the kernel says of a process, from its state on.
func stat(pid int) []string {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil
	}
	// The name of the program, which may hold anything, stands in brackets.
	_, rest, _ := strings.Cut(string(text), ") ")
	return strings.Fields(rest)
}

// resident is the resident memory of a process in MiB.
func resident(pid string) float64 {
	text, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.ParseFloat(strings.Fields(value)[0], 64)
			return kib / 1024
		}
	}
	return 0
}
