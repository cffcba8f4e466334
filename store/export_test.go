package store

import (
	"context"
	"errors"
)

// LeftOut are the tables that a backup does without.
func LeftOut() []string { return leftOut() }

// Tables lists the tables that a database has.
func Tables(ctx context.Context, where string) ([]string, error) {
	db, err := openToLook(where)
	if err != nil {
		return nil, err
	}
	defer func() { _ = db.Close() }()
	t, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	there := tablesOfFile
	if isPostgres(where) {
		there = tablesOfServer
	}
	list, err := there(ctx, t)
	return list, errors.Join(err, t.Rollback())
}
