package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"latchkey/audit"
)

// append writes the batch's audit entries with their leaves, and the nodes of the
// tree that they complete.
func (tx *tx) append() error {
	before := tx.sequence - int64(len(tx.entries))
	for rest, first := tx.entries, before+1; len(rest) != 0; {
		n := rowsAtOnce
		for n > len(rest) {
			n /= 2
		}
		args := make([]any, 0, 3*n)
		for i, text := range rest[:n] {
			leaf := audit.LeafOf([]byte(text))
			args = append(args, first+int64(i), text, leaf[:])
		}
		if _, err := tx.exec(insertRows[n], args...); err != nil {
			return err
		}
		rest, first = rest[n:], first+int64(n)
	}
	tx.entries = nil
	return tx.fold(before, tx.sequence)
}

// rowsAtOnce is how many entries one statement writes at most, a power of two: so
// a batch of any size takes few statements, and those are few to be prepared.
const rowsAtOnce = 64

var insertRows = func() map[int]string {
	statements := make(map[int]string)
	for n := 1; n <= rowsAtOnce; n *= 2 {
		rows := make([]string, n)
		for i := range rows {
			rows[i] = fmt.Sprintf("(?%d, ?%d, ?%d)", 3*i+1, 3*i+2, 3*i+3)
		}
		statements[n] = `INSERT INTO audit_entries (sequence, entry, leaf) VALUES ` + strings.Join(rows, ", ")
	}
	return statements
}()

// fold keeps the nodes that the log completed as it grew from one size to another.
func (tx *tx) fold(before, after int64) error {
	for level := 0; ; level += audit.Stride {
		before, after = before/audit.Width, after/audit.Width
		if before == after {
			return nil
		}
		for place := before; place < after; place++ {
			hashes, err := kept(tx.Query, level, place*audit.Width, audit.Width)
			if err == nil && len(hashes) != audit.Width {
				err = errors.New("hashes are missing")
			}
			if err != nil {
				return fmt.Errorf("fold %d hashes of level %d at %d: %w", audit.Width, level, place, err)
			}
			root := audit.Fold(hashes)
			if _, err := tx.exec(`INSERT INTO audit_nodes (level, place, hash) VALUES (?1, ?2, ?3)`, level+audit.Stride, place, root[:]); err != nil {
				return err
			}
		}
	}
}

// kept reads up to n hashes of a level that is kept; see audit.Kept.
func kept(read func(query string, args ...any) (*sql.Rows, error), level int, place, n int64) ([]audit.Hash, error) {
	query, args := `SELECT leaf FROM audit_entries WHERE sequence > ?1 AND sequence <= ?2 ORDER BY sequence`, []any{place, place + n}
	if level != 0 {
		query, args = `SELECT hash FROM audit_nodes WHERE level = ?3 AND place >= ?1 AND place < ?2 ORDER BY place`, append(args, level)
	}
	rows, err := read(query, args...)
	if err != nil {
		return nil, err
	}
	return collect(rows, func(row scanner) (audit.Hash, error) {
		var b []byte
		err := row.Scan(&b)
		return hashOf(b), err
	})
}

// hashOf is a hash as it is stored. One of another length is the work of nobody who
// means well, but the reading goes on: whoever verifies the log finds it wrong.
func hashOf(b []byte) (h audit.Hash) {
	copy(h[:], b)
	return h
}

// plantAtOnce is how many entries of an older version get their leaf in one
// transaction, a multiple of audit.Width.
const plantAtOnce = 64 * audit.Width

// plant puts the entries of an older version into the tree. It may be cut off at
// any time, and goes on from there at the next start.
func plant(ctx context.Context, db *pool) error {
	for {
		var bare bool
		err := db.QueryRowContext(ctx, `SELECT leaf IS NULL FROM audit_entries ORDER BY sequence DESC LIMIT 1`).Scan(&bare)
		if errors.Is(err, sql.ErrNoRows) || err == nil && !bare {
			return nil
		}
		if err == nil {
			err = plantSome(db)
		}
		if err != nil {
			return fmt.Errorf("put the audit log of an older version into its tree: %w", err)
		}
	}
}

func plantSome(db *pool) error {
	tx, err := begin(db)
	defer func() { tx.rollback() }()
	if err != nil {
		return err
	}
	var before int64
	if err := tx.QueryRow(`SELECT min(sequence) - 1 FROM audit_entries WHERE leaf IS NULL`).Scan(&before); err != nil {
		return err
	}
	rows, err := tx.Query(`SELECT entry FROM audit_entries WHERE sequence > ?1 ORDER BY sequence LIMIT ?2`, before, plantAtOnce)
	if err != nil {
		return err
	}
	texts, err := collect(rows, func(row scanner) (text []byte, err error) {
		err = row.Scan(&text)
		return text, err
	})
	if err != nil {
		return err
	}
	for i, text := range texts {
		leaf := audit.LeafOf(text)
		if _, err := tx.exec(`UPDATE audit_entries SET leaf = ?2 WHERE sequence = ?1`, before+1+int64(i), leaf[:]); err != nil {
			return err
		}
	}
	if err := tx.fold(before, before+int64(len(texts))); err != nil {
		return err
	}
	return tx.commit()
}
