// Package stream sends the audit log's entries on as they come: to files, to syslog
// over TLS, to webhooks, and to what follows the log within this program. Each sink goes at its own pace, with a cursor in the store
// that says how far it has come. One that does not answer delays nobody: its entries
// stay in the log and are sent when it is back, in order, each at least once.
package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"go.uber.org/zap"

	"latchkey/audit"
)

// Kinds of sinks.
const (
	File    = "file"
	Syslog  = "syslog"
	Webhook = "webhook"

	// inside is a Follower's.
	inside = "inside"
)

// Formats of entries.
const (
	JSON = "json"
	CEF  = "cef"
)

// Sink is where entries are sent.
type Sink struct {
	Name   string
	Kind   string // File, Syslog or Webhook
	Format string // JSON or CEF
	Path   string // of a File; entries are appended
	// Address is host:port of a Syslog receiver, which speaks TLS (RFC 5425).
	Address string
	URL     string // of a Webhook, https
	// CA, Certificate and Key are PEM files: the CA that the receiver's certificate is
	// of, the system's where it is empty, and what it knows us by, if anything.
	CA, Certificate, Key string
	TokenFile            string // holds the bearer token of a Webhook
}

// Faults says what is wrong with a sink's description.
func (s Sink) Faults() error {
	var faults []error
	fault := func(wrong bool, text string) {
		if wrong {
			faults = append(faults, errors.New(text))
		}
	}
	fault(s.Name == "", "name is missing")
	fault(s.Format != JSON && s.Format != CEF, "format must be json or cef")
	fault((s.Certificate == "") != (s.Key == ""), "certificate and key go together")
	fault(s.Kind != File && s.Path != "", "path is for files")
	fault(s.Kind != Syslog && s.Address != "", "address is for syslog")
	fault(s.Kind != Webhook && (s.URL != "" || s.TokenFile != ""), "url and token_file are for webhooks")
	fault(s.Kind == File && s.CA+s.Certificate != "", "a file takes no certificates")
	switch s.Kind {
	case File:
		fault(s.Path == "", "path is missing")
	case Syslog:
		fault(s.Address == "", "address is missing: host:port of the receiver; 6514 is syslog's over TLS")
	case Webhook:
		u, err := url.Parse(s.URL)
		fault(err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil, "url must be https://..., without a password")
	default:
		fault(true, "kind must be file, syslog or webhook")
	}
	return errors.Join(faults...)
}

// Follower is what follows the log within this program, in the way of a sink. It begins
// with what is logged once it is there, and not with an old log.
type Follower struct {
	Name string // as sinks have one; none may have the same
	// Take takes entries that follow each other. It has to be able to take one again.
	Take func(ctx context.Context, entries []audit.Entry) error
}

// Ledger keeps the cursors.
type Ledger interface {
	// BeginCursor makes a cursor at the log's end for a sink that has none.
	BeginCursor(ctx context.Context, sink string, at time.Time) error
	Cursor(ctx context.Context, sink string) (int64, error)
	MoveCursor(ctx context.Context, sink string, sequence int64, at time.Time) error
}

// Config is what Streams work with.
type Config struct {
	Log       audit.Source
	Ledger    Ledger
	Sinks     []Sink
	Followers []Follower
	Version   string // of this program, which CEF names
	Logger    *zap.Logger
	Now       func() time.Time
}

const (
	atOnce      = 256              // entries
	lookEvery   = time.Second      // for new ones
	sendTimeout = 30 * time.Second // of a batch
	firstWait   = time.Second      // after a failure; doubled at each
	longestWait = time.Minute
)

// Status is how a sink stands.
type Status struct {
	Name  string    `json:"name"`
	Sent  int64     `json:"sent"`            // the last entry that it took
	Lag   int64     `json:"lag"`             // entries that it has not taken
	Error string    `json:"error,omitempty"` // of the last attempt
	Since time.Time `json:"since,omitzero"`  // it fails
}

// Streams sends entries to sinks. It is safe for concurrent use.
type Streams struct {
	Config
	streams []*stream
}

// stream is one sink with how it stands.
type stream struct {
	Sink
	send func(ctx context.Context, entries []message) error

	mu     sync.Mutex
	cursor int64
	failed error
	since  time.Time
}

// message is an entry to be sent.
type message struct {
	audit.Entry
	text string // in the sink's format
}

