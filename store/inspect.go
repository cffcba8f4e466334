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

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// Condition is what can be seen of a database without taking it into use.
type Condition struct {
	Mode fs.FileMode // of the database file, where there is one
	// Schema is the version of the database's schema, Latest the one that this
	// program brings it to when it opens it.
	Schema, Latest int64
}

// Inspect looks at the database at the path, which another process may have open:
// it reads, takes no lock and makes no file. The error is fs.ErrNotExist,
// ErrForeign, ErrNewer or fs.ErrPermission where that is what is wrong.
func Inspect(ctx context.Context, path string) (Condition, error) {
	if isPostgres(path) {
		c, err := inspectPostgres(ctx, path)
		return c, failed("look at database "+Name(path), explainPostgres(err))
	}
	c, err := inspect(ctx, path)
	return c, failed("look at database "+path, explain(err))
}

// inspectPostgres is inspect for a connection string. There is no file with a mode.
func inspectPostgres(ctx context.Context, where string) (c Condition, err error) {
	db, err := openToLook(where)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if c.Latest, err = latest(); err != nil {
		return c, err
	}
	if err := recognisePostgres(ctx, db.DB); err != nil {
		return c, err
	}
	var there bool
	if err := db.QueryRowContext(ctx, `SELECT to_regclass($1) IS NOT NULL`, goose.DefaultTablename).Scan(&there); err != nil || !there {
		return c, err
	}
	err = c.schema(ctx, db.DB)
	return c, err
}

// schema reads the schema's version.
func (c *Condition) schema(ctx context.Context, db *sql.DB) error {
	if err := db.QueryRowContext(ctx, `SELECT max(version_id) FROM `+goose.DefaultTablename).Scan(&c.Schema); err != nil {
		return err
	}
	if c.Schema > c.Latest {
		return fmt.Errorf("%w: its schema is version %d and this program knows %d", ErrNewer, c.Schema, c.Latest)
	}
	return nil
}

func inspect(ctx context.Context, path string) (c Condition, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return Condition{}, err
	}
	c.Mode = info.Mode()
	if c.Latest, err = latest(); err != nil || info.Size() == 0 {
		return c, err
	}
	db, err := openToLook(path)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var id int
	if err := db.QueryRowContext(ctx, `SELECT application_id FROM pragma_application_id`).Scan(&id); err != nil {
		return c, err
	}
	if id != applicationID {
		return c, ErrForeign
	}
	err = c.schema(ctx, db.DB)
	return c, err
}

// openToLook opens a database for reading. It makes no file: a reader of an SQLite
// database in WAL mode makes -wal and -shm where they are missing, which is kept from
// happening, since nobody has it open then and so it does not change.
func openToLook(where string) (*pool, error) {
	if isPostgres(where) {
		settings, err := postgresSettings(where)
		if err != nil {
			return nil, err
		}
		settings.RuntimeParams["default_transaction_read_only"] = "on"
		return &pool{DB: stdlib.OpenDB(*settings), bind: numbered()}, nil
	}
	// -wal is beside the file itself, which the path may only point to.
	path, err := filepath.EvalSymlinks(where)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return nil, err
	}
	options := url.Values{"mode": {"ro"}, "_query_only": {"on"}, "_busy_timeout": {"5000"}}
	if _, err := os.Stat(path + "-wal"); errors.Is(err, fs.ErrNotExist) {
		options.Set("immutable", "1")
	}
	db, err := sql.Open(driver, dsn(path, options))
	if err != nil {
		return nil, err
	}
	return &pool{DB: db, bind: unchanged}, nil
}

// latest is the version of the newest migration.
func latest() (int64, error) {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil || len(files) == 0 {
		return 0, errors.Join(errors.New("no migrations"), err)
	}
	return goose.NumericComponent(files[len(files)-1])
}
