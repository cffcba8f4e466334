package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"latchkey/audit"
	"latchkey/custody"
	"latchkey/policy"
	"latchkey/unblock"
)

// MaxEntries is how many audit entries Entries gives at most in one call.
const MaxEntries = 1000

// Apply makes the change durable: the process, the card's count of unconfirmed
// responses, the accounts and the audit entry together. See unblock.Ledger.
func (s *Store) Apply(ctx context.Context, c unblock.Change) error {
	if c.From < 0 || c.Process.Revision != c.From+1 && (!c.Repeat || c.Process.Revision != c.From) {
		return fmt.Errorf("apply change to process %s: revision %d cannot follow %d", c.Process.ID, c.Process.Revision, c.From)
	}
	if c.From == 0 && !unblock.State("").May(c.Process.State) {
		return fmt.Errorf("apply change to process %s: none begins as %s", c.Process.ID, c.Process.State)
	}
	if c.MaxUnconfirmed < 0 {
		return fmt.Errorf("apply change to process %s: limit of %d unconfirmed responses", c.Process.ID, c.MaxUnconfirmed)
	}
	err := s.writer.write(ctx, func(tx *tx) error {
		if err := tx.move(c); err != nil {
			return err
		}
		if c.Grounds != nil {
			if err := tx.stand(*c.Grounds); err != nil {
				return err
			}
		}
		if c.Confirm {
			if err := tx.confirm(c.Process); err != nil {
				return err
			}
		}
		if full, err := tx.charge(c.Charges, c.Entry.Time); err != nil || full {
			return cmp.Or(err, unblock.ErrRate)
		}
		return tx.logDecided(c.Entry, c.Decided)
	})
	return failed("apply change to process "+c.Process.ID, err)
}

// move brings the process to where the change has it.
func (tx *tx) move(c unblock.Change) error {
	if c.Repeat {
		var revision int64
		err := tx.QueryRow(`SELECT revision FROM processes WHERE id = ?1`, c.Process.ID).Scan(&revision)
		if errors.Is(err, sql.ErrNoRows) || err == nil && revision != c.From {
			return unblock.ErrConflict
		}
		return err
	}
	if err := tx.first(c.Process); err != nil {
		return err
	}
	if err := tx.putProcess(c); err != nil {
		return err
	}
	if c.From == 0 || c.Answer {
		return tx.claim(c)
	}
	return nil
}

// first looks whether the change's idempotency keys come for the first time.
func (tx *tx) first(p unblock.Process) error {
	for _, key := range []string{p.Begun.Key, p.Given.Key} {
		if key == "" {
			continue
		}
		var used bool
		err := tx.QueryRow(`SELECT EXISTS (SELECT 1 FROM processes WHERE begun_key = ?1 AND id <> ?2)
			OR EXISTS (SELECT 1 FROM processes WHERE given_key = ?1 AND id <> ?2)`, key, p.ID).Scan(&used)
		switch {
		case err != nil:
			return err
		case used:
			return unblock.ErrOnce
		}
	}
	return nil
}

// processColumns are the columns of a process, in the order of processValues and of
// scanProcess.
const processColumns = `id, state, outcome, card, client, operator, means, reason, ticket, verification, override_reason,
	approval, approver, verdict, approved, decided_at, challenge, begun_key, begun_content, given_key, given_content,
	started_at, expires_at, answered_at, finished_at, revision`

func processValues(p unblock.Process) ([]any, error) {
	var approver []byte
	if p.Approver != nil {
		var err error
		if approver, err = json.Marshal(p.Approver); err != nil {
			return nil, err
		}
	}
	return []any{
		p.ID, p.State, p.Outcome, p.Card, p.Client, p.Operator, p.Means, p.Reason, p.Ticket, p.Verification, p.Override,
		p.Approval, string(approver), p.Verdict, p.Approved, micros(p.DecidedAt), p.Challenge,
		text(p.Begun.Key), text(p.Begun.Content), text(p.Given.Key), text(p.Given.Content),
		micros(p.StartedAt), micros(p.ExpiresAt), micros(p.AnsweredAt), micros(p.FinishedAt), p.Revision,
	}, nil
}

