package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"latchkey/audit"
)

// tx is the writer's transaction.
type tx struct {
	*sql.Tx
	pool     *pool
	sequence int64 // of the last audit entry
	// entries are those that the batch has logged. They go into the log all at once,
	// right before the commit. logged is what observers are told of them.
	entries []string
	logged  []Logged
	// decisions are what policies were asked for some of the entries, written with them.
	decisions []decision
}

// begin starts a transaction. It and the statements in it get no context: a
// batch has many callers, and none may interrupt the others' writes.
func begin(db *pool) (*tx, error) {
	t, err := db.BeginTx(context.Background(), nil)
	if err != nil {
		return nil, fmt.Errorf("begin transaction: %w", err)
	}
	tx := &tx{Tx: t, pool: db}
	if err := tx.lead(); err != nil {
		return tx, err
	}
	if err := t.QueryRow(`SELECT coalesce(max(sequence), 0) FROM audit_entries`).Scan(&tx.sequence); err != nil {
		return tx, fmt.Errorf("read the audit log's length: %w", err)
	}
	return tx, nil
}

// lead makes the transaction the only one that writes, where there are several nodes.
func (tx *tx) lead() error {
	if tx.pool.lead == nil {
		return nil
	}
	if err := tx.pool.lead(tx.Tx); err != nil {
		return fmt.Errorf("take the lead over other nodes: %w", err)
	}
	return nil
}

// run runs one write in a savepoint. The first error is the write's own, after
// which the transaction is as it was before it; the second means that the whole
// transaction is lost.
func (tx *tx) run(do func(*tx) error) (refused, lost error) {
	if _, err := tx.Exec(`SAVEPOINT write`); err != nil {
		return nil, fmt.Errorf("set savepoint: %w", err)
	}
	before, entries, told, decisions := tx.sequence, len(tx.entries), len(tx.logged), len(tx.decisions)
	if refused = do(tx); refused != nil {
		tx.sequence, tx.entries, tx.logged, tx.decisions = before, tx.entries[:entries], tx.logged[:told], tx.decisions[:decisions]
		// SQLite itself rolls everything back on errors such as a full disk, and
		// then there is no savepoint any more.
		if _, err := tx.Exec(`ROLLBACK TO SAVEPOINT write`); err != nil {
			return refused, fmt.Errorf("%v; roll back to savepoint: %w", refused, err) //nolint:errorlint // the batch is lost, which must not pass for this one write being refused
		}
	}
	if _, err := tx.Exec(`RELEASE SAVEPOINT write`); err != nil {
		return refused, fmt.Errorf("release savepoint: %w", err)
	}
	return refused, nil
}

func (tx *tx) commit() error {
	if err := tx.append(); err != nil {
		return fmt.Errorf("append to the audit log: %w", err)
	}
	if err := tx.keepDecisions(); err != nil {
		return fmt.Errorf("keep decisions of policies: %w", err)
	}
	err := tx.Commit()
	switch {
	case err == nil:
		return nil
	case tx.pool.doubtful != nil && tx.pool.doubtful(err):
		return fmt.Errorf("commit: %w: %w", ErrUncertain, err)
	}
	return fmt.Errorf("commit: %w", err)
}

// rollback gives up the transaction, if there is one.
func (tx *tx) rollback() {
	if tx != nil {
		_ = tx.Rollback() // most often there is nothing left to roll back
	}
}

// exec runs a statement and tells how many rows it changed.
func (tx *tx) exec(query string, args ...any) (int64, error) {
	result, err := tx.Exec(tx.pool.bind(query), args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// QueryRow reads one row as the transaction sees it.
func (tx *tx) QueryRow(query string, args ...any) *sql.Row {
	return tx.Tx.QueryRow(tx.pool.bind(query), args...)
}

// Query reads rows as the transaction sees them.
func (tx *tx) Query(query string, args ...any) (*sql.Rows, error) {
	return tx.Tx.Query(tx.pool.bind(query), args...)
}

// log appends an entry to the audit log. Sequence numbers have no gaps: there is
// one writer, and a number that is rolled back is given again.
func (tx *tx) log(e audit.Entry) error {
	e.Sequence = tx.sequence + 1
	e.Time = e.Time.UTC().Truncate(time.Microsecond)
	text, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode audit entry: %w", err)
	}
	tx.entries = append(tx.entries, string(text))
	tx.sequence = e.Sequence
	tx.logged = append(tx.logged, Logged{e.Action, e.Outcome, e.Code})
	return nil
}
