package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/mattn/go-sqlite3"
	"github.com/pressly/goose/v3"
)

const (
	driver = "sqlite3"
	// applicationID marks a file as a Latchkey database; see the first migration.
	applicationID = 0x4C544348
)

// openSQLite opens the database at the path for one process alone.
func openSQLite(ctx context.Context, path string) (*database, error) {
	path, lock, err := claim(path)
	if err != nil {
		return nil, err
	}
	if err := recognise(ctx, path); err != nil {
		return nil, errors.Join(explain(err), lock.Close())
	}
	writer, err := sql.Open(driver, writerDSN(path))
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	writer.SetMaxOpenConns(1)
	readers, err := sql.Open(driver, readerDSN(path))
	if err != nil {
		return nil, errors.Join(err, writer.Close(), lock.Close())
	}
	readers.SetMaxOpenConns(2 * runtime.GOMAXPROCS(0))
	readers.SetMaxIdleConns(2 * runtime.GOMAXPROCS(0))
	return &database{
		readers: &pool{DB: readers, bind: unchanged}, writer: &pool{DB: writer, bind: unchanged},
		dialect: goose.DialectSQLite3, steps: "migrations", explain: explain,
		there: tablesOfFile, disarm: disarmFile,
		// The writer's connection goes last: closing it moves the -wal into the database.
		release: func() error { return errors.Join(readers.Close(), writer.Close(), lock.Close()) },
	}, nil
}

// unchanged binds a query as this package writes it: as SQLite does.
func unchanged(query string) string { return query }

// claim takes the lock that keeps other processes out and makes the database
// file if it is not there, readable and writable for its owner only. It gives
// back the path without symbolic links, for which the lock holds.
//
// The lock is a file of its own: SQLite keeps POSIX locks on the database file,
// and those are lost when any descriptor of that file is closed.
func claim(path string) (string, *os.File, error) {
	folder, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", nil, fmt.Errorf("the folder must be made first: %w", err)
	}
	if folder, err = filepath.Abs(folder); err != nil {
		return "", nil, err
	}
	path = filepath.Join(folder, filepath.Base(path))
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	lock, err := os.OpenFile(path+"-lock", os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // whoever runs the program names its database
	if err != nil {
		return "", nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = fmt.Errorf("%w; stop it, or use another database", ErrInUse)
		}
		return "", nil, errors.Join(err, lock.Close())
	}
	// SQLite gives -wal and -shm the mode of the database file. Where the file
	// cannot be written SQLite would open it for reading and fail much later.
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // as above
	if err == nil {
		err = file.Close()
	}
	if err != nil {
		return "", nil, errors.Join(err, lock.Close())
	}
	return path, lock, nil
}

// writerDSN opens for writing. With WAL and synchronous=FULL a commit is on disk
// when it returns. Another program, such as the sqlite3 shell, is waited for. 32
// MiB of cache keep a bulk import from reading the same pages again and again.
func writerDSN(path string) string {
	return dsn(path, url.Values{
		"_journal_mode": {"WAL"}, "_synchronous": {"FULL"}, "_foreign_keys": {"on"},
		"_busy_timeout": {"5000"}, "_txlock": {"immediate"}, "_cache_size": {"-32768"}, "_stmt_cache_size": {"32"},
	})
}

func readerDSN(path string) string {
	return dsn(path, url.Values{
		"mode": {"ro"}, "_query_only": {"on"}, "_busy_timeout": {"5000"}, "_stmt_cache_size": {"32"},
	})
}

func dsn(path string, options url.Values) string {
	return (&url.URL{Scheme: "file", Path: path, RawQuery: options.Encode()}).String()
}

// recognise refuses a database that something else than Latchkey made. An empty
// one is welcome, and so is one where the very first migration was cut off after
// goose made its table.
//
// It has a connection of its own, which changes no setting of the file, but may
// write: what a crash left half done is SQLite's to undo before anybody reads.
func recognise(ctx context.Context, path string) error {
	db, err := sql.Open(driver, dsn(path, nil))
	if err != nil {
		return err
	}
	var id, tables int
	err = db.QueryRowContext(ctx, `SELECT (SELECT application_id FROM pragma_application_id), count(*) FROM sqlite_schema
		WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\' AND name <> ?1`, goose.DefaultTablename).Scan(&id, &tables)
	err = errors.Join(err, db.Close())
	if err == nil && id != applicationID && tables != 0 {
		err = fmt.Errorf("%w; name another file", ErrForeign)
	}
	return err
}

// explain says what SQLite's errors mean for whoever opens the database.
func explain(err error) error {
	var e sqlite3.Error
	if errors.As(err, &e) {
		switch e.Code {
		case sqlite3.ErrNotADB:
			return fmt.Errorf("%w; name another file: %w", ErrForeign, err)
		case sqlite3.ErrReadonly:
			return fmt.Errorf("%w; its folder must be writable too, and its -wal and -shm: %w", fs.ErrPermission, err)
		}
	}
	return err
}

func tablesOfFile(ctx context.Context, t *sql.Tx) ([]string, error) {
	return names(t.QueryContext(ctx, `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY name`))
}

// names collects a column of text.
func names(rows *sql.Rows, err error) ([]string, error) {
	if err != nil {
		return nil, err
	}
	return collect(rows, func(row scanner) (name string, err error) {
		err = row.Scan(&name)
		return name, err
	})
}

// disarmFile drops the triggers, and makes them again.
func disarmFile(ctx context.Context, t *sql.Tx) (arm func() error, err error) {
	triggers, err := names(t.QueryContext(ctx, `SELECT sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY name`))
	if err != nil {
		return nil, err
	}
	drops, err := names(t.QueryContext(ctx, `SELECT 'DROP TRIGGER "' || name || '"' FROM sqlite_schema WHERE type = 'trigger'`))
	if err != nil {
		return nil, err
	}
	each := func(statements []string) error {
		for _, statement := range statements {
			if _, err := t.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	}
	return func() error { return each(triggers) }, each(drops)
}
