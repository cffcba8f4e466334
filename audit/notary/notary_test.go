package notary_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"latchkey/audit"
	"latchkey/audit/notary"
	"latchkey/audit/retention"
	"latchkey/store"
)

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func open(t *testing.T, path string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func add(t *testing.T, s *store.Store, n int, at time.Time) {
	t.Helper()
	for range n {
		if err := s.Append(t.Context(), audit.Entry{Time: at, Action: audit.CardPut, Outcome: audit.Permit, Client: "idm"}); err != nil {
			t.Fatal(err)
		}
	}
}

func config(s *store.Store, key *ecdsa.PrivateKey, file string) notary.Config {
	return notary.Config{Log: s.Log(), Ledger: s, Key: key, Every: time.Hour, After: 1 << 40, File: file, Logger: zap.NewNop(), Now: time.Now}
}

func start(t *testing.T, c notary.Config) *notary.Notary {
	t.Helper()
	n, err := notary.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func sign(t *testing.T, n *notary.Notary) audit.Checkpoint {
	t.Helper()
	c, err := n.Sign(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newest(t *testing.T, s *store.Store) audit.Checkpoint {
	t.Helper()
	c, err := s.Log().Newest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSignsOnlyWhatGrewAndOnceMoreAtTheEnd(t *testing.T) {
	s, key, folder := open(t, filepath.Join(t.TempDir(), "latchkey.db")), newKey(t), t.TempDir()
	n := start(t, config(s, key, folder))
	first := sign(t, n)
	if again := sign(t, n); again != first || first.Size != 1 {
		t.Errorf("%+v, then %+v", first, again)
	}
	add(t, s, 3, time.Now())
	ctx, stop := context.WithCancel(t.Context())
	stop()
	n.Run(ctx)
	c, err := audit.OpenCheckpoint(newest(t, s).Note, []*ecdsa.PublicKey{&key.PublicKey})
	if err != nil || c.Size != 4 {
		t.Errorf("%+v, %v", c, err)
	}
	text, err := os.ReadFile(filepath.Join(folder, "00000000000000000004.checkpoint"))
	if err != nil || string(text) != c.Note {
		t.Errorf("%s, %v", text, err)
	}
}

func TestSignsAfterSoManyEntriesOrSoLong(t *testing.T) {
	for name, change := range map[string]func(*notary.Config){
		"entries": func(c *notary.Config) { c.After, c.Every = 5, 2*time.Second },
		"time":    func(c *notary.Config) { c.Every = time.Second },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, filepath.Join(t.TempDir(), "latchkey.db"))
			c := config(s, newKey(t), "")
			change(&c)
			n := start(t, c)
			add(t, s, 5, time.Now())
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { n.Run(ctx); close(ended) }()
			for newest(t, s).Size != 6 {
				select {
				case <-time.After(20 * time.Millisecond):
				case <-t.Context().Done():
					t.Fatal("nothing was signed")
				}
			}
			stop()
			<-ended
		})
	}
}

func TestANewKeyIsPutOnRecord(t *testing.T) {
	s, old, key := open(t, filepath.Join(t.TempDir(), "latchkey.db")), newKey(t), newKey(t)
	sign(t, start(t, config(s, old, "")))
	start(t, config(s, old, "")) // the same key once more says nothing
	sign(t, start(t, config(s, key, "")))
	list, err := s.Entries(t.Context(), 1, 0)
	if err != nil || len(list) != 2 || list[0].Action != audit.AuditKey || list[1].Action != audit.AuditKey || list[0].Detail == list[1].Detail {
		t.Fatalf("%+v, %v", list, err)
	}
	var export strings.Builder
	if _, err := audit.Export(t.Context(), &export, s.Log(), 1); err != nil {
		t.Fatal(err)
	}
	both := []*ecdsa.PublicKey{&old.PublicKey, &key.PublicKey}
	if r, err := audit.Verify(strings.NewReader(export.String()), both, ""); err != nil || !r.Sound() || r.Checkpoints != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}

// A notary signs nothing that does not go on from what was signed.
func TestSignsNoFork(t *testing.T) {
	folder := t.TempDir()
	path, file, key := filepath.Join(folder, "latchkey.db"), filepath.Join(folder, "checkpoint"), newKey(t)
	s := open(t, path)
	add(t, s, 10, time.Now())
	n := start(t, config(s, key, file))
	sign(t, n)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	copied, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	add(t, s, 5, time.Now())
	sign(t, start(t, config(s, key, file)))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	// An older copy is put back: its own checkpoint fits, the one that left does not.
	if err := os.WriteFile(path, copied, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	if _, err := notary.New(t.Context(), config(s, key, file)); !errors.Is(err, notary.ErrForked) || !strings.Contains(err.Error(), "over 16 entries and there are 11") {
		t.Errorf("%v", err)
	}
	n = start(t, config(s, key, ""))
	add(t, s, 5, time.Now())
	if _, err := notary.New(t.Context(), config(s, key, file)); !errors.Is(err, notary.ErrForked) || !strings.Contains(err.Error(), "was changed") {
		t.Errorf("%v", err)
	}
	sign(t, n)

	// Another database altogether.
	other := open(t, filepath.Join(t.TempDir(), "latchkey.db"))
	if _, err := notary.New(t.Context(), config(other, key, file)); !errors.Is(err, notary.ErrForked) {
		t.Errorf("%v", err)
	}
}

func TestRetentionHoldsBackWhatIsNotSignedOrSent(t *testing.T) {
	s, key := open(t, filepath.Join(t.TempDir(), "latchkey.db")), newKey(t)
	now := time.Now()
	add(t, s, 20, now.Add(-48*time.Hour))
	add(t, s, 4, now)
	add(t, s, 5, now.Add(-72*time.Hour)) // the clock was set wrong for a while
	add(t, s, 1, now)
	c := retention.Config{
		Log: s.Log(), Ledger: s, Keep: 24 * time.Hour, Sinks: []string{"siem"}, Now: func() time.Time { return now },
		Trusted: func(c audit.Checkpoint) error {
			_, err := audit.OpenCheckpoint(c.Note, []*ecdsa.PublicKey{&key.PublicKey})
			return err
		},
	}
	look := func(to int64, held string) {
		t.Helper()
		p, err := c.Look(t.Context())
		if err != nil || p.To != to || !strings.Contains(p.Held, held) || held == "" && p.Held != "" {
			t.Errorf("%+v, %v; want up to %d, held by %q", p, err, to, held)
		}
	}
	look(0, "no checkpoint is signed")
	n := start(t, config(s, key, ""))
	sign(t, n)
	look(0, "sink siem has taken 0")
	for _, to := range []int64{15, 25} {
		if err := s.MoveCursor(t.Context(), "siem", to, now); err != nil {
			t.Fatal(err)
		}
		look(min(to, 20), map[int64]string{15: "sink siem has taken 15", 25: ""}[to])
	}
	key2 := newKey(t)
	right := c.Trusted
	c.Trusted = func(c audit.Checkpoint) error {
		_, err := audit.OpenCheckpoint(c.Note, []*ecdsa.PublicKey{&key2.PublicKey})
		return err
	}
	look(0, "not signed by a key that is trusted")
	c.Trusted = right
	if p, err := c.Prune(t.Context(), audit.Entry{Client: "test"}); err != nil || p.To != 20 {
		t.Fatalf("%+v, %v", p, err)
	}
	if p, err := c.Prune(t.Context(), audit.Entry{Client: "test"}); err != nil || p.From != 20 || p.To != 20 {
		t.Errorf("once more: %+v, %v", p, err)
	}
	older := newest(t, s)
	sign(t, n)
	var export strings.Builder
	if _, err := audit.Export(t.Context(), &export, s.Log(), 1); err != nil {
		t.Fatal(err)
	}
	r, err := audit.Verify(strings.NewReader(export.String()), []*ecdsa.PublicKey{&key.PublicKey}, older.Note)
	if err != nil || !r.Sound() || r.Pruned != 20 || r.Signed != 32 {
		t.Errorf("a pruned log: %+v, %v", r, err)
	}
}
