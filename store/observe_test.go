package store

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"latchkey/audit"
)

// record keeps what an observer is told.
type record struct {
	mu      sync.Mutex
	batches []int
	entries []string
}

func (r *record) Committed(writes int, took time.Duration, entries []Logged, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.batches = append(r.batches, writes)
	for _, e := range entries {
		r.entries = append(r.entries, fmt.Sprintf("%s %s %s", e.Action, e.Outcome, e.Code))
	}
	if err != nil || took <= 0 {
		r.entries = append(r.entries, fmt.Sprintf("%v after %s", err, took))
	}
}

// The observer is told of the entries that are in the log, and of no others.
func TestObserverHearsWhatWasLogged(t *testing.T) {
	s := opened(t)
	var heard record
	s.Observe(&heard)
	release := hold(t, s)
	refusal := errors.New("refused")
	var wg sync.WaitGroup
	for _, end := range []error{nil, refusal} {
		wg.Go(func() {
			err := s.writer.write(t.Context(), func(tx *tx) error {
				e := audit.Entry{Action: audit.UnblockRespond, Outcome: audit.Deny, Code: "use-case-off", Card: "1"}
				return errors.Join(tx.log(e), end)
			})
			if !errors.Is(err, end) {
				t.Errorf("write: %v, want %v", err, end)
			}
		})
	}
	waiting(s, 2)
	if status, err := s.Status(t.Context()); err != nil || status.Waiting != 2 || status.LogSize != 0 {
		t.Errorf("status %+v, %v; want two writes waiting", status, err)
	}
	release()
	wg.Wait()
	heard.mu.Lock()
	defer heard.mu.Unlock()
	if diff := cmp.Diff([]int{1, 2}, heard.batches); diff != "" {
		t.Errorf("the observer heard of batches (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"unblock.respond deny use-case-off"}, heard.entries); diff != "" {
		t.Errorf("the observer heard of entries (-want +got):\n%s", diff)
	}
	if status, err := s.Status(t.Context()); err != nil || status.Waiting != 0 || status.LogSize != 1 {
		t.Errorf("status %+v, %v; want one entry", status, err)
	}
}

// Each source's newest confirmation is told, by the index and not by walking
// through the cards.
func TestStatusOfSources(t *testing.T) {
	s := opened(t)
	at := time.Date(2026, 5, 4, 8, 0, 0, 0, time.UTC)
	for i, source := range []string{"idm", "", "idm", "prime", "idm"} {
		c := person(fmt.Sprint("S", i), "A")
		c.Source, c.SyncedAt = source, at.Add(-time.Duration(i)*time.Hour)
		put(t, s, c)
	}
	never := person("never", "B")
	never.Source = "never"
	put(t, s, never)
	status, err := s.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]time.Time{"idm": at, "": at.Add(-time.Hour), "prime": at.Add(-3 * time.Hour)}
	if diff := cmp.Diff(want, status.Synced); diff != "" {
		t.Errorf("sources (-want +got):\n%s", diff)
	}
	rows, err := s.readers.Query("EXPLAIN QUERY PLAN "+newestBySource, maxSources)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := collect(rows, func(row scanner) (string, error) {
		var id, parent, unused int
		var detail string
		err := row.Scan(&id, &parent, &unused, &detail)
		return detail, err
	})
	if err != nil {
		t.Fatal(err)
	}
	searches := 0
	for _, step := range plan {
		if strings.Contains(step, "cards") && !strings.Contains(step, "USING COVERING INDEX cards_by_source") {
			t.Errorf("the query does: %s", step)
		}
		if strings.HasPrefix(step, "SEARCH cards") {
			searches++
		}
	}
	if searches == 0 {
		t.Errorf("the query does not use the index: %q", plan)
	}
}