func scanProcess(row scanner) (unblock.Process, error) {
	var p unblock.Process
	var approver string
	var begun, given struct{ key, content sql.NullString }
	var decided, started, expires, answered, finished sql.NullInt64
	err := row.Scan(&p.ID, &p.State, &p.Outcome, &p.Card, &p.Client, &p.Operator, &p.Means, &p.Reason, &p.Ticket, &p.Verification, &p.Override,
		&p.Approval, &approver, &p.Verdict, &p.Approved, &decided, &p.Challenge,
		&begun.key, &begun.content, &given.key, &given.content,
		&started, &expires, &answered, &finished, &p.Revision)
	if err != nil {
		return unblock.Process{}, err
	}
	if approver != "" {
		if err := json.Unmarshal([]byte(approver), &p.Approver); err != nil {
			return unblock.Process{}, fmt.Errorf("approver of process %s: %w", p.ID, err)
		}
	}
	p.Begun = unblock.Once{Key: begun.key.String, Content: begun.content.String}
	p.Given = unblock.Once{Key: given.key.String, Content: given.content.String}
	p.DecidedAt, p.StartedAt, p.ExpiresAt = fromMicros(decided), fromMicros(started), fromMicros(expires)
	p.AnsweredAt, p.FinishedAt = fromMicros(answered), fromMicros(finished)
	return p, nil
}

// text is a text as it is stored where it may be missing: NULL for none, which unique
// indexes let pass any number of times.
func text(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }

// putProcess writes the process if it is still as it was at the revision that the
// change was made from. One that is answered gets the number that its response is
// then counted by.
func (tx *tx) putProcess(c unblock.Change) error {
	const (
		number = `CASE WHEN ?27 THEN 1 + coalesce((SELECT given FROM unconfirmed WHERE card = ?4), 0) ELSE `
		values = `?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, `
	)
	query := `UPDATE processes SET (` + processColumns + `, answer) = (` + values + number + `answer END)
		WHERE id = ?1 AND revision = ?26 - 1`
	if c.From == 0 {
		query = `INSERT INTO processes (` + processColumns + `, answer) VALUES (` + values + number + `NULL END)
			ON CONFLICT (id) DO NOTHING`
	}
	args, err := processValues(c.Process)
	if err != nil {
		return err
	}
	n, err := tx.exec(query, append(args, c.Answer)...)
	if err == nil && n == 0 {
		return unblock.ErrConflict
	}
	return err
}

// claim takes the card for the process, if no other keeps it and, for an answer, if
// the card has an attempt left and its challenge was not answered before. All of it is
// one statement: an answer waits for each. What it says of a process that keeps the
// card is unblock.Process.Holds, and a card without a row had no process yet.
func (tx *tx) claim(c unblock.Change) error {
	given := flag(c.Answer)
	p := c.Process
	counted := -1 // whatever the count
	if c.Grounds != nil && c.Grounds.Counted {
		counted = c.Grounds.Unconfirmed
	}
	n, err := tx.exec(`INSERT INTO unconfirmed (card, count, given, latest) VALUES (?1, ?2, ?2, ?3)
		ON CONFLICT (card) DO UPDATE SET count = unconfirmed.count + ?2, given = unconfirmed.given + ?2, latest = ?3
		WHERE (?4 = 0 OR unconfirmed.count < ?4) AND (?9 < 0 OR unconfirmed.count = ?9)
			AND (unconfirmed.latest = ?3 OR NOT EXISTS (SELECT 1 FROM processes WHERE id = unconfirmed.latest AND expires_at > ?5 AND started_at <= ?10
				AND (state IN ('waiting', 'started') OR state = 'answered' AND operator <> ?6)))
			AND (?7 = 1 OR NOT EXISTS (SELECT 1 FROM processes WHERE card = ?1 AND challenge = ?8 AND challenge <> '' AND id <> ?3))`,
		p.Card, given, p.ID, given*c.MaxUnconfirmed, micros(c.Entry.Time), p.Operator, flag(c.Again || !c.Answer), p.Challenge, counted,
		micros(c.Entry.Time.Add(unblock.ClocksDiffer)))
	if err == nil && n == 0 {
		return tx.unclaimed(c)
	}
	return err
}

