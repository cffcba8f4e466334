package store_test

import (
	"crypto/sha256"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/identity"
	"latchkey/store"
)

func TestSessions(t *testing.T) {
	s, err := store.Open(t.Context(), at(t, filepath.Join(t.TempDir(), "latchkey.db")))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	began := time.Date(2026, 5, 4, 8, 12, 0, 0, time.UTC)
	begin := func(secret string, at time.Time) identity.Session {
		t.Helper()
		n := identity.Session{
			Hash: sha256.Sum256([]byte(secret)), Person: "anna", BeganAt: at, SeenAt: at, EndsAt: at.Add(8 * time.Hour),
			Token: identity.Token{Issuer: "https://id.example", Subject: "s-1", Person: identity.Person{
				ID: "anna", Name: "Anna", Roles: []identity.Role{identity.Operator}, MFA: true, AuthenticatedAt: at,
			}},
		}
		if err := s.BeginSession(t.Context(), n, at.Add(-15*time.Minute), audit.Entry{Action: audit.SessionBegin, Operator: "anna"}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	there := func(n identity.Session) bool {
		t.Helper()
		got, err := s.Session(t.Context(), n.Hash)
		if err != nil && !errors.Is(err, card.ErrNotFound) {
			t.Fatal(err)
		}
		if diff := cmp.Diff(n, got); err == nil && diff != "" {
			t.Errorf("session (-want +got):\n%s", diff)
		}
		return err == nil
	}
	first := begin("first", began)
	first.SeenAt = began.Add(10 * time.Minute)
	for _, at := range []time.Time{first.SeenAt, began} { // one that comes late takes nothing back
		if err := s.SeeSession(t.Context(), first.Hash, at); err != nil {
			t.Fatal(err)
		}
	}
	second := begin("second", began.Add(20*time.Minute))
	if !there(first) || !there(second) {
		t.Error("a session is gone that is in use")
	}
	third := begin("third", began.Add(30*time.Minute))
	if there(first) || !there(second) {
		t.Error("the session that was idle is there, or the other is not")
	}
	for range 2 {
		if err := s.EndSession(t.Context(), third.Hash, audit.Entry{Action: audit.SessionEnd, Operator: "anna"}); err != nil {
			t.Fatal(err)
		}
	}
	if there(third) || there(identity.Session{}) {
		t.Error("a session is there that was ended, or never began")
	}
	record := identity.Record{Person: identity.Person{ID: "anna", Name: "Anna"}, Active: true, UpdatedAt: began}
	for _, active := range []bool{true, false} {
		record.Active = active
		if _, err := s.PutOperator(t.Context(), record, audit.Entry{Action: "operator.put"}); err != nil {
			t.Fatal(err)
		}
		if there(second) != active {
			t.Errorf("with the operator active %v the session is there: %v", active, !active)
		}
	}
	entries, err := s.Entries(t.Context(), 1, 100)
	if err != nil {
		t.Fatal(err)
	}
	var actions []audit.Action
	for _, e := range entries {
		actions = append(actions, e.Action)
	}
	if diff := cmp.Diff([]audit.Action{audit.SessionBegin, audit.SessionBegin, audit.SessionBegin, audit.SessionEnd, "operator.put", "operator.put", audit.SessionEnd}, actions); diff != "" {
		t.Errorf("audit log (-want +got):\n%s", diff)
	}
}
