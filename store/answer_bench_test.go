package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	mathrand "math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/identity"
	"latchkey/policy"
	"latchkey/unblock"
)

// BenchmarkAnswer measures what an answer costs beside the HSM's part, which here is
// none: all checks, the default policies and the durable write, by 64 callers. CPU is
// of the user and the kernel, since a commit is half the kernel's work.
func BenchmarkAnswer(b *testing.B) {
	const callers, cards = 64, 10_000
	s, err := Open(b.Context(), filepath.Join(b.TempDir(), "answers.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	now := time.Now()
	kind := card.Type{ID: "employee", Name: "Employee", Profile: "piv", UnblockRemote: map[string]bool{"active": true}, UpdatedAt: now}
	if _, err := s.PutCardType(b.Context(), kind, audit.Entry{Time: now}); err != nil {
		b.Fatal(err)
	}
	puts := make([]CardPut, cards)
	for i := range puts {
		puts[i].Card = card.Card{
			Serial: fmt.Sprintf("BENCH-%08d", i), Type: kind.ID, State: "active", MasterKeyVersion: 1, Source: "bench", SyncedAt: now,
			Holder: card.Holder{ID: fmt.Sprint("h", i), Name: fmt.Sprint("Holder ", i), State: "active"},
		}
		puts[i].Entry = audit.Entry{Time: now}
	}
	if _, err := s.PutCards(b.Context(), puts, nil); err != nil {
		b.Fatal(err)
	}
	desk := deskOn(b, s)
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime()
	for range callers {
		wg.Go(func() {
			for next.Add(1) <= int64(b.N) {
				challenge := make([]byte, 16)
				_, _ = rand.Read(challenge)
				_, err := desk.Respond(b.Context(), unblock.Caller{Client: "bench", NamesOperators: true},
					unblock.Begin{Card: puts[mathrand.IntN(cards)].Card.Serial, Operator: "olga", Reason: "benchmark"},
					unblock.Typed{Challenge: hex.EncodeToString(challenge)})
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64((cpuTime()-before).Microseconds())/float64(b.N), "cpu-us/op")
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// around is what a desk asks beside the store.
type around struct{}

func (around) Profile(string) (card.Profile, error) {
	return card.Profile{
		ID: "piv", Name: "PIV", Algorithm: card.AESECB, ChallengeLen: 16, CardKeyType: card.AES256,
		Scheme: card.LatchkeyV1, MasterKey: "fleet", MasterKeyVersion: 1, Retry: card.RetryUnlimited,
	}, nil
}

func (around) Operator(context.Context, string) (policy.Operator, error) {
	return policy.Operator{ID: "olga", Name: "Olga Ek", Roles: []identity.Role{identity.Operator}}, nil
}

func (around) Usable(context.Context, string, int) (string, error) { return "", nil }

func (around) Respond(_ context.Context, _ card.AdminKey, _ card.Algorithm, c card.Challenge) (card.Response, error) {
	return card.Response(make([]byte, len(c))), nil
}

func deskOn(tb testing.TB, s *Store) *unblock.Desk {
	tb.Helper()
	decide, err := policy.Default()
	if err != nil {
		tb.Fatal(err)
	}
	desk, err := unblock.New(unblock.Config{
		Cards: s, Profiles: around{}, Operators: around{}, Policy: decide, Keys: around{}, HSM: around{}, Ledger: s,
		CardStates: card.DefaultCardStates(), HolderStates: card.DefaultHolderStates(),
		Lifetime: time.Minute, ApprovalLifetime: time.Minute, Now: time.Now, NewID: uuid.NewString,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return desk
}