// unclaimed says why a card could not be claimed.
func (tx *tx) unclaimed(c unblock.Change) error {
	p := c.Process
	var count int
	var answered bool
	err := tx.QueryRow(`SELECT count, EXISTS (SELECT 1 FROM processes WHERE card = ?1 AND challenge = ?2 AND challenge <> '' AND id <> ?3)
		FROM unconfirmed WHERE card = ?1`, p.Card, p.Challenge, p.ID).Scan(&count, &answered)
	switch {
	case err != nil:
		return err
	case c.Answer && !c.Again && answered:
		return unblock.ErrChallenge
	case c.Answer && c.MaxUnconfirmed != 0 && count >= c.MaxUnconfirmed:
		return unblock.ErrAttempts
	case c.Grounds != nil && c.Grounds.Counted && count != c.Grounds.Unconfirmed:
		return unblock.ErrGrounds
	}
	return unblock.ErrBusy
}

// flag is a bool as a number, which every database compares with one.
func flag(is bool) int {
	if is {
		return 1
	}
	return 0
}

// charge moves the arrivals of accounts on by one decision, of those that have room
// for it, and tells whether one had none. The algorithm is that of unblock.Charge.
func (tx *tx) charge(charges []unblock.Charge, at time.Time) (full bool, err error) {
	for _, c := range charges {
		interval := c.Interval()
		n, err := tx.exec(`INSERT INTO limits (key, arrival) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE
			SET arrival = CASE WHEN limits.arrival > ?3 AND limits.arrival <= ?6 THEN limits.arrival + ?4 ELSE ?2 END
			WHERE limits.arrival <= ?5 OR limits.arrival > ?6`,
			c.Key, at.Add(interval).UnixMicro(), at.UnixMicro(), interval.Microseconds(), at.Add(c.Per-interval).UnixMicro(), c.Furthest(at).UnixMicro())
		if err != nil {
			return false, fmt.Errorf("charge %s: %w", c.Key, err)
		}
		full = full || n == 0
	}
	return full, nil
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
	var name, profile string
	var remote, self []byte
	var key sql.NullString
	err = tx.QueryRow(`SELECT name, profile, unblock_remote, unblock_self, (SELECT state FROM key_records WHERE key = ?2 AND version = ?3)
		FROM card_types WHERE id = ?1`, g.Type.ID, g.Master, g.Version).Scan(&name, &profile, &remote, &self, &key)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return unblock.ErrGrounds
	case err != nil:
		return err
	}
	var remoteNow, selfNow map[string]bool
	if err := errors.Join(json.Unmarshal(remote, &remoteNow), json.Unmarshal(self, &selfNow)); err != nil {
		return fmt.Errorf("switches of card type %s: %w", g.Type.ID, err)
	}
	// Policies are told of the source, which makes no other card, and of the type's name.
	if !sameCard(c, g.Card) || c.Source != g.Card.Source || name != g.Type.Name || profile != g.Type.Profile || !maps.Equal(remoteNow, g.Type.UnblockRemote) || !maps.Equal(selfNow, g.Type.UnblockSelf) ||
		key.Valid && !custody.State(key.String).Answers() {
		return unblock.ErrGrounds
	}
	return nil
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

// Deny makes a refusal's audit entry durable; see unblock.Ledger.
func (s *Store) Deny(ctx context.Context, e audit.Entry, charges []unblock.Charge, decided *policy.Decided) error {
	err := s.writer.write(ctx, func(tx *tx) error {
		if _, err := tx.charge(charges, e.Time); err != nil {
			return err
		}
		return tx.logDecided(e, decided)
	})
	return failed("append refusal to the audit log", err)
}