// New makes Streams. An error says which sink's files cannot be used.
func New(ctx context.Context, c Config) (*Streams, error) {
	s := &Streams{Config: c}
	for _, sink := range c.Sinks {
		one := &stream{Sink: sink}
		var err error
		switch sink.Kind {
		case File:
			one.send = file(sink.Path)
		case Syslog:
			one.send, err = syslog(sink)
		case Webhook:
			one.send, err = webhook(sink)
		}
		if err == nil {
			one.cursor, err = c.Ledger.Cursor(ctx, sink.Name)
		}
		if err != nil {
			return nil, fmt.Errorf("audit sink %s: %w", sink.Name, err)
		}
		s.streams = append(s.streams, one)
	}
	for _, f := range c.Followers {
		one := &stream{Sink: Sink{Name: f.Name, Kind: inside, Format: JSON}, send: f.send}
		err := c.Ledger.BeginCursor(ctx, f.Name, c.Now())
		if err == nil {
			one.cursor, err = c.Ledger.Cursor(ctx, f.Name)
		}
		if err != nil {
			return nil, fmt.Errorf("follow the audit log for %s: %w", f.Name, err)
		}
		s.streams = append(s.streams, one)
	}
	return s, nil
}

func (f Follower) send(ctx context.Context, messages []message) error {
	entries := make([]audit.Entry, len(messages))
	for i, m := range messages {
		entries[i] = m.Entry
	}
	return f.Take(ctx, entries)
}

// Run sends until the context ends.
func (s *Streams) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, one := range s.streams {
		running.Go(func() { s.run(ctx, one) })
	}
	running.Wait()
}

func (s *Streams) run(ctx context.Context, one *stream) {
	wait := firstWait
	for {
		n, err := s.batch(ctx, one)
		one.note(err, s.Now())
		pause := lookEvery
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			s.Logger.Warn("an audit sink does not take entries", zap.String("sink", one.Name), zap.Duration("again_in", wait), zap.Error(err))
			pause, wait = wait, min(2*wait, longestWait)
		case n == atOnce:
			pause, wait = 0, firstWait // there are more
		default:
			wait = firstWait
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// batch sends the next entries, and tells how many there were.
func (s *Streams) batch(ctx context.Context, one *stream) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	// Another node may have sent some meanwhile.
	cursor, err := s.Ledger.Cursor(ctx, one.Name)
	if err != nil {
		return 0, err
	}
	one.at(cursor)
	rows, err := s.Log.Rows(ctx, cursor+1, atOnce)
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	var messages []message
	for _, r := range rows {
		if r.Text == "" { // pruned: somebody had it done although this sink was not there yet
			continue
		}
		m := message{text: r.Text}
		if err := json.Unmarshal([]byte(r.Text), &m.Entry); err != nil {
			// It is sent as it is: whoever tampered with it stops nothing by that.
			s.Logger.Error("an audit entry cannot be read; verify the log", zap.Int64("sequence", r.Sequence))
		} else if one.Format == CEF {
			m.text = asCEF(m.Entry, s.Version)
		}
		m.Sequence = r.Sequence
		messages = append(messages, m)
	}
	if len(messages) != 0 {
		if err := one.send(ctx, messages); err != nil {
			return 0, err
		}
	}
	last := rows[len(rows)-1].Sequence
	if err := s.Ledger.MoveCursor(ctx, one.Name, last, s.Now()); err != nil {
		return 0, err
	}
	one.at(last)
	return len(rows), nil
}

// at notes how far the sink has come.
func (one *stream) at(cursor int64) {
	one.mu.Lock()
	defer one.mu.Unlock()
	one.cursor = cursor
}

func (one *stream) note(err error, now time.Time) {
	one.mu.Lock()
	defer one.mu.Unlock()
	if err != nil && one.failed == nil {
		one.since = now
	}
	if err == nil {
		one.since = time.Time{}
	}
	one.failed = err
}

// Status tells how each sink stands.
func (s *Streams) Status(ctx context.Context) ([]Status, error) {
	head, err := s.Log.Head(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]Status, len(s.streams))
	for i, one := range s.streams {
		one.mu.Lock()
		list[i] = Status{Name: one.Name, Sent: one.cursor, Lag: max(0, head.Size-one.cursor), Since: one.since}
		if one.failed != nil {
			list[i].Error = one.failed.Error()
		}
		one.mu.Unlock()
	}
	return list, nil
}
