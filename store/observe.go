package store

import (
	"context"
	"database/sql"
	"time"

	"latchkey/audit"
)

// Observer is told of what the writer does. It is called by the writer itself,
// between one transaction and the next, so it has to be quick.
type Observer interface {
	// Committed tells of a transaction that ended: how many writes shared it, how
	// long it took, and the entries that it added to the audit log. Where it failed
	// there are none.
	Committed(writes int, took time.Duration, entries []Logged, err error)
}

// Logged is what an entry of the audit log says happened, without whom it happened
// to. The slice that it comes in must not be kept.
type Logged struct {
	Action  audit.Action
	Outcome audit.Outcome
	Code    string
}

// Observe has the observer told of every transaction from now on.
func (s *Store) Observe(o Observer) { s.writer.observer.Store(&o) }

// observe tells the observer, if there is one, of a transaction.
func (w *writer) observe(tx *tx, writes int, began time.Time, err error) {
	o := w.observer.Load()
	if o == nil || writes == 0 {
		return
	}
	var entries []Logged
	if err == nil {
		entries = tx.logged
	}
	(*o).Committed(writes, time.Since(began), entries, err)
}

// Status is how the store stands at the moment.
type Status struct {
	// Waiting is how many writes wait for the writer.
	Waiting int
	// LogSize is how many entries the audit log has had.
	LogSize int64
	// SignedSize is how many of them the newest checkpoint is over.
	SignedSize int64
	// Signed is when the newest checkpoint of the log was signed, zero where none was.
	Signed time.Time
	// Synced is when each source confirmed a card last, by the source's name; "" is
	// cards of which no source is known.
	Synced map[string]time.Time
}

// maxSources bounds how many sources Status tells of. Sources are configured
// clients, so there are few.
const maxSources = 100

// newestBySource goes from one source to the next by the index cards_by_source:
// GROUP BY would walk through all cards.
const newestBySource = `WITH RECURSIVE sources (source) AS (
		SELECT min(source) FROM cards
		UNION ALL
		SELECT (SELECT min(cards.source) FROM cards WHERE cards.source > sources.source) FROM sources WHERE sources.source IS NOT NULL
	)
	SELECT source, (SELECT max(synced_at) FROM cards WHERE cards.source = sources.source) FROM sources
	WHERE source IS NOT NULL LIMIT ?1`

// Status tells how the store stands. It costs a few look-ups in an index, however
// many cards and entries there are.
func (s *Store) Status(ctx context.Context) (Status, error) {
	status := Status{Waiting: len(s.writer.queue), Synced: make(map[string]time.Time)}
	var signed sql.NullInt64
	err := s.readers.QueryRowContext(ctx, `SELECT coalesce(max(sequence), 0), (SELECT coalesce(max(size), 0) FROM audit_checkpoints),
		(SELECT created_at FROM audit_checkpoints ORDER BY size DESC LIMIT 1) FROM audit_entries`).Scan(&status.LogSize, &status.SignedSize, &signed)
	status.Signed = fromMicros(signed)
	if err != nil {
		return status, s.unread("read the audit log's length", err)
	}
	rows, err := s.readers.QueryContext(ctx, newestBySource, maxSources)
	if err != nil {
		return status, s.unread("read when cards were confirmed", err)
	}
	_, err = collect(rows, func(row scanner) (struct{}, error) {
		var source string
		var at sql.NullInt64
		err := row.Scan(&source, &at)
		if at.Valid {
			status.Synced[source] = fromMicros(at)
		}
		return struct{}{}, err
	})
	return status, s.unread("read when cards were confirmed", err)
}