// Process finds a process, or gives card.ErrNotFound.
func (s *Store) Process(ctx context.Context, id string) (unblock.Process, error) {
	p, err := scanProcess(s.readers.QueryRowContext(ctx, `SELECT `+processColumns+` FROM processes WHERE id = ?1`, id))
	return p, s.unread("find process "+id, err)
}

// ProcessOf finds the process that was started or answered under an idempotency key,
// or gives card.ErrNotFound.
func (s *Store) ProcessOf(ctx context.Context, key string) (unblock.Process, error) {
	p, err := scanProcess(s.readers.QueryRowContext(ctx, `SELECT `+processColumns+` FROM processes WHERE begun_key = ?1
		UNION ALL SELECT `+processColumns+` FROM processes WHERE given_key = ?1 LIMIT 1`, key))
	return p, s.unread("find the process of an idempotency key", err)
}

// maxWaiting is how many processes WaitingProcesses gives at most.
const maxWaiting = 500

// WaitingProcesses lists the processes that wait for approval at the moment, the
// oldest first: at most 500.
func (s *Store) WaitingProcesses(ctx context.Context, now time.Time) ([]unblock.Process, error) {
	rows, err := s.readers.QueryContext(ctx, `SELECT `+processColumns+` FROM processes
		WHERE state = 'waiting' AND expires_at > ?1 AND started_at <= ?3 ORDER BY expires_at, id LIMIT ?2`, micros(now), maxWaiting, micros(now.Add(unblock.ClocksDiffer)))
	if err != nil {
		return nil, s.unread("list processes that wait", err)
	}
	list, err := collect(rows, scanProcess)
	return list, s.unread("list processes that wait", err)
}

// maxOpen is how many processes of a card OpenProcesses lists.
const maxOpen = 50

// OpenProcesses lists the card's processes that are under way, and those that were
// answered, have no outcome and still count; the oldest first. Only the one that was
// begun last can be under way.
func (s *Store) OpenProcesses(ctx context.Context, serial string, now time.Time) ([]unblock.Process, error) {
	rows, err := s.readers.QueryContext(ctx, `SELECT `+processColumns+` FROM processes
		WHERE card = ?1 AND challenge <> '' AND state = 'answered' AND answer > (SELECT given - count FROM unconfirmed WHERE card = ?1)
		UNION ALL SELECT `+processColumns+` FROM processes
		WHERE id = (SELECT latest FROM unconfirmed WHERE card = ?1) AND state IN ('waiting', 'started') AND expires_at > ?2 AND started_at <= ?4
		ORDER BY started_at, id LIMIT ?3`, serial, micros(now), maxOpen, micros(now.Add(unblock.ClocksDiffer)))
	if err != nil {
		return nil, s.unread("list the open processes of card "+serial, err)
	}
	list, err := collect(rows, scanProcess)
	return list, s.unread("list the open processes of card "+serial, err)
}

// Arrivals tells how accounts stand, by key; those without one are left out.
func (s *Store) Arrivals(ctx context.Context, keys ...string) (map[string]time.Time, error) {
	places, args := make([]string, len(keys)), make([]any, len(keys))
	for i, key := range keys {
		places[i], args[i] = fmt.Sprintf("?%d", i+1), key
	}
	rows, err := s.readers.QueryContext(ctx, `SELECT key, arrival FROM limits WHERE key IN (`+strings.Join(places, ", ")+`)`, args...)
	if err != nil {
		return nil, s.unread("look up limits", err)
	}
	arrivals := make(map[string]time.Time, len(keys))
	_, err = collect(rows, func(row scanner) (struct{}, error) {
		var key string
		var at int64
		err := row.Scan(&key, &at)
		arrivals[key] = time.UnixMicro(at)
		return struct{}{}, err
	})
	return arrivals, s.unread("look up limits", err)
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
