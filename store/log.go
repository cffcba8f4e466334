package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"latchkey/audit"
)

// Log reads the audit log as it is kept: audit.Source.
type Log struct {
	db     *pool
	unread func(what string, err error) error
}

var _ audit.Source = (*Log)(nil)

// Log is the audit log of an open database.
func (s *Store) Log() *Log { return &Log{s.readers, s.unread} }

// OpenLog opens a database to read its audit log and nothing else. A server may have
// it open, and nothing is changed. The error is ErrForeign, ErrNewer or
// fs.ErrNotExist where that is what is wrong. Call done when done.
func OpenLog(ctx context.Context, where string) (l *Log, done func() error, err error) {
	c, err := Inspect(ctx, where)
	if err != nil {
		return nil, nil, err
	}
	if c.Schema < auditTree {
		return nil, nil, fmt.Errorf("read the audit log of %s: the database is of an older version; start this version with it once", Name(where))
	}
	db, err := openToLook(where)
	if err != nil {
		return nil, nil, fmt.Errorf("read the audit log of %s: %w", Name(where), err)
	}
	return &Log{db, failed}, db.Close, nil
}

// auditTree is the schema version from which on the log has its tree.
const auditTree = 9

// Head tells what the log is called and how long it is.
func (l *Log) Head(ctx context.Context) (audit.Head, error) {
	var h audit.Head
	err := l.db.QueryRowContext(ctx, `SELECT origin, pruned, (SELECT coalesce(max(sequence), 0) FROM audit_entries) FROM audit_log`).
		Scan(&h.Origin, &h.Pruned, &h.Size)
	return h, l.unread("read the audit log's length", err)
}

// Rows gives entries as they are kept, from a sequence number on, limit of them at
// most.
func (l *Log) Rows(ctx context.Context, from int64, limit int) ([]audit.Row, error) {
	rows, err := l.db.QueryContext(ctx, `SELECT sequence, entry, leaf FROM audit_entries WHERE sequence >= ?1 ORDER BY sequence LIMIT ?2`, from, limit)
	if err != nil {
		return nil, l.unread("read the audit log", err)
	}
	list, err := collect(rows, func(row scanner) (audit.Row, error) {
		var r audit.Row
		var leaf []byte
		err := row.Scan(&r.Sequence, &r.Text, &leaf)
		r.Leaf = hashOf(leaf)
		return r, err
	})
	return list, l.unread("read the audit log", err)
}

// Hashes reads the tree; see audit.Kept.
func (l *Log) Hashes(ctx context.Context, level int, place, n int64) ([]audit.Hash, error) {
	list, err := kept(func(query string, args ...any) (*sql.Rows, error) {
		return l.db.QueryContext(ctx, query, args...)
	}, level, place, n)
	return list, l.unread("read the audit log's tree", err)
}

// Checkpoints gives the checkpoints over size entries or more, in order, limit of
// them at most. They are given as they are kept: whoever trusts them verifies them.
func (l *Log) Checkpoints(ctx context.Context, size int64, limit int) ([]audit.Checkpoint, error) {
	rows, err := l.db.QueryContext(ctx, `SELECT size, note FROM audit_checkpoints WHERE size >= ?1 ORDER BY size LIMIT ?2`, size, limit)
	if err != nil {
		return nil, l.unread("read the checkpoints", err)
	}
	list, err := collect(rows, scanCheckpoint)
	return list, l.unread("read the checkpoints", err)
}

// Newest is the checkpoint over the most entries, the zero Checkpoint where there is
// none.
func (l *Log) Newest(ctx context.Context) (audit.Checkpoint, error) {
	c, err := scanCheckpoint(l.db.QueryRowContext(ctx, `SELECT size, note FROM audit_checkpoints ORDER BY size DESC LIMIT 1`))
	if errors.Is(err, sql.ErrNoRows) {
		return audit.Checkpoint{}, nil
	}
	return c, l.unread("read the newest checkpoint", err)
}

