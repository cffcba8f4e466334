package observe_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"latchkey/audit"
	"latchkey/audit/stream"
	"latchkey/hsm"
	"latchkey/notify"
	"latchkey/observe"
	"latchkey/server"
	"latchkey/store"
)

// BenchmarkAnswer is what the metrics of one answer cost: four PKCS#11 calls, one
// request, one commit with its entry.
func BenchmarkAnswer(b *testing.B) {
	m := observe.NewMetrics("test")
	entries := []store.Logged{{Action: audit.UnblockRespond, Outcome: audit.Permit}}
	b.ReportAllocs()
	for b.Loop() {
		for _, f := range []string{"C_DeriveKey", "C_EncryptInit", "C_Encrypt", "C_DestroyObject"} {
			m.Called(f, 0, 20*time.Microsecond)
		}
		m.Answered("/v1/cards/{serial}/response", http.MethodPost, "", time.Millisecond)
		m.Committed(1, time.Millisecond, entries, nil)
	}
}

// However many codes a module makes up and sources cards have, the metrics stay
// few; a part that cannot be asked leaves out what is its own.
func TestLabelsAreBounded(t *testing.T) {
	m := observe.NewMetrics("test")
	for code := range uint(10_000) {
		m.Called("C_DeriveKey", 0x80000001+code, time.Millisecond)
	}
	at := time.Date(2026, 5, 4, 8, 0, 0, 0, time.UTC)
	synced := map[string]time.Time{"idm": at, "anna": at.Add(time.Hour), "otto": at.Add(2 * time.Hour)}
	var broken error
	m.Watch(observe.Parts{
		Tokens: func() []hsm.Status { return []hsm.Status{{Label: "fleet", Serial: "1", Down: true}} },
		Store: func(context.Context) (store.Status, error) {
			return store.Status{LogSize: 7, SignedSize: 5, Signed: at, Synced: synced}, broken
		},
		Load: func() []server.Load { return []server.Load{{Gate: "api", InProgress: 3, Places: 4}} },
		Sinks: func(context.Context) ([]stream.Status, error) {
			return []stream.Status{{Name: "siem", Lag: 3, Error: "secret-in-an-error", Since: at}, {Name: "hook"}}, nil
		},
		Notified: func() map[string]notify.Count {
			return map[string]notify.Count{"mail": {Sent: 5, Failed: 3, GivenUp: 1}}
		},
		NotifyWaiting: func(context.Context) (map[string]notify.Waiting, error) {
			return map[string]notify.Waiting{"mail": {Messages: 2, Oldest: at}, "webhook chat": {}}, nil
		},
		Sources: []string{"idm"},
	}, zap.NewNop())
	scrape := func() string {
		t.Helper()
		w := httptest.NewRecorder()
		m.Handler(zap.NewNop()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		if w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		return w.Body.String()
	}
	text := scrape()
	for _, line := range []string{
		`latchkey_hsm_call_duration_seconds_count{code="other",function="C_DeriveKey"} 10000`,
		`latchkey_cards_synced_timestamp_seconds{source="idm"} 1.7778816e+09`,
		`latchkey_cards_synced_timestamp_seconds{source="other"} 1.7778888e+09`,
		`latchkey_audit_checkpoint_timestamp_seconds 1.7778816e+09`,
		`latchkey_audit_log_signed_size 5`,
		`latchkey_audit_sink_lag{sink="siem"} 3`,
		`latchkey_audit_sink_failing_timestamp_seconds{sink="siem"} 1.7778816e+09`,
		`latchkey_audit_sink_failing_timestamp_seconds{sink="hook"} 0`,
		`latchkey_notifications_total{channel="mail",outcome="sent"} 5`,
		`latchkey_notifications_total{channel="mail",outcome="failed"} 2`,
		`latchkey_notifications_total{channel="mail",outcome="given_up"} 1`,
		`latchkey_notifications_waiting{channel="webhook chat"} 0`,
		`latchkey_notifications_oldest_timestamp_seconds{channel="mail"} 1.7778816e+09`,
		`latchkey_hsm_down{serial="1",token="fleet"} 1`,
		`latchkey_requests_in_progress{gate="api"} 3`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	for _, name := range []string{"anna", "otto", "secret-in-an-error"} {
		if strings.Contains(text, name) {
			t.Errorf("the metrics name %s", name)
		}
	}
	broken = os.ErrClosed
	text = scrape()
	if !strings.Contains(text, "latchkey_store_readable 0\n") || strings.Contains(text, "latchkey_audit_log_size") || strings.Contains(text, "latchkey_audit_checkpoint") {
		t.Error("a store that cannot be asked is told of as if it could")
	}
	if !strings.Contains(text, `latchkey_hsm_down{serial="1",token="fleet"} 1`) {
		t.Error("what else there is to tell is not told")
	}
}

// A socket that was left behind is replaced, one that is in use and a file are not,
// and others than its owner and group cannot connect to it.
func TestListenOnSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	left, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	left.(*net.UnixListener).SetUnlinkOnClose(false)
	if _, err := observe.Listen(t.Context(), "unix:"+path); err == nil {
		t.Error("a socket in use was taken")
	}
	_ = left.Close()
	l, err := observe.Listen(t.Context(), "unix:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("the socket is %v (%v)", info.Mode(), err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := observe.Listen(t.Context(), "unix:"+file); err == nil {
		t.Error("a file was taken for a socket")
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "kept" {
		t.Errorf("the file holds %q (%v)", text, err)
	}
}
