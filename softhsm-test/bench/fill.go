package main

import (
	"context"
	"database/sql" //nolint:depguard // rows are copied past the store, which would take an hour
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/store"
)

// cardOf is the card of a number, and entryOf the audit entry that it is registered with.
func cardOf(i int, at time.Time) card.Card {
	return card.Card{
		Serial: serialOf(i), Type: "employee", State: "active", MasterKeyVersion: 1, Source: clientName, SyncedAt: at,
		Holder: card.Holder{ID: fmt.Sprint("h", i), Name: fmt.Sprint("Holder ", i), State: "active"},
	}
}

func entryOf(i int, at time.Time) audit.Entry {
	return audit.Entry{Time: at, Action: audit.CardPut, Outcome: audit.Permit, Client: clientName, Card: serialOf(i)}
}

// fill registers the card type and the cards from one number to before another, as a
// synchronisation does.
func fill(ctx context.Context, where string, from, to int, at time.Time) (err error) {
	s, err := store.Open(ctx, where)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	kind := card.Type{ID: "employee", Name: "Employee", Profile: profile().ID, UnblockRemote: map[string]bool{"active": true}, UpdatedBy: clientName, UpdatedAt: at}
	if _, err := s.PutCardType(ctx, kind, audit.Entry{Time: at, Action: audit.CardTypePut, Outcome: audit.Permit, Client: clientName}); err != nil {
		return err
	}
	const together = 1000
	for ; from < to; from += together {
		var puts []store.CardPut
		for i := from; i < min(from+together, to); i++ {
			puts = append(puts, store.CardPut{Card: cardOf(i, at), Entry: entryOf(i, at)})
		}
		if _, err := s.PutCards(ctx, puts, nil); err != nil {
			return err
		}
	}
	return nil
}

// bulk leaves in an SQLite file what fill leaves, row by row, some thirty times as
// fast: fill registers the first card, and statements copy its rows for the others,
// each table in its order, without a journal. TestBulk holds the two together.
func bulk(ctx context.Context, file string, cards int, at time.Time) (err error) {
	if err := fill(ctx, file, 0, 1, at); err != nil {
		return err
	}
	db, err := sql.Open("sqlite3", (&url.URL{Scheme: "file", Path: file, RawQuery: url.Values{
		"_journal_mode": {"OFF"}, "_synchronous": {"OFF"}, "_cache_size": {"-2000000"}, "_locking_mode": {"EXCLUSIVE"},
	}.Encode()}).String())
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := copyCards(ctx, db, cards); err != nil {
		return fmt.Errorf("fill %s: %w", file, err)
	}
	if err := copyEntries(ctx, db, cards, at); err != nil {
		return fmt.Errorf("fill %s: %w", file, err)
	}
	return nil
}

// numbers are those of the cards that are still to be made.
const numbers = `WITH RECURSIVE n (i) AS (SELECT 1 WHERE ?1 > 1 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?1) `

func copyCards(ctx context.Context, db *sql.DB, cards int) error {
	var columns string
	if err := db.QueryRowContext(ctx, `SELECT group_concat(name) FROM pragma_table_info('cards')`).Scan(&columns); err != nil {
		return err
	}
	values := "," + columns + ","
	for column, value := range map[string]string{"serial": `printf('BENCH-%08d', i)`, "holder_id": `'h' || i`, "holder_name": `'Holder ' || i`} {
		values = strings.Replace(values, ","+column+",", ","+value+",", 1)
	}
	values = strings.Replace(values, ",words,", `,printf(' %08d %d bench-%08d h%d holder', i, i, i, i),`, 1) // sorted
	statements := []string{
		numbers + `INSERT INTO cards (` + columns + `) SELECT ` + strings.Trim(values, ",") + ` FROM n, cards c WHERE c.serial = 'BENCH-00000000'`,
	}
	for _, word := range []string{`printf('%08d', i)`, `'' || i`, `printf('bench-%08d', i)`, `'h' || i`, `'holder'`} {
		statements = append(statements, numbers+`INSERT INTO card_words (word, serial) SELECT `+word+` AS w, printf('BENCH-%08d', i) FROM n ORDER BY w`)
	}
	for _, statement := range statements {
		if _, err := db.ExecContext(ctx, statement, cards); err != nil {
			return fmt.Errorf("%w in %s", err, statement)
		}
	}
	return nil
}

// copyEntries logs the cards, with the tree.
func copyEntries(ctx context.Context, db *sql.DB, cards int, at time.Time) (err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // most often it was committed
	t := tree{tx: tx}
	rows, err := tx.QueryContext(ctx, `SELECT leaf FROM audit_entries ORDER BY sequence`)
	if err != nil {
		return err
	}
	leaves, err := leavesOf(rows)
	if err != nil {
		return err
	}
	for _, leaf := range leaves {
		if err := t.add(ctx, 0, leaf); err != nil {
			return err
		}
	}
	const together = 128
	insert := `INSERT INTO audit_entries (sequence, entry, leaf) VALUES (?, ?, ?)`
	many, err := tx.PrepareContext(ctx, insert+strings.Repeat(", (?, ?, ?)", together-1))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, many.Close()) }()
	sequence := int64(len(t.pending[0]))
	args := make([]any, 0, 3*together)
	for i := 1; i < cards; i++ {
		e := entryOf(i, at.UTC().Truncate(time.Microsecond))
		sequence++
		e.Sequence, e.KeyVersion = sequence, 1
		text, err := json.Marshal(e)
		if err != nil {
			return err
		}
		leaf := audit.LeafOf(text)
		if err := t.add(ctx, 0, leaf); err != nil {
			return err
		}
		args = append(args, sequence, string(text), leaf[:])
		switch {
		case len(args) == cap(args):
			_, err = many.ExecContext(ctx, args...)
			args = args[:0]
		case i == cards-1:
			_, err = tx.ExecContext(ctx, insert+strings.Repeat(", (?, ?, ?)", len(args)/3-1), args...)
		}
		if err != nil {
			return err
		}
	}
	return tx.Commit()
}

func leavesOf(rows *sql.Rows) (leaves []audit.Hash, err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var leaf []byte
		if err := rows.Scan(&leaf); err != nil {
			return nil, err
		}
		leaves = append(leaves, audit.Hash(leaf))
	}
	return leaves, rows.Err()
}

// tree keeps the hashes of the audit log that its levels still have to fold.
type tree struct {
	tx      *sql.Tx
	pending [8][]audit.Hash
	places  [8]int64
}

func (t *tree) add(ctx context.Context, level int, h audit.Hash) error {
	if t.pending[level] = append(t.pending[level], h); len(t.pending[level]) < audit.Width {
		return nil
	}
	root := audit.Fold(t.pending[level])
	t.pending[level] = t.pending[level][:0]
	if _, err := t.tx.ExecContext(ctx, `INSERT INTO audit_nodes (level, place, hash) VALUES (?1, ?2, ?3)`, (level+1)*audit.Stride, t.places[level], root[:]); err != nil {
		return err
	}
	t.places[level]++
	return t.add(ctx, level+1, root)
}
