package server

import (
	"database/sql"
	"fmt"
	"strings"
)

// onDisk is every row of the database as text, but for the audit log, which tells
// of refusals, and the heartbeat that readiness leaves.
func (w *world) onDisk() string {
	w.t.Helper()
	db, err := sql.Open("sqlite3", "file:"+w.database+"?mode=ro")
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var text strings.Builder
	for _, table := range w.rows(db, `SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name`) {
		name := table[0]
		if name == "heartbeat" || strings.HasPrefix(name, "audit_") {
			continue
		}
		fmt.Fprintf(&text, "%s\n", name)
		for _, row := range w.rows(db, `SELECT * FROM "`+name+`" ORDER BY 1, 2`) {
			fmt.Fprintf(&text, "  %s\n", strings.Join(row, " | "))
		}
	}
	return text.String()
}

// rows is what a query gives, as text.
func (w *world) rows(db *sql.DB, query string) [][]string {
	w.t.Helper()
	rows, err := db.QueryContext(w.t.Context(), query)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		w.t.Fatal(err)
	}
	var list [][]string
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			w.t.Fatal(err)
		}
		row := make([]string, len(columns))
		for i, v := range values {
			row[i] = fmt.Sprint(v)
		}
		list = append(list, row)
	}
	if err := rows.Err(); err != nil {
		w.t.Fatal(err)
	}
	return list
}
