package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"latchkey/audit"
	"latchkey/custody"
	"latchkey/unblock"
)

// MaxEntries is how many audit entries Entries gives at most in one call.
const MaxEntries = 1000

// Apply makes the change durable: the process, the card's count of unconfirmed
// responses and the audit entry together. See unblock.Ledger.
func (s *Store) Apply(ctx context.Context, c unblock.Change) error {
	if c.From < 0 || c.Process.Revision != c.From+1 {
		return fmt.Errorf("apply change to process %s: revision %d cannot follow %d", c.Process.ID, c.Process.Revision, c.From)
	}
	if c.MaxUnconfirmed < 0 {
		return fmt.Errorf("apply change to process %s: limit of %d unconfirmed responses", c.Process.ID, c.MaxUnconfirmed)
	}
	err := s.writer.write(ctx, func(tx *tx) error {
		if err := tx.putProcess(c); err != nil {
			return err
		}
		if c.Grounds != nil {
			if err := tx.stand(*c.Grounds); err != nil {
				return err
			}
		}
		if c.Answer {
			if err := tx.countAnswer(c.Process.Card, c.MaxUnconfirmed); err != nil {
				return err
			}
		}
		if c.Confirm {
			if err := tx.confirm(c.Process); err != nil {
				return err
			}
		}
		return tx.log(c.Entry)
	})
	return failed("apply change to process "+c.Process.ID, err)
}

// putProcess writes the process if it is still as it was at the revision that the
// change was made from. One that is answered gets the number that its response is
// then counted by.
func (tx *tx) putProcess(c unblock.Change) error {
	const number = `CASE WHEN ?13 THEN 1 + coalesce((SELECT given FROM unconfirmed WHERE card = ?4), 0) ELSE `
	query := `UPDATE processes SET (state, outcome, card, client, operator, reason,
			started_at, expires_at, answered_at, finished_at, revision, answer)
		= (?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ` + number + `answer END)
		WHERE id = ?1 AND revision = ?12 - 1`
	if c.From == 0 {
		query = `INSERT INTO processes (id, state, outcome, card, client, operator, reason,
			started_at, expires_at, answered_at, finished_at, revision, answer)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ` + number + `NULL END)
		ON CONFLICT (id) DO NOTHING`
	}
	p := c.Process
	n, err := tx.exec(query, p.ID, p.State, p.Outcome, p.Card, p.Client, p.Operator, p.Reason,
		micros(p.StartedAt), micros(p.ExpiresAt), micros(p.AnsweredAt), micros(p.FinishedAt), p.Revision, c.Answer)
	if err == nil && n == 0 {
		return unblock.ErrConflict
	}
	return err
}

// stand looks whether the grounds of an answer are as they were read. It runs in
// the answer's own transaction: what was changed before, and acknowledged, is seen.
func (tx *tx) stand(g unblock.Grounds) error {
	c, err := scanCard(tx.QueryRow(`SELECT `+cardColumns+` FROM cards WHERE serial = ?1`, g.Card.Serial))
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return unblock.ErrGrounds
	case err != nil:
		return err
	}
	var profile string
	var on []byte
	var key sql.NullString
	err = tx.QueryRow(`SELECT profile, unblock_remote, (SELECT state FROM key_records WHERE key = ?2 AND version = ?3)
		FROM card_types WHERE id = ?1`, g.Type.ID, g.Master, g.Version).Scan(&profile, &on, &key)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return unblock.ErrGrounds
	case err != nil:
		return err
	}
	var switches map[string]bool
	if err := json.Unmarshal(on, &switches); err != nil {
		return fmt.Errorf("switches of card type %s: %w", g.Type.ID, err)
	}
	if !sameCard(c, g.Card) || profile != g.Type.Profile || !maps.Equal(switches, g.Type.UnblockRemote) ||
		key.Valid && !custody.State(key.String).Answers() {
		return unblock.ErrGrounds
	}
	return nil
}

