package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"latchkey/audit"
	"latchkey/card"
)

// opened opens a new database.
func opened(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "latchkey.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// hold keeps the writer in the middle of a write until release is called, which
// then waits until that write was acknowledged.
func hold(t *testing.T, s *Store) (release func()) {
	t.Helper()
	begun, end, done := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		done <- s.writer.write(context.Background(), func(*tx) error {
			close(begun)
			<-end
			return nil
		})
	}()
	<-begun
	return func() {
		t.Helper()
		close(end)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// waiting returns when n writes wait in the queue.
func waiting(s *Store, n int) {
	for len(s.writer.queue) < n {
		runtime.Gosched()
	}
}

func entries(t *testing.T, s *Store) []audit.Entry {
	t.Helper()
	list, err := s.Entries(t.Context(), 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range list {
		if e.Sequence != int64(i)+1 {
			t.Fatalf("entry %d has sequence number %d", i+1, e.Sequence)
		}
	}
	return list
}

func TestCancelledWhileQueuedIsNeverRun(t *testing.T) {
	s := opened(t)
	release := hold(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() { failed <- s.Append(ctx, audit.Entry{Detail: "cancelled"}) }()
	waiting(s, 1)
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) || errors.Is(err, ErrUncertain) {
		t.Errorf("cancelled while queued: %v", err)
	}
	release()
	// The writer has gone past the cancelled write when this one is acknowledged.
	if err := s.Append(t.Context(), audit.Entry{Detail: "next"}); err != nil {
		t.Fatal(err)
	}
	if list := entries(t, s); len(list) != 1 || list[0].Detail != "next" {
		t.Errorf("the log holds %+v", list)
	}
}

func TestCancelledWhileRunningIsUncertain(t *testing.T) {
	s := opened(t)
	ctx, cancel := context.WithCancel(t.Context())
	begun, end, failed := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		failed <- s.writer.write(ctx, func(tx *tx) error {
			close(begun)
			<-end
			return tx.log(audit.Entry{Detail: "begun"})
		})
	}()
	<-begun
	cancel()
	if err := <-failed; !errors.Is(err, ErrUncertain) || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled while running: %v", err)
	}
	close(end)
	if err := s.Append(t.Context(), audit.Entry{Detail: "next"}); err != nil {
		t.Fatal(err)
	}
	if list := entries(t, s); len(list) != 2 {
		t.Errorf("the log holds %+v", list)
	}
}

func TestFullQueueWaitsAndCanBeCancelled(t *testing.T) {
	s := opened(t)
	release := hold(t, s)
	var wg sync.WaitGroup
	for range maxQueue {
		wg.Go(func() {
			if err := s.Append(t.Context(), audit.Entry{}); err != nil {
				t.Error(err)
			}
		})
	}
	waiting(s, maxQueue)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() { failed <- s.Append(ctx, audit.Entry{}) }()
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before a full queue: %v", err)
	}
	release()
	wg.Wait()
	var n int
	if err := s.readers.QueryRowContext(t.Context(), `SELECT count(*) FROM audit_entries`).Scan(&n); err != nil || n != maxQueue {
		t.Errorf("%d entries, error %v; want %d", n, err, maxQueue)
	}
}

func TestRefusedWriteDoesNotSpoilItsBatch(t *testing.T) {
	s := opened(t)
	refusal := errors.New("refused")
	release := hold(t, s)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			err := s.writer.write(t.Context(), func(tx *tx) error {
				if err := tx.log(audit.Entry{Detail: fmt.Sprint(i % 2)}); err != nil {
					return err
				}
				if i%2 == 1 { // refused after it wrote something
					return refusal
				}
				return nil
			})
			if (i%2 == 1) != errors.Is(err, refusal) || i%2 == 0 && err != nil {
				t.Errorf("write %d: %v", i, err)
			}
		})
	}
	waiting(s, 100) // all go into one batch
	release()
	wg.Wait()
	list := entries(t, s)
	if len(list) != 50 {
		t.Errorf("%d entries, want 50", len(list))
	}
	for _, e := range list {
		if e.Detail != "0" {
			t.Errorf("entry %d of a refused write is there", e.Sequence)
		}
	}
}

func TestCloseCarriesOutWhatWaits(t *testing.T) {
	s := opened(t)
	release := hold(t, s)
	var wg sync.WaitGroup
	for range maxBatch + 1 { // more than one batch
		wg.Go(func() {
			if err := s.Append(t.Context(), audit.Entry{}); err != nil {
				t.Error(err)
			}
		})
	}
	waiting(s, maxBatch+1)
	wg.Go(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	<-s.writer.stopping
	release()
	wg.Wait()
	if err := s.Append(t.Context(), audit.Entry{}); !errors.Is(err, ErrClosed) {
		t.Errorf("append to a closed store: %v", err)
	}
}

// TestFullDisk lets SQLite run into a limit on the database's size, which it
// reports and handles as it does a disk without space.
func TestFullDisk(t *testing.T) {
	s := opened(t)
	limit := func(pages int) {
		t.Helper()
		if err := s.writer.db.QueryRow(fmt.Sprintf(`PRAGMA max_page_count = %d`, pages)).Scan(new(int)); err != nil {
			t.Fatal(err)
		}
	}
	long := audit.Entry{Detail: string(make([]byte, 5000))}
	if err := s.Append(t.Context(), long); err != nil {
		t.Fatal(err)
	}
	limit(1) // SQLite takes the present size where that is more
	acknowledged := 1
	for range 10 {
		var wg sync.WaitGroup
		errs := make(chan error, 8)
		for range cap(errs) {
			wg.Go(func() { errs <- s.Append(t.Context(), long) })
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			if err == nil {
				acknowledged++
			}
		}
	}
	if acknowledged > 10 {
		t.Fatalf("%d writes were acknowledged on a full disk", acknowledged)
	}
	if n := len(entries(t, s)); n != acknowledged {
		t.Errorf("%d entries and %d acknowledged", n, acknowledged)
	}
	limit(1 << 20)
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("check with space again: %v", err)
	}
	if err := s.Append(t.Context(), long); err != nil {
		t.Errorf("append with space again: %v", err)
	}
	if n := len(entries(t, s)); n != acknowledged+1 {
		t.Errorf("%d entries, want %d", n, acknowledged+1)
	}
}

// TestSynced holds the settings that make an acknowledged write durable.
func TestSynced(t *testing.T) {
	s := opened(t)
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"} {
		var got string
		if err := s.writer.db.QueryRow(`PRAGMA ` + pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %s, error %v; want %s", pragma, got, err, want)
		}
	}
	if _, err := s.readers.Exec(`DELETE FROM cards`); err == nil {
		t.Error("a reader's connection can write")
	}
}

// Searches wait for each other, and answers for none of them.
func TestSearchesLeaveReadersFree(t *testing.T) {
	s := opened(t)
	if free := s.readers.Stats().MaxOpenConnections - cap(s.searching); free < 1 {
		t.Fatalf("%d readers are left beside the searches", free)
	}
	for range cap(s.searching) {
		s.searching <- struct{}{}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := s.FindCards(ctx, Query{Text: "a"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one search too many: %v", err)
	}
	if _, err := s.Card(t.Context(), "a"); !errors.Is(err, card.ErrNotFound) {
		t.Errorf("a card while searches are under way: %v", err)
	}
	<-s.searching
	if _, _, err := s.FindCards(t.Context(), Query{Text: "a"}); err != nil {
		t.Errorf("a search after one has ended: %v", err)
	}
}
