package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

const (
	// writeLock is the advisory lock that the node which writes holds: a number that
	// no other program is likely to choose ("latchkey" in ASCII).
	writeLock = 0x6C617463686B6579
	// readConnections is how many queries one node has under way at most.
	readConnections = 16
	// idleWrite is how long a node may hold the others up that has begun to write and
	// says nothing. Its transaction is then rolled back by the server.
	idleWrite = 10 * time.Second
	// waitWrite is how long a node waits for the others to have written.
	waitWrite = 10 * time.Second
)

// isPostgres tells a connection string from a path.
func isPostgres(where string) bool {
	return strings.HasPrefix(where, "postgres://") || strings.HasPrefix(where, "postgresql://")
}

// Name is a database as messages name it: without the password.
func Name(where string) string {
	if !isPostgres(where) {
		return where
	}
	u, err := url.Parse(where)
	if err != nil {
		return "postgres://..." // it may hold a password anywhere
	}
	q := u.Query()
	q.Del("password")
	u.RawQuery = q.Encode()
	return u.Redacted()
}

// openPostgres opens a database that several nodes may share. The node whose batch
// holds the advisory lock is the one that writes; the others wait for it. So what
// a transaction reads before it writes cannot change in between, and the numbers of
// the audit log have no gaps, as with SQLite's one writer. A node that dies loses its
// connection and the lock with it, and the next one goes on.
func openPostgres(ctx context.Context, where string) (*database, error) {
	settings, err := postgresSettings(where)
	if err != nil {
		return nil, err
	}
	reading, changing := settings.Copy(), settings.Copy()
	reading.RuntimeParams["default_transaction_read_only"] = "on"
	reading.RuntimeParams["statement_timeout"] = "30s"
	changing.RuntimeParams["synchronous_commit"] = "on"
	changing.RuntimeParams["lock_timeout"] = fmt.Sprint(waitWrite.Milliseconds())
	changing.RuntimeParams["idle_in_transaction_session_timeout"] = fmt.Sprint(idleWrite.Milliseconds())

	readers, writer := stdlib.OpenDB(*reading), stdlib.OpenDB(*changing)
	readers.SetMaxOpenConns(readConnections)
	readers.SetMaxIdleConns(readConnections)
	writer.SetMaxOpenConns(1)
	release := func() error { return errors.Join(readers.Close(), writer.Close()) }

	if err := recognisePostgres(ctx, writer); err != nil {
		return nil, errors.Join(explainPostgres(err), release())
	}
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return nil, errors.Join(err, release())
	}
	bind := numbered()
	return &database{
		readers: &pool{DB: readers, bind: bind},
		writer: &pool{writer, bind, writing{
			lead: func(t *sql.Tx) error {
				_, err := t.Exec(`SELECT pg_advisory_xact_lock($1)`, int64(writeLock))
				return err
			},
			doubtful: func(err error) bool {
				// What the server itself says no to did not take place.
				var no *pgconn.PgError
				return !errors.As(err, &no) && !pgconn.SafeToRetry(err)
			},
		}},
		dialect: goose.DialectPostgres, steps: "migrations/postgres", locker: locker,
		there: tablesOfServer, disarm: disarmServer, explain: explainPostgres, release: release,
	}, nil
}

func postgresSettings(where string) (*pgx.ConnConfig, error) {
	settings, err := pgx.ParseConfig(where)
	if err != nil {
		// Its text may show the connection string.
		return nil, errors.New("the connection string cannot be read; it has the form postgres://USER@HOST:PORT/DATABASE?sslmode=verify-full")
	}
	settings.RuntimeParams["application_name"] = "latchkey"
	settings.RuntimeParams["timezone"] = "UTC"
	settings.ConnectTimeout = 5 * time.Second
	return settings, nil
}

// numbered writes ?1 as $1, and remembers what it wrote: queries are constants of
// this package, so there are few.
func numbered() func(string) string {
	parameter := regexp.MustCompile(`\?(\d+)`)
	var written sync.Map
	return func(query string) string {
		if text, ok := written.Load(query); ok {
			return text.(string) //nolint:errcheck // nothing else is stored
		}
		text := parameter.ReplaceAllString(query, `$$$1`)
		written.Store(query, text)
		return text
	}
}

// recognisePostgres refuses a database that something else than Latchkey made, and
// one that would lose what it acknowledged.
func recognisePostgres(ctx context.Context, db *sql.DB) error {
	var ours bool
	var tables int
	var fsync, full string
	err := db.QueryRowContext(ctx, `SELECT to_regclass('audit_entries') IS NOT NULL AND to_regclass('unconfirmed') IS NOT NULL,
		(SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename <> $1),
		current_setting('fsync'), current_setting('full_page_writes')`, goose.DefaultTablename).Scan(&ours, &tables, &fsync, &full)
	switch {
	case err != nil:
		return err
	case !ours && tables != 0:
		return fmt.Errorf("%w; name another database, or a schema by search_path", ErrForeign)
	case fsync != "on" || full != "on":
		return fmt.Errorf("%w: fsync and full_page_writes must be on in the server", ErrNotDurable)
	}
	return nil
}

// explainPostgres says what PostgreSQL's errors mean for whoever opens the database.
func explainPostgres(err error) error {
	var no *pgconn.PgError
	if errors.As(err, &no) {
		switch no.Code {
		case "42501", "28000", "28P01": // insufficient_privilege, invalid_authorization, invalid_password
			return fmt.Errorf("%w: %w", fs.ErrPermission, err)
		case "3D000": // invalid_catalog_name
			return fmt.Errorf("make the database first, with createdb: %w", err)
		}
	}
	return err
}

func tablesOfServer(ctx context.Context, t *sql.Tx) ([]string, error) {
	return names(t.QueryContext(ctx, `SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY tablename`))
}

// disarmServer turns the triggers off, and on again.
func disarmServer(ctx context.Context, t *sql.Tx) (arm func() error, err error) {
	tables, err := tablesOfServer(ctx, t)
	if err != nil {
		return nil, err
	}
	each := func(do string) error {
		for _, table := range tables {
			if _, err := t.ExecContext(ctx, `ALTER TABLE `+pgx.Identifier{table}.Sanitize()+` `+do+` TRIGGER USER`); err != nil {
				return err
			}
		}
		return nil
	}
	return func() error { return each("ENABLE") }, each("DISABLE")
}