// countAnswer counts one more response given out for the card, up to the limit;
// a limit of 0 is none.
func (tx *tx) countAnswer(serial string, limit int) error {
	n, err := tx.exec(`INSERT INTO unconfirmed (card, count, given) VALUES (?1, 1, 1)
		ON CONFLICT (card) DO UPDATE SET count = unconfirmed.count + 1, given = unconfirmed.given + 1
		WHERE unconfirmed.count < ?2 OR ?2 = 0`, serial, limit)
	if err == nil && n == 0 {
		return unblock.ErrAttempts
	}
	return err
}

// confirm leaves those responses counted that were given out for the card after
// the process's own. A process that was never answered changes nothing.
func (tx *tx) confirm(p unblock.Process) error {
	_, err := tx.exec(`UPDATE unconfirmed SET count = given - (SELECT answer FROM processes WHERE id = ?1)
		WHERE card = ?2 AND count > given - (SELECT answer FROM processes WHERE id = ?1)`, p.ID, p.Card)
	return err
}

// Append makes a lone audit entry durable. The log gives it its sequence number.
func (s *Store) Append(ctx context.Context, e audit.Entry) error {
	err := s.writer.write(ctx, func(tx *tx) error { return tx.log(e) })
	return failed("append to the audit log", err)
}

// Process finds a process, or gives card.ErrNotFound.
func (s *Store) Process(ctx context.Context, id string) (unblock.Process, error) {
	p := unblock.Process{ID: id}
	var started, expires, answered, finished sql.NullInt64
	err := s.readers.QueryRowContext(ctx, `SELECT state, outcome, card, client, operator, reason,
			started_at, expires_at, answered_at, finished_at, revision FROM processes WHERE id = ?1`, id).
		Scan(&p.State, &p.Outcome, &p.Card, &p.Client, &p.Operator, &p.Reason, &started, &expires, &answered, &finished, &p.Revision)
	if err != nil {
		return unblock.Process{}, s.unread("find process "+id, err)
	}
	p.StartedAt, p.ExpiresAt = fromMicros(started), fromMicros(expires)
	p.AnsweredAt, p.FinishedAt = fromMicros(answered), fromMicros(finished)
	return p, nil
}

// Unconfirmed counts the responses given out for the card since one last worked.
// It is 0 for a card that is not known.
func (s *Store) Unconfirmed(ctx context.Context, serial string) (int, error) {
	var n int
	err := s.readers.QueryRowContext(ctx, `SELECT count FROM unconfirmed WHERE card = ?1`, serial).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return n, s.unread("count unconfirmed responses of card "+serial, err)
}

// Entries gives the audit log in order, from a sequence number on, which counts
// from 1: at most limit entries, and never more than MaxEntries. A limit of 0 or
// less is MaxEntries. There are no more entries when the slice is empty.
func (s *Store) Entries(ctx context.Context, from int64, limit int) ([]audit.Entry, error) {
	if limit <= 0 || limit > MaxEntries {
		limit = MaxEntries
	}
	rows, err := s.readers.QueryContext(ctx, `SELECT sequence, entry FROM audit_entries WHERE sequence >= ?1 AND entry <> '' ORDER BY sequence LIMIT ?2`, from, limit)
	if err != nil {
		return nil, s.unread("read the audit log", err)
	}
	entries, err := collect(rows, func(row scanner) (audit.Entry, error) {
		var sequence int64
		var text []byte
		if err := row.Scan(&sequence, &text); err != nil {
			return audit.Entry{}, err
		}
		var e audit.Entry
		if err := json.Unmarshal(text, &e); err != nil {
			return audit.Entry{}, fmt.Errorf("entry %d: %w", sequence, err)
		}
		if e.Sequence != sequence {
			return audit.Entry{}, fmt.Errorf("entry %d says that it is %d: the log was tampered with", sequence, e.Sequence)
		}
		return e, nil
	})
	return entries, s.unread("read the audit log", err)
}

// scanner is a row to be read.
type scanner interface{ Scan(dest ...any) error }

// collect reads all rows and closes them.
func collect[T any](rows *sql.Rows, read func(scanner) (T, error)) (list []T, err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		v, err := read(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, rows.Err()
}
