package stream_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"latchkey/audit"
	"latchkey/audit/stream"
	"latchkey/store"
)

func newStore(t *testing.T, entries int) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "latchkey.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	add(t, s, 1, entries)
	return s
}

func add(t *testing.T, s *store.Store, from, to int) {
	t.Helper()
	for i := from; i <= to; i++ {
		err := s.Append(t.Context(), audit.Entry{
			Time: time.Now(), Action: audit.UnblockRespond, Outcome: audit.Deny, Client: "idm", Operator: "Zoë|=\\", Card: fmt.Sprint("card-", i),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// start runs streams until stop is called.
func start(t *testing.T, s *store.Store, sinks ...stream.Sink) (running *stream.Streams, stop func()) {
	t.Helper()
	for _, sink := range sinks {
		if err := sink.Faults(); err != nil {
			t.Fatal(err)
		}
	}
	running, err := stream.New(t.Context(), stream.Config{Log: s.Log(), Ledger: s, Sinks: sinks, Version: "1|0", Logger: zap.NewNop(), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { running.Run(ctx); close(ended) }()
	stop = sync.OnceFunc(func() { cancel(); <-ended })
	t.Cleanup(stop)
	return running, stop
}

// until waits for a sink to have taken entries up to a number.
func until(t *testing.T, running *stream.Streams, sink string, sent int64) {
	t.Helper()
	for {
		list, err := running.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range list {
			if s.Name == sink && s.Sent >= sent {
				return
			}
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatalf("sink %s: %+v", sink, list)
		}
	}
}

var cardNumber = regexp.MustCompile(`card-(\d+)`)

func cards(text string) (list []int) {
	for _, m := range cardNumber.FindAllStringSubmatch(text, -1) {
		n, _ := strconv.Atoi(m[1])
		list = append(list, n)
	}
	return list
}

func inOrder(t *testing.T, what string, got []int, to int) {
	t.Helper()
	if len(got) != to {
		t.Fatalf("%s: %d entries, not %d: %v", what, len(got), to, got)
	}
	for i, n := range got {
		if n != i+1 {
			t.Fatalf("%s: entry %d came as number %d", what, n, i+1)
		}
	}
}

// certificate is a test server's, with its CA as a file.
func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	path := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(path, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return server.TLS.Certificates[0], path
}

// rfc5424 is the header of a message with its structured data, and the rest.
var rfc5424 = regexp.MustCompile(`^<(\d{1,3})>1 (\S+) (\S{1,255}) latchkey - (\S{1,32}) \[meta sequenceId="(\d+)"\] (.*)$`)

// readSyslog reads messages with their length before them, as RFC 5425 has it, until
// the connection ends, and gives their texts.
func readSyslog(t *testing.T, c net.Conn, got chan<- string) {
	r := bufio.NewReader(c)
	for {
		length, err := r.ReadString(' ')
		if err != nil {
			return
		}
		n, err := strconv.Atoi(strings.TrimSpace(length))
		if err != nil {
			t.Errorf("length %q", length)
			return
		}
		text := make([]byte, n)
		if _, err := io.ReadFull(r, text); err != nil {
			t.Errorf("message: %v", err)
			return
		}
		m := rfc5424.FindSubmatch(text)
		if len(m) != 7 || string(m[1]) != "108" || string(m[4]) != "unblock.respond" {
			t.Errorf("no message of RFC 5424: %s", text)
			return
		}
		if _, err := time.Parse(time.RFC3339Nano, string(m[2])); err != nil {
			t.Error(err)
		}
		got <- string(m[6])
	}
}

// One sink is a syslog receiver over TLS that is not there at first, and hangs up once;
// one a file; one a receiver that takes connections and never answers.
func TestSinksGoAtTheirOwnPace(t *testing.T) {
	s := newStore(t, 300)
	pair, ca := certificate(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close() // the receiver is not there yet
	deaf, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = deaf.Close() }()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	running, stop := start(t, s,
		stream.Sink{Name: "siem", Kind: stream.Syslog, Format: stream.CEF, Address: address, CA: ca},
		stream.Sink{Name: "deaf", Kind: stream.Webhook, Format: stream.JSON, URL: "https://" + deaf.Addr().String(), CA: ca},
		stream.Sink{Name: "file", Kind: stream.File, Format: stream.JSON, Path: path},
	)
	until(t, running, "file", 300)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	inOrder(t, "file", cards(string(text)), 300)
	// The file may be done before the others were tried at all.
	said := func(name string) stream.Status {
		t.Helper()
		list, err := running.Status(t.Context())
		i := slices.IndexFunc(list, func(s stream.Status) bool { return s.Name == name })
		if err != nil || i < 0 {
			t.Fatalf("no status of %s: %v", name, err)
		}
		return list[i]
	}
	for deadline := time.Now().Add(30 * time.Second); said("siem").Error == "" && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if status := said("siem"); status.Lag != 300 || status.Error == "" || status.Since.IsZero() {
		t.Errorf("a sink that is not there: %+v", status)
	}
	if status := said("deaf"); status.Lag != 300 {
		t.Errorf("a sink that does not answer: %+v", status)
	}

	if l, err = tls.Listen("tcp", address, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	got := make(chan string, 10_000)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go readSyslog(t, c, got)
		}
	}()
	until(t, running, "siem", 300)
	add(t, s, 301, 310)
	until(t, running, "siem", 310)
	var all []string
	for len(all) < 310 {
		all = append(all, <-got)
	}
	inOrder(t, "syslog", cards(strings.Join(all, "\n")), 310)
	if !strings.HasPrefix(all[0], `CEF:0|Latchkey|Latchkey|1\|0|unblock.respond|unblock.respond deny|6|rt=`) || !strings.Contains(all[0], `suser=Zoë|\=\\ `) {
		t.Errorf("no CEF: %s", all[0])
	}

	// What was taken is not sent again after a new start.
	stop()
	add(t, s, 311, 312)
	running, _ = start(t, s, stream.Sink{Name: "file", Kind: stream.File, Format: stream.JSON, Path: path})
	until(t, running, "file", 312)
	if text, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	inOrder(t, "file", cards(string(text)), 312)
}

func TestWebhookIsTriedAgain(t *testing.T) {
	var mu sync.Mutex
	var calls int
	var got strings.Builder
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		calls++
		body, _ := io.ReadAll(r.Body)
		switch {
		case r.Header.Get("Authorization") != "Bearer its token":
			w.WriteHeader(http.StatusUnauthorized)
		case calls == 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case calls == 2:
			http.Redirect(w, r, "https://elsewhere.example/", http.StatusTemporaryRedirect)
		default:
			got.Write(body)
		}
	}))
	defer server.Close()
	folder := t.TempDir()
	ca, token := filepath.Join(folder, "ca.pem"), filepath.Join(folder, "token")
	for path, text := range map[string]string{
		ca:    string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})),
		token: "its token\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := newStore(t, 10)
	running, _ := start(t, s, stream.Sink{Name: "hook", Kind: stream.Webhook, Format: stream.JSON, URL: server.URL, CA: ca, TokenFile: token})
	until(t, running, "hook", 10)
	mu.Lock()
	defer mu.Unlock()
	inOrder(t, "webhook", cards(got.String()), 10)
	if calls != 3 {
		t.Errorf("%d calls", calls)
	}
}
