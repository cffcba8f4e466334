package main

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/mattn/go-sqlite3" // the driver
)

// What is filled in fast are the same rows as those that the store writes.
func TestBulk(t *testing.T) {
	const cards = 1200 // their words sort in other orders than they do, and the tree has folded four times
	now := time.Now()
	registered, copied := filepath.Join(t.TempDir(), "registered.db"), filepath.Join(t.TempDir(), "copied.db")
	if err := fill(t.Context(), registered, 0, cards, now); err != nil {
		t.Fatal(err)
	}
	if err := bulk(t.Context(), copied, cards, now); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"card_types", "cards", "card_words", "audit_entries", "audit_nodes"} {
		want, got := dump(t.Context(), t, registered, table), dump(t.Context(), t, copied, table)
		if len(want) == 0 {
			t.Errorf("%s: no rows", table)
		}
		for i := range want {
			if i >= len(got) || got[i] != want[i] {
				t.Fatalf("%s, row %d of %d: %s, want %s", table, i, len(want), slices.Concat(got, []string{"nothing"})[min(i, len(got))], want[i])
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: %d rows, want %d", table, len(got), len(want))
		}
	}
}

// dump is the rows of a table in the order of their text.
func dump(ctx context.Context, t *testing.T, file, table string) (list []string) {
	t.Helper()
	db, err := sql.Open("sqlite3", file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var columns string
	if err := db.QueryRowContext(ctx, `SELECT group_concat('quote(' || name || ')', ' || '','' || ') FROM pragma_table_info(?1)`, table).Scan(&columns); err != nil {
		t.Fatal(err)
	}
	rows, err := db.QueryContext(ctx, fmt.Sprintf(`SELECT %s FROM %s ORDER BY 1`, columns, table))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var row string
		if err := rows.Scan(&row); err != nil {
			t.Fatal(err)
		}
		list = append(list, strings.TrimSpace(row))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}
