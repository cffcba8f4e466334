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
	// Allocations are those of one answer, where they can be counted.
	Allocations float64 `json:"allocations,omitempty"`
	// Memory is the resident memory at the end, in MiB.
	Memory float64 `json:"memory_mib"`
	Wrong  int64   `json:"wrong"` // answers that were none
}

// longest is the longest time that is told apart, in microseconds.
const longest = 60_000_000

// during has callers answer for a time, each by a function of its own.
func during(ctx context.Context, d time.Duration, answer []func() error) (figures, error) {
	var mu sync.Mutex
	var failed error
	all := hdrhistogram.New(1, longest, 3)
	var before, after runtime.MemStats
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	runtime.ReadMemStats(&before)
	cpu, began := ownCPU(), time.Now()
	var wait sync.WaitGroup
	for _, f := range answer {
		wait.Go(func() {
			own := hdrhistogram.New(1, longest, 3)
			for ctx.Err() == nil {
				from := time.Now()
				if err := f(); err != nil {
					mu.Lock()
					failed = err
					mu.Unlock()
					cancel()
					return
				}
				_ = own.RecordValue(min(time.Since(from).Microseconds(), longest)) // within its bounds
			}
			mu.Lock()
			defer mu.Unlock()
			all.Merge(own)
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
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	// The name of the program, which may hold anything, stands in brackets.
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	kernel, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+kernel) * 10 * time.Millisecond
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
