package store

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/identity"
	"latchkey/policy"
	"latchkey/unblock"
)

// BenchmarkApply measures answers made durable, by 64 callers through Apply, and
// beside it in the same run the same statements in a bare loop: committed one by
// one, and 64 to a commit, which is the best that one SQLite connection gives.
func BenchmarkApply(b *testing.B) {
	const callers = 64
	answer := func(i int64) unblock.Change {
		now := time.Now()
		id, card := uuid.Must(uuid.NewV7()).String(), fmt.Sprint("card-", i*7919%10000)
		return unblock.Change{
			Process: unblock.Process{
				ID: id, State: unblock.Answered, Card: card, Client: "identity-manager", Operator: "olga", Reason: "ticket 4711",
				StartedAt: now, ExpiresAt: now, AnsweredAt: now, Revision: 1,
			},
			Answer: true,
			Entry: audit.Entry{
				Time: now, Action: audit.UnblockRespond, Outcome: audit.Permit, Client: "identity-manager", Operator: "olga",
				Delegation: "named by the client", Address: "192.0.2.1", RequestID: id, Process: id, Card: card, CardType: "employee",
				Profile: "gids", MasterKey: "cards", KeyVersion: 1, Policies: []string{"help-desk"}, PolicyVersion: "0123456789abcdef",
				Challenge: "1603EBDF1C8A2E72", Reason: "ticket 4711", LatencyMicros: 512,
			},
		}
	}
	bare := func(perCommit int) func(*testing.B) float64 {
		return func(b *testing.B) float64 {
			s, err := Open(b.Context(), filepath.Join(b.TempDir(), "bare.db"))
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			return rate(b, func() error { return bareLoop(s.writer.db.DB, b.N, perCommit, answer) })
		}
	}
	grouped := func(b *testing.B, decided *policy.Decided) float64 {
		s, err := Open(b.Context(), filepath.Join(b.TempDir(), "grouped.db"))
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		return rate(b, func() error {
			var next atomic.Int64
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						c := answer(i)
						c.Decided = decided
						if err := s.Apply(b.Context(), c); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			return nil
		})
	}
	var alone, best float64
	b.Run("bare-loop/1-per-commit", func(b *testing.B) { alone = bare(1)(b) })
	b.Run("bare-loop/64-per-commit", func(b *testing.B) { best = bare(callers)(b) })
	b.Run("apply/64-callers", func(b *testing.B) {
		got := grouped(b, nil)
		b.ReportMetric(got/alone, "x-of-1-per-commit")
		b.ReportMetric(got/best, "x-of-64-per-commit")
	})
	b.Run("apply-with-decision/64-callers", func(b *testing.B) {
		got := grouped(b, aDecision())
		b.ReportMetric(got/best, "x-of-64-per-commit")
	})
}

// aDecision is one as policies make it of a card with its holder.
func aDecision() *policy.Decided {
	return &policy.Decided{
		Request: policy.Request{
			Operator: identity.Person{ID: "olga", Name: "Olga Meier", Roles: []identity.Role{identity.Operator}, Groups: []string{"help-desk"}, Unit: "IT"},
			Means:    identity.ByName, Client: "identity-manager", Address: netip.MustParseAddr("192.0.2.1"), Now: time.Now(),
			Card: card.Card{
				Serial: "card-4711", Type: "employee", State: "blocked", MasterKeyVersion: 1, SyncedAt: time.Now(), Source: "idm", Unit: "Sales", Assurance: "high",
				Holder: card.Holder{ID: "h-4711", Name: "Anna Blom", Email: "anna@example.org", EmployeeNumber: "4711", Unit: "Sales", Groups: []string{"staff"}, State: "active"},
			},
			Type:   card.Type{ID: "employee", Name: "Employee", Profile: "gids", UnblockRemote: map[string]bool{"active": true, "blocked": true}},
			Reason: "ticket 4711", Ticket: "INC-4711", Verification: policy.CallBack,
		},
		Decision: policy.Decision{Allow: true, Policies: []string{"operator-with-reason"}, Why: "An operator or a supervisor may unblock a card, and has to give a reason.", Version: "0123456789abcdef0123456789abcdef"},
	}
}

// rate times run and reports how many operations it did in a second.
func rate(b *testing.B, run func() error) float64 {
	b.ResetTimer()
	began := time.Now()
	if err := run(); err != nil {
		b.Fatal(err)
	}
	perSecond := float64(b.N) / time.Since(began).Seconds()
	b.ReportMetric(perSecond, "writes/s")
	return perSecond
}

func bareLoop(db *sql.DB, n, perCommit int, answer func(int64) unblock.Change) error {
	for i := 0; i < n; {
		tx, err := db.Begin()
		if err != nil {
			return err
		}
		for range min(perCommit, n-i) {
			i++
			c := answer(int64(i))
			p := c.Process
			c.Entry.Sequence = int64(i)
			entry, err := json.Marshal(c.Entry)
			if err != nil {
				return err
			}
			for _, statement := range []struct {
				query string
				args  []any
			}{
				{
					`INSERT INTO processes (id, state, outcome, card, client, operator, reason,
							started_at, expires_at, answered_at, finished_at, revision, answer)
						VALUES (?, ?, ?, ?4, ?, ?, ?, ?, ?, ?, ?, ?, 1 + coalesce((SELECT given FROM unconfirmed WHERE card = ?4), 0))
						ON CONFLICT (id) DO NOTHING`,
					[]any{p.ID, p.State, p.Outcome, p.Card, p.Client, p.Operator, p.Reason, p.StartedAt.UnixMicro(), p.ExpiresAt.UnixMicro(), p.AnsweredAt.UnixMicro(), nil, 1},
				},
				{
					`INSERT INTO unconfirmed (card, count, given) VALUES (?1, 1, 1)
						ON CONFLICT (card) DO UPDATE SET count = unconfirmed.count + 1, given = unconfirmed.given + 1
						WHERE unconfirmed.count < ?2 OR ?2 = 0`,
					[]any{p.Card, 0},
				},
				{`INSERT INTO audit_entries (sequence, entry, leaf) VALUES (?, ?, ?)`, []any{i, string(entry), make([]byte, 32)}},
			} {
				if _, err := tx.Exec(statement.query, statement.args...); err != nil {
					return err
				}
			}
		}
		if err := tx.Commit(); err != nil {
			return err
		}
	}
	return nil
}
