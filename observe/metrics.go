package observe

import (
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"latchkey/hsm"
	"latchkey/server"
	"latchkey/store"
)

// Metrics counts and measures, in a registry of its own. It is safe for concurrent
// use.
type Metrics struct {
	registry *prometheus.Registry

	requests  *cached[request, exchanges]
	calls     *cached[call, prometheus.Observer]
	entries   *cached[store.Logged, prometheus.Counter]
	commits   prometheus.Histogram
	batches   prometheus.Histogram
	failures  prometheus.Counter
	durations *prometheus.HistogramVec
	counts    *prometheus.CounterVec
}

var (
	_ hsm.Observer   = (*Metrics)(nil)
	_ store.Observer = (*Metrics)(nil)
	_ server.Meter   = (*Metrics)(nil)
)

// request and call are the labels of what is counted most often.
type (
	request struct{ route, method, problem string }
	call    struct {
		function string
		code     uint
	}
)

// exchanges are the two metrics that a request goes into.
type exchanges struct {
	count prometheus.Counter
	took  prometheus.Observer
}

// NewMetrics makes metrics that count nothing yet. The version is that of the
// program.
func NewMetrics(version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		counts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "latchkey_http_requests_total",
			Help: "Requests that were answered, by route, method and the code of the problem, empty where there was none.",
		}, []string{"route", "method", "problem"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "latchkey_http_request_duration_seconds",
			Help:    "Time from a request's header to its answer. Those that were turned away are not in it.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"route", "method"}),
		commits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "latchkey_store_commit_duration_seconds",
			Help:    "Time of a transaction, to disk.",
			Buckets: []float64{.00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5},
		}),
		batches: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "latchkey_store_commit_writes",
			Help:    "How many writes shared a transaction.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 9),
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "latchkey_store_commit_failures_total",
			Help: "Transactions that failed, with every write in them.",
		}),
	}
	calls := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "latchkey_hsm_call_duration_seconds",
		Help:    "Time of a PKCS#11 call, by function and by the CKR_ code that it came back with.",
		Buckets: []float64{.00001, .000025, .00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5},
	}, []string{"function", "code"})
	entries := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "latchkey_audit_entries_total",
		Help: "Entries of the audit log that are on disk, by action, outcome and the code of a refusal.",
	}, []string{"action", "outcome", "code"})
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "latchkey_build_info", Help: "1, with the version that runs.", ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	m.registry.MustRegister(m.counts, m.durations, m.commits, m.batches, m.failures, calls, entries, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	m.requests = newCached(func(r request) exchanges {
		return exchanges{m.counts.WithLabelValues(r.route, r.method, r.problem), m.durations.WithLabelValues(r.route, r.method)}
	})
	m.calls = newCached(func(c call) prometheus.Observer {
		return calls.WithLabelValues(c.function, hsm.CodeName(c.code))
	})
	m.entries = newCached(func(e store.Logged) prometheus.Counter {
		return entries.WithLabelValues(string(e.Action), string(e.Outcome), e.Code)
	})
	return m
}

// Answered implements [server.Meter].
func (m *Metrics) Answered(route, method, problem string, took time.Duration) {
	x := m.requests.get(request{route, method, problem})
	x.count.Inc()
	if problem != server.Overloaded {
		x.took.Observe(took.Seconds())
	}
}

// Called implements [hsm.Observer].
func (m *Metrics) Called(function string, code uint, took time.Duration) {
	m.calls.get(call{function, code}).Observe(took.Seconds())
}

// Committed implements [store.Observer].
func (m *Metrics) Committed(writes int, took time.Duration, entries []store.Logged, err error) {
	if err != nil {
		m.failures.Inc()
	}
	m.commits.Observe(took.Seconds())
	m.batches.Observe(float64(writes))
	for _, e := range entries {
		m.entries.get(e).Inc()
	}
}

// Handler gives the metrics to whoever asks for them.
func (m *Metrics) Handler(log *zap.Logger) http.Handler {
	// What cannot be collected is left out, and the rest is told all the same.
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, ErrorLog: complaints{log}, MaxRequestsInFlight: 4})
}

// complaints is where promhttp writes what went wrong.
type complaints struct{ log *zap.Logger }

// Println implements promhttp.Logger.
func (c complaints) Println(v ...any) { c.log.Warn("metrics", zap.Any("error", v)) }

// cached finds the metric of some labels without making strings of them, or a
// lock, in the path of an answer.
type cached[K comparable, V any] struct {
	make func(K) V
	mu   sync.Mutex
	all  atomic.Pointer[map[K]V]
}

// maxCached bounds what a cached keeps. There are fewer combinations; a module that
// makes up a code for each call shall fill no memory.
const maxCached = 4096

func newCached[K comparable, V any](make func(K) V) *cached[K, V] {
	c := &cached[K, V]{make: make}
	c.all.Store(&map[K]V{})
	return c
}

func (c *cached[K, V]) get(k K) V {
	if v, ok := (*c.all.Load())[k]; ok {
		return v
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	all := *c.all.Load()
	if v, ok := all[k]; ok {
		return v
	}
	v := c.make(k)
	if len(all) < maxCached {
		all = maps.Clone(all)
		all[k] = v
		c.all.Store(&all)
	}
	return v
}
