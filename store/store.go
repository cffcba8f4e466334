package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"latchkey/card"
	"latchkey/unblock"
)

// Errors that callers tell apart. Besides these there are card.ErrNotFound for
// what is not there, and unblock.ErrConflict, unblock.ErrAttempts and
// unblock.ErrGrounds of Apply.
var (
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("the store is closed")
	// ErrUncertain says that the caller's context ended while its write was being
	// made durable: it is on disk as a whole or not at all, but which is not known.
	ErrUncertain = errors.New("it is not known whether the write took place")
	// ErrInUse says that another process has the SQLite database open.
	ErrInUse = errors.New("the database is in use by another Latchkey process")
	// ErrNewer says that a newer version of Latchkey made the database's schema.
	ErrNewer = errors.New("the database is newer than this version of Latchkey")
	// ErrForeign says that something else than Latchkey made the file.
	ErrForeign = errors.New("this is not a Latchkey database")
	// ErrNotDurable says that the database acknowledges what is not on disk.
	ErrNotDurable = errors.New("the database acknowledges writes before they are on disk")
	// ErrQuery says that a search is not one that can be carried out.
	ErrQuery = errors.New("unfit search")
)

// checkTimeout bounds Check where the caller's context does not.
const checkTimeout = 5 * time.Second

// Store is an open database. It is safe for concurrent use.
type Store struct {
	readers *pool
	// searching holds the searches under way, which must leave readers and processors
	// to the answers.
	searching chan struct{}
	cursors   cursors
	writer    *writer
	close     func() error
}

var (
	_ unblock.Cards  = (*Store)(nil)
	_ unblock.Ledger = (*Store)(nil)
)

// Open opens a database and brings its schema up to date. It is named by the path
// of an SQLite file, which is made where it is not there, its folder is not; or by the
// connection string of a PostgreSQL database, which begins with postgres:// and is
// made beforehand. The error is ErrInUse, ErrNewer, ErrForeign, ErrNotDurable or
// fs.ErrPermission where that is what is wrong, and nothing is changed then.
func Open(ctx context.Context, where string) (*Store, error) {
	s, err := open(ctx, where)
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", Name(where), err)
	}
	return s, nil
}

func open(ctx context.Context, where string) (*Store, error) {
	connect := openSQLite
	if isPostgres(where) {
		connect = openPostgres
	}
	d, err := connect(ctx, where)
	if err != nil {
		return nil, err
	}
	if err := d.migrate(ctx); err != nil {
		return nil, errors.Join(d.explain(err), d.release())
	}
	if err := index(ctx, d.writer); err != nil {
		return nil, errors.Join(d.explain(err), d.release())
	}
	if err := plant(ctx, d.writer); err != nil {
		return nil, errors.Join(d.explain(err), d.release())
	}
	sealing, err := newCursors(ctx, d.writer)
	if err != nil {
		return nil, errors.Join(err, d.release())
	}
	s := &Store{readers: d.readers, cursors: sealing, searching: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)), writer: newWriter(d.writer)}
	s.close = sync.OnceValue(func() error {
		s.writer.close()
		return d.release()
	})
	return s, nil
}

// Close carries out the writes that wait, then closes the database. What comes
// afterwards gets ErrClosed. It may be called more than once.
func (s *Store) Close() error {
	if err := s.close(); err != nil {
		return fmt.Errorf("close database: %w", err)
	}
	return nil
}

// Check tells whether the store can write durably, by doing so. It takes at most
// five seconds, or less where the context says so.
func (s *Store) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	err := s.writer.write(ctx, func(tx *tx) error {
		_, err := tx.exec(`INSERT INTO heartbeat (id, at) VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET at = ?1`, micros(time.Now()))
		return err
	})
	return failed("write to the database", err)
}

// failed says what could not be done.
func failed(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// unread says what could not be read, and gives the errors that callers tell
// apart in place of the database library's.
func (s *Store) unread(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sql.ErrNoRows):
		err = card.ErrNotFound
	case s.writer.closed():
		err = ErrClosed
	}
	return failed(what, err)
}

// micros is a time as it is stored: microseconds since 1970, or NULL for none.
func micros(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.UnixMicro(), Valid: !t.IsZero()}
}

func fromMicros(n sql.NullInt64) time.Time {
	if !n.Valid {
		return time.Time{}
	}
	return time.UnixMicro(n.Int64).UTC()
}