func scanCheckpoint(row scanner) (audit.Checkpoint, error) {
	var size int64
	var note string
	if err := row.Scan(&size, &note); err != nil {
		return audit.Checkpoint{}, err
	}
	if c, err := audit.ReadCheckpoint(note); err == nil && c.Size == size {
		return c, nil
	}
	return audit.Checkpoint{Size: size, Note: note}, nil
}

// KeepCheckpoint makes a checkpoint durable. It must be over more entries than the
// newest.
func (s *Store) KeepCheckpoint(ctx context.Context, c audit.Checkpoint, at time.Time) error {
	err := s.writer.write(ctx, func(tx *tx) error {
		_, err := tx.exec(`INSERT INTO audit_checkpoints (size, note, created_at) VALUES (?1, ?2, ?3)`, c.Size, c.Note, micros(at))
		return err
	})
	return failed("keep checkpoint", err)
}

// Cursor is how far a sink has come: the sequence number of the last entry that it
// took, 0 where it took none.
func (s *Store) Cursor(ctx context.Context, sink string) (int64, error) {
	var sequence int64
	err := s.readers.QueryRowContext(ctx, `SELECT sequence FROM audit_cursors WHERE sink = ?1`, sink).Scan(&sequence)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return sequence, s.unread("read the cursor of sink "+sink, err)
}

// BeginCursor makes a cursor at the log's end for a sink that has none.
func (s *Store) BeginCursor(ctx context.Context, sink string, at time.Time) error {
	err := s.writer.write(ctx, func(tx *tx) error {
		_, err := tx.exec(`INSERT INTO audit_cursors (sink, sequence, changed_at)
			SELECT ?1, coalesce(max(sequence), 0), ?2 FROM audit_entries WHERE true ON CONFLICT (sink) DO NOTHING`, sink, micros(at))
		return err
	})
	return failed("begin the cursor of sink "+sink, err)
}

// MoveCursor makes it durable how far a sink has come. It never goes back.
func (s *Store) MoveCursor(ctx context.Context, sink string, sequence int64, at time.Time) error {
	err := s.writer.write(ctx, func(tx *tx) error {
		_, err := tx.exec(`INSERT INTO audit_cursors (sink, sequence, changed_at) VALUES (?1, ?2, ?3)
			ON CONFLICT (sink) DO UPDATE SET (sequence, changed_at) = (?2, ?3) WHERE audit_cursors.sequence < ?2`, sink, sequence, micros(at))
		return err
	})
	return failed("move the cursor of sink "+sink, err)
}

// Prune takes away the bodies of entries up to a sequence number, which must be
// behind the newest checkpoint, and logs the entry that tells of it. Their leaves
// stay, and with them every proof.
func (s *Store) Prune(ctx context.Context, upTo int64, e audit.Entry) error {
	// Few at a time, since answers wait meanwhile.
	const atOnce = 2000
	e.Pruned = upTo
	err := s.writer.write(ctx, func(tx *tx) error {
		if _, err := tx.exec(`UPDATE audit_log SET pruned = ?1 WHERE pruned < ?1`, upTo); err != nil {
			return err
		}
		return tx.log(e)
	})
	if err != nil {
		return failed("prune the audit log", err)
	}
	// What an earlier pruning was cut off from is taken up here.
	var first int64
	err = s.readers.QueryRowContext(ctx, `SELECT coalesce(min(sequence), ?1 + 1) FROM audit_entries WHERE sequence <= ?1 AND entry <> ''`, upTo).Scan(&first)
	for at := first - 1; err == nil && at < upTo; at += atOnce {
		err = s.writer.write(ctx, func(tx *tx) error {
			_, err := tx.exec(`UPDATE audit_entries SET entry = '' WHERE sequence > ?1 AND sequence <= ?2 AND entry <> ''`, at, min(at+atOnce, upTo))
			return err
		})
	}
	return failed("prune the audit log", err)
}
