package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"latchkey/audit"
	"latchkey/identity"
)

// BeginSession keeps a new session, with its audit entry. Sessions that are over,
// or were not seen since idle, are forgotten in the same write.
func (s *Store) BeginSession(ctx context.Context, n identity.Session, idle time.Time, e audit.Entry) error {
	token, err := json.Marshal(n.Token)
	if err != nil {
		return fmt.Errorf("begin session: %w", err)
	}
	err = s.writer.write(ctx, func(tx *tx) error {
		if _, err := tx.exec(`DELETE FROM sessions WHERE ends_at <= ?1 OR seen_at < ?2`, micros(n.BeganAt), micros(idle)); err != nil {
			return err
		}
		_, err := tx.exec(`INSERT INTO sessions (hash, person, token, began_at, seen_at, ends_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)`,
			n.Hash[:], n.Person, string(token), micros(n.BeganAt), micros(n.SeenAt), micros(n.EndsAt))
		if err != nil {
			return err
		}
		return tx.log(e)
	})
	return failed("begin session", err)
}

// Session finds a session by the hash of its secret, or gives card.ErrNotFound.
// Whether it is over is for the caller to see.
func (s *Store) Session(ctx context.Context, hash [32]byte) (identity.Session, error) {
	found := identity.Session{Hash: hash}
	var token string
	var began, seen, ends sql.NullInt64
	err := s.readers.QueryRowContext(ctx, `SELECT person, token, began_at, seen_at, ends_at FROM sessions WHERE hash = ?1`, hash[:]).
		Scan(&found.Person, &token, &began, &seen, &ends)
	if err == nil {
		err = json.Unmarshal([]byte(token), &found.Token)
	}
	if err != nil {
		return identity.Session{}, s.unread("read session", err)
	}
	found.BeganAt, found.SeenAt, found.EndsAt = fromMicros(began), fromMicros(seen), fromMicros(ends)
	return found, nil
}

// SeeSession notes that the session was used.
func (s *Store) SeeSession(ctx context.Context, hash [32]byte, at time.Time) error {
	err := s.writer.write(ctx, func(tx *tx) error {
		_, err := tx.exec(`UPDATE sessions SET seen_at = ?2 WHERE hash = ?1 AND seen_at < ?2`, hash[:], micros(at))
		return err
	})
	return failed("note use of session", err)
}

// endSessionsOf ends the sessions of somebody who is made inactive. The entry is
// that of the change.
func (tx *tx) endSessionsOf(person string, change audit.Entry) error {
	n, err := tx.exec(`DELETE FROM sessions WHERE person = ?1`, person)
	if err != nil || n == 0 {
		return err
	}
	return tx.log(audit.Entry{
		Time: change.Time, Action: audit.SessionEnd, Outcome: audit.Permit, Client: change.Client, Operator: person,
		Address: change.Address, RequestID: change.RequestID, Detail: fmt.Sprintf("the operator was made inactive; sessions: %d", n),
	})
}

// EndSession forgets a session and writes the audit entry. Of one that is not
// there any more nothing is written.
func (s *Store) EndSession(ctx context.Context, hash [32]byte, e audit.Entry) error {
	err := s.writer.write(ctx, func(tx *tx) error {
		n, err := tx.exec(`DELETE FROM sessions WHERE hash = ?1`, hash[:])
		if err != nil || n == 0 {
			return err
		}
		return tx.log(e)
	})
	return failed("end session", err)
}
