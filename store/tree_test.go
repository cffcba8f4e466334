package store_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"latchkey/audit"
	"latchkey/store"
)

// fitsTree computes the tree of a log from its entries by the library's own plain
// algorithm, and compares every root of it with what the store keeps.
func fitsTree(t *testing.T, l *store.Log) audit.Head {
	t.Helper()
	head := must[audit.Head](t)(l.Head(t.Context()))
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) (list []tlog.Hash, err error) {
		for _, i := range indexes {
			list = append(list, stored[i])
		}
		return list, nil
	})
	rows := must[[]audit.Row](t)(l.Rows(t.Context(), 1, int(head.Size)+1))
	same(t, "rows", len(rows), int(head.Size))
	kept := audit.KeptOf(t.Context(), l)
	for i, r := range rows {
		stored = append(stored, must[[]tlog.Hash](t)(tlog.StoredHashes(int64(i), []byte(r.Text), reader))...)
		if i%97 == 0 || i > len(rows)-3 {
			want := must[tlog.Hash](t)(tlog.TreeHash(int64(i)+1, reader))
			same(t, fmt.Sprintf("root over %d entries", i+1), must[audit.Hash](t)(kept.Root(int64(i)+1)).String(), want.String())
		}
	}
	return head
}

func TestEveryEntryIsInTheTree(t *testing.T) {
	s := newStore(t)
	var writers sync.WaitGroup
	for w := range 50 {
		writers.Go(func() {
			for i := range 30 {
				_ = s.Append(t.Context(), audit.Entry{Detail: fmt.Sprint(w, " ", i)})
				// A write that is refused takes its entry with it.
				if err := s.Apply(t.Context(), answered("refused", "c1", 0)); w > 0 && i > 0 && err == nil {
					t.Error("one process was made twice")
				}
			}
		})
	}
	writers.Wait()
	same(t, "entries", fitsTree(t, s.Log()).Size, int64(50*30+1))
}

// A database of a version that had no tree gets it when it is opened.
func TestOpenPlantsTheTreeOfAnOlderVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "latchkey.db")
	statements := []string{gooseTable}
	for i, name := range []string{"00001_first", "00002_wrapped_key", "00003_custody"} {
		text, err := os.ReadFile("migrations/" + name + ".sql")
		if err != nil {
			t.Fatal(err)
		}
		statements = append(statements, string(text), fmt.Sprintf(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (%d, 1)`, i+1))
	}
	// More than are planted at once, and no round number.
	const entries = 70_123
	statements = append(statements, fmt.Sprintf(`WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < %d)
		INSERT INTO audit_entries (sequence, entry) SELECT n, '{"sequence":' || n || ',"client":"Zoë"}' FROM n`, entries))
	if err := raw(t, path, statements...); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	same(t, "entries", fitsTree(t, s.Log()).Size, int64(entries))
	if err := errors.Join(s.Append(t.Context(), audit.Entry{}), s.Close()); err != nil {
		t.Fatal(err)
	}
	same(t, "entries after it", fitsTree(t, open(t, path).Log()).Size, int64(entries+1))
}

func TestPruneTakesBodiesBehindACheckpointOnly(t *testing.T) {
	s := newStore(t)
	for range 300 {
		if err := s.Append(t.Context(), audit.Entry{Detail: "a body"}); err != nil {
			t.Fatal(err)
		}
	}
	head := must[audit.Head](t)(s.Log().Head(t.Context()))
	root := must[audit.Hash](t)(audit.KeptOf(t.Context(), s.Log()).Root(300))
	key := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	checkpoint := must[audit.Checkpoint](t)(audit.SignCheckpoint(head.Origin, 290, must[audit.Hash](t)(audit.KeptOf(t.Context(), s.Log()).Root(290)), key))
	if err := s.KeepCheckpoint(t.Context(), checkpoint, moment); err != nil {
		t.Fatal(err)
	}
	same(t, "newest", must[audit.Checkpoint](t)(s.Log().Newest(t.Context())), checkpoint)
	if err := s.KeepCheckpoint(t.Context(), checkpoint, moment); err == nil || !strings.Contains(err.Error(), "append-only") {
		t.Errorf("a second checkpoint of the size: %v", err)
	}
	if err := s.Prune(t.Context(), 291, audit.Entry{Action: audit.AuditPrune}); err == nil || !strings.Contains(err.Error(), "signed checkpoint") {
		t.Errorf("pruned what no checkpoint is over: %v", err)
	}
	if err := s.Prune(t.Context(), 280, audit.Entry{Action: audit.AuditPrune}); err != nil {
		t.Fatal(err)
	}
	for _, r := range must[[]audit.Row](t)(s.Log().Rows(t.Context(), 1, 1000)) {
		if (r.Text == "") != (r.Sequence <= 280) {
			t.Errorf("entry %d is %q", r.Sequence, r.Text)
		}
	}
	same(t, "root of what was there before", must[audit.Hash](t)(audit.KeptOf(t.Context(), s.Log()).Root(300)), root)
	left := must[[]audit.Entry](t)(s.Entries(t.Context(), 1, 0))
	same(t, "entries that are left", len(left), 21)
	same(t, "the entry of the pruning", left[20].Pruned, int64(280))
}

func TestCursorsNeverGoBack(t *testing.T) {
	s := newStore(t)
	for _, step := range []struct{ to, want int64 }{{5, 5}, {3, 5}, {9, 9}} {
		if err := s.MoveCursor(t.Context(), "siem", step.to, time.Now()); err != nil {
			t.Fatal(err)
		}
		same(t, "cursor", must[int64](t)(s.Cursor(t.Context(), "siem")), step.want)
	}
	same(t, "another's cursor", must[int64](t)(s.Cursor(t.Context(), "file")), int64(0))
}
