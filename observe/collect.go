package observe

import (
	"context"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"latchkey/audit/stream"
	"latchkey/hsm"
	"latchkey/notify"
	"latchkey/server"
	"latchkey/store"
)

// Parts are asked how they stand each time somebody asks for metrics. All but those of
// notifications are required.
type Parts struct {
	Tokens func() []hsm.Status
	Store  func(ctx context.Context) (store.Status, error)
	Load   func() []server.Load
	Sinks  func(ctx context.Context) ([]stream.Status, error)
	// Notified tells what became of notifications, and NotifyWaiting what waits, by channel;
	// nil where nobody is told.
	Notified      func() map[string]notify.Count
	NotifyWaiting func(ctx context.Context) (map[string]notify.Waiting, error)
	// Sources are the names of sources of card data that may be told of. Others are
	// told of as "other": a name that is not from the configuration may be anything.
	Sources []string
}

// Watch adds the metrics of parts that are asked.
func (m *Metrics) Watch(p Parts, log *zap.Logger) {
	m.registry.MustRegister(&collector{p, log})
}

// collector asks the parts.
type collector struct {
	Parts
	log *zap.Logger
}

// askTimeout is how long the store may take to tell how it stands.
const askTimeout = 5 * time.Second

// What the collector tells, and with which labels.
var (
	ofToken = []string{"token", "serial"}

	sessions        = describe("hsm_sessions", "Sessions that answers can have.", ofToken...)
	busySessions    = describe("hsm_sessions_busy", "Sessions that are at work.", ofToken...)
	waitingJobs     = describe("hsm_jobs_waiting", "Answers and other work that wait for a session.", ofToken...)
	hangingCalls    = describe("hsm_calls_hanging", "Calls that were given up and have not come back.", ofToken...)
	tokenDown       = describe("hsm_down", "1 while the circuit is open: calls are refused at once.", ofToken...)
	pinRefused      = describe("hsm_pin_refused", "1 while the token has refused its PIN, which is not tried again.", ofToken...)
	retries         = describe("hsm_retries_total", "Calls that were tried once more.", ofToken...)
	outages         = describe("hsm_outages_total", "How often the circuit was opened.", ofToken...)
	recoveries      = describe("hsm_recoveries_total", "How often it was closed again.", ofToken...)
	initialisations = describe("hsm_module_initialisations_total", "How often the token's module was finalised and initialised anew.", ofToken...)

	inProgress = describe("requests_in_progress", "Requests in progress, waiting and working.", "gate")
	places     = describe("requests_places", "How many requests may be in progress; it falls when answers are slow.", "gate")

	storeReadable = describe("store_readable", "1 where the store could be asked.")
	waitingWrites = describe("store_writes_waiting", "Writes that wait for the writer.")
	logSize       = describe("audit_log_size", "Entries that the audit log has had.")
	checkpointed  = describe("audit_checkpoint_timestamp_seconds", "When the audit log's newest checkpoint was signed.")
	signedSize    = describe("audit_log_signed_size", "Entries that the newest checkpoint is over.")
	sinkLag       = describe("audit_sink_lag", "Entries that a sink has not taken yet.", "sink")
	sinkFailing   = describe("audit_sink_failing_timestamp_seconds", "Since when a sink takes nothing, 0 where it does.", "sink")

	notified      = describe("notifications_total", "Tries to send a notification, by what became of them: sent, failed, or given_up, which failed for the last time.", "channel", "outcome")
	notifyWaiting = describe("notifications_waiting", "Notifications that wait to be sent.", "channel")
	notifyOldest  = describe("notifications_oldest_timestamp_seconds", "When that happened which the oldest waiting notification tells of.", "channel")
	synced        = describe("cards_synced_timestamp_seconds", "When a source confirmed a card last.", "source")
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("latchkey_"+name, help, labels, nil)
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		sessions, busySessions, waitingJobs, hangingCalls, tokenDown, pinRefused, retries, outages, recoveries, initialisations,
		inProgress, places, storeReadable, waitingWrites, logSize, checkpointed, signedSize, sinkLag, sinkFailing, synced,
		notified, notifyWaiting, notifyOldest,
	} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	for _, t := range c.Tokens() {
		of := []string{t.Label, t.Serial}
		gauge(sessions, float64(t.Sessions), of...)
		gauge(busySessions, float64(t.Busy), of...)
		gauge(waitingJobs, float64(t.Waiting), of...)
		gauge(hangingCalls, float64(t.Hanging), of...)
		gauge(tokenDown, truth(t.Down), of...)
		gauge(pinRefused, truth(t.PINRefused), of...)
		counter(retries, t.Retries, of...)
		counter(outages, t.Outages, of...)
		counter(recoveries, t.Recoveries, of...)
		counter(initialisations, t.Initialisations, of...)
	}
	for _, l := range c.Load() {
		gauge(inProgress, float64(l.InProgress), l.Gate)
		gauge(places, float64(l.Places), l.Gate)
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	c.collectSinks(ctx, gauge)
	c.notifications(ctx, counter, gauge)
	s, err := c.Store(ctx)
	gauge(storeReadable, truth(err == nil))
	gauge(waitingWrites, float64(s.Waiting))
	if err != nil {
		c.log.Warn("metrics: the store was asked how it stands", zap.Error(err))
	} else {
		gauge(logSize, float64(s.LogSize))
		if !s.Signed.IsZero() {
			gauge(checkpointed, seconds(s.Signed))
			gauge(signedSize, float64(s.SignedSize))
		}
		for source, at := range c.bySource(s.Synced) {
			gauge(synced, seconds(at), source)
		}
	}
}

// collectSinks tells how far each sink of the audit log has come.
func (c *collector) collectSinks(ctx context.Context, gauge func(*prometheus.Desc, float64, ...string)) {
	sinks, err := c.Sinks(ctx)
	if err != nil {
		c.log.Warn("metrics: the audit log's sinks were asked how they stand", zap.Error(err))
		return
	}
	for _, s := range sinks {
		gauge(sinkLag, float64(s.Lag), s.Name)
		since := 0.0
		if !s.Since.IsZero() {
			since = seconds(s.Since)
		}
		gauge(sinkFailing, since, s.Name)
	}
}

// notifications tells of those, where anybody is told.
func (c *collector) notifications(ctx context.Context, counter func(*prometheus.Desc, uint64, ...string), gauge func(*prometheus.Desc, float64, ...string)) {
	if c.Notified == nil {
		return
	}
	for channel, n := range c.Notified() {
		counter(notified, n.Sent, channel, "sent")
		counter(notified, n.Failed-n.GivenUp, channel, "failed")
		counter(notified, n.GivenUp, channel, "given_up")
	}
	waiting, err := c.NotifyWaiting(ctx)
	if err != nil {
		c.log.Warn("metrics: it was asked which notifications wait", zap.Error(err))
		return
	}
	for channel, w := range waiting {
		gauge(notifyWaiting, float64(w.Messages), channel)
		if !w.Oldest.IsZero() {
			gauge(notifyOldest, seconds(w.Oldest), channel)
		}
	}
}

// bySource is the newest confirmation of each source that may be told of.
func (c *collector) bySource(all map[string]time.Time) map[string]time.Time {
	told := make(map[string]time.Time)
	for source, at := range all {
		if !slices.Contains(c.Sources, source) {
			source = "other"
		}
		if at.After(told[source]) {
			told[source] = at
		}
	}
	return told
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
