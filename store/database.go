package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// Each step stands in migrations as SQLite takes it, and under the same number in
// migrations/postgres as PostgreSQL does.
//
//go:embed migrations/*.sql migrations/postgres/*.sql
var migrations embed.FS

// database is an opened database of either kind, and what differs between them.
type database struct {
	readers, writer *pool
	dialect         goose.Dialect
	steps           string // folder of its migrations
	locker          lock.SessionLocker
	// there lists the tables; disarm takes the triggers away that guard them against
	// changes, and gives the function that brings them back.
	there  func(context.Context, *sql.Tx) ([]string, error)
	disarm func(context.Context, *sql.Tx) (arm func() error, err error)
	// explain says what the database's errors mean for whoever opens it.
	explain func(error) error
	release func() error
}

// pool is connections to a database, which take queries as this package writes them.
type pool struct {
	*sql.DB
	// bind puts a query's parameters, ?1 and so on, as the database writes them.
	bind func(query string) string
	writing
}

// writing is what a pool that is written through has besides, where several nodes
// share a database.
type writing struct {
	// lead waits until no other node writes, and keeps them waiting until the
	// transaction ends.
	lead func(*sql.Tx) error
	// doubtful tells of a commit's error whether it may have been carried out.
	doubtful func(error) bool
}

func (p *pool) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return p.DB.QueryContext(ctx, p.bind(query), args...)
}

func (p *pool) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return p.DB.QueryRowContext(ctx, p.bind(query), args...)
}

func (p *pool) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return p.DB.ExecContext(ctx, p.bind(query), args...)
}

// migrate brings the schema up to date, each step in a transaction of its own.
// There is no way down: the way back to an older version is the backup that was
// made before the upgrade.
func (d *database) migrate(ctx context.Context) error {
	newest, err := latest()
	if err != nil {
		return err
	}
	return d.migrateTo(ctx, newest)
}

// migrateTo is migrate up to a version.
func (d *database) migrateTo(ctx context.Context, version int64) error {
	files, err := fs.Sub(migrations, d.steps)
	if err != nil {
		return err
	}
	options := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true)}
	if d.locker != nil {
		options = append(options, goose.WithSessionLocker(d.locker))
	}
	steps, err := goose.NewProvider(d.dialect, d.writer.DB, files, options...)
	if err != nil {
		return err
	}
	has, knows, err := steps.GetVersions(ctx)
	if err != nil {
		return err
	}
	if has > knows {
		return fmt.Errorf("%w: its schema is version %d and this program knows %d; run the newer version, or restore the backup made before the upgrade",
			ErrNewer, has, knows)
	}
	_, err = steps.UpTo(ctx, version)
	return err
}
