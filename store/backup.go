package store

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/pressly/goose/v3"

	"latchkey/audit"
)

// A backup is what both kinds of database can be read from and written to, so that
// it also moves an SQLite file into PostgreSQL and back: gzip around lines of JSON. The
// first tells the schema's version; each table follows as a line with its columns, a
// line for each row in the order of its key, and a line with the number of its rows and
// the SHA-256 of their lines; the last line says that it is whole.

// ErrBackup says that a backup cannot be restored as it is.
var ErrBackup = errors.New("unfit backup")

// ErrNotEmpty says that a backup would have to be mixed with what is there.
var ErrNotEmpty = errors.New("the database is not empty")

// table is one that a backup holds.
type table struct {
	name string
	key  string // what its rows are ordered by
}

// tables are those of a backup, in an order in which each refers to earlier ones only.
func tables() []table {
	return []table{
		{"card_types", "id"}, {"cards", "serial"}, {"card_syncs", "id"}, {"operators", "id"},
		{"processes", "id"}, {"unconfirmed", "card"},
		{"key_records", "key, version"}, {"current_versions", "key"}, {"proposals", "id"}, {"approvals", "proposal, officer"},
		{"policy_versions", "version"}, {"policy_decisions", "sequence"},
		{"audit_log", "id"}, {"audit_entries", "sequence"}, {"audit_nodes", "level, place"}, {"audit_checkpoints", "size"}, {"audit_cursors", "sink"}, {"notifications", "id"},
	}
}

// leftOut are the tables that a backup does without: what is made anew of the others,
// and what means nothing to another database.
func leftOut() []string {
	return []string{"card_words", "card_words_made", "audit_digest", "audit_blocks", "audit_counts", "audit_times", "sessions", "cursor_key", "limits", "process_moves", "heartbeat", goose.DefaultTablename}
}

// Content is what a backup holds, or what was restored from it.
type Content struct {
	Schema int64            `json:"schema"`
	Rows   map[string]int64 `json:"rows"` // by table
	// Entries and Root are the audit log's length and the root of its tree, in hex: a
	// checkpoint over as many entries, from elsewhere, shows the same.
	Entries int64  `json:"entries"`
	Root    string `json:"root"`
}

// line is one line of a backup that is no row.
type line struct {
	Backup  int       `json:"latchkey_backup,omitempty"` // 1
	Schema  int64     `json:"schema,omitempty"`
	Made    time.Time `json:"made,omitzero"`
	Table   string    `json:"table,omitempty"`
	Columns []string  `json:"columns,omitempty"`
	End     string    `json:"end,omitempty"` // of a table, or of the backup
	Rows    int64     `json:"rows"`
	SHA256  string    `json:"sha256,omitempty"`
}

const endOfBackup = "backup"

// Backup writes a backup of the database to w as it stands at one moment. The database may be in
// use. told is told of each table that is done.
func Backup(ctx context.Context, where string, w io.Writer, told func(table string, rows int64)) (Content, error) {
	c, err := backup(ctx, where, w, told)
	return c, failed("back up database "+Name(where), err)
}

func backup(ctx context.Context, where string, w io.Writer, told func(string, int64)) (c Content, err error) {
	condition, err := Inspect(ctx, where)
	switch {
	case err != nil:
		return c, err
	case condition.Schema != condition.Latest:
		return c, fmt.Errorf("its schema is version %d; start this version with it, which brings it to %d, or use the version that it is of", condition.Schema, condition.Latest)
	}
	db, err := openToLook(where)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	// All tables as they are at one moment. SQLite knows no other way to read.
	options := &sql.TxOptions{ReadOnly: true}
	if isPostgres(where) {
		options.Isolation = sql.LevelRepeatableRead
	}
	tx, err := db.BeginTx(ctx, options)
	if err != nil {
		return c, err
	}
	defer func() { _ = tx.Rollback() }() // it changed nothing
	packed := gzip.NewWriter(w)
	out := bufio.NewWriterSize(packed, 64<<10)
	c = Content{Schema: condition.Schema, Rows: map[string]int64{}}
	if err := writeLine(out, line{Backup: 1, Schema: c.Schema, Made: time.Now().UTC().Truncate(time.Second)}); err != nil {
		return c, err
	}
	for _, t := range tables() {
		sum := sha256.New()
		columns, n, err := t.rows(ctx, tx, func(columns []string) error { return writeLine(out, line{Table: t.name, Columns: columns}) },
			func(text []byte) error {
				_, _ = sum.Write(text) // never fails
				_, err := out.Write(text)
				return err
			})
		if err == nil && len(columns) == 0 {
			err = errors.New("no columns")
		}
		if err == nil {
			err = writeLine(out, line{End: t.name, Rows: n, SHA256: hex.EncodeToString(sum.Sum(nil))})
		}
		if err != nil {
			return c, fmt.Errorf("table %s: %w", t.name, err)
		}
		c.Rows[t.name] = n
		told(t.name, n)
	}
	if err := writeLine(out, line{End: endOfBackup, Rows: int64(len(c.Rows))}); err != nil {
		return c, err
	}
	if c.Entries, c.Root, err = rootOf(ctx, tx); err != nil {
		return c, err
	}
	return c, errors.Join(out.Flush(), packed.Close())
}

func writeLine(w io.Writer, l line) error {
	text, err := json.Marshal(l)
	if err == nil {
		_, err = w.Write(append(text, '\n'))
	}
	return err
}

// reader is a database or a transaction to read from.
type reader interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// rows reads a table in the order of its key and gives each row as its line.
func (t table) rows(ctx context.Context, from reader, begin func(columns []string) error, row func(text []byte) error) (columns []string, n int64, err error) {
	rows, err := from.QueryContext(ctx, `SELECT * FROM `+t.name+` ORDER BY `+t.key)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = rows.Close() }() // its error is rows.Err
	if columns, err = rows.Columns(); err != nil {
		return nil, 0, err
	}
	// The order of columns is the kind's own business; that of a backup is the alphabet's.
	order := make([]int, len(columns))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(columns[a], columns[b]) })
	sorted := make([]string, len(columns))
	for i, at := range order {
		sorted[i] = columns[at]
	}
	if err := begin(sorted); err != nil {
		return nil, 0, err
	}
	values, into, line := make([]any, len(columns)), make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for ; rows.Next(); n++ {
		if err := rows.Scan(into...); err != nil {
			return nil, 0, err
		}
		for i, at := range order {
			line[i] = packed(values[at])
		}
		text, err := json.Marshal(line)
		if err != nil {
			return nil, 0, err
		}
		if err := row(append(text, '\n')); err != nil {
			return nil, 0, err
		}
	}
	return sorted, n, rows.Err()
}

// blob is bytes in a backup; text is a JSON string there.
type blob struct {
	Bytes []byte `json:"b"`
}

// packed is a value as a backup has it: the same for both kinds of database.
func packed(value any) any {
	switch v := value.(type) {
	case []byte:
		return blob{v}
	case bool:
		if v {
			return 1
		}
		return 0
	}
	return value
}

// unpacked is a value of a backup for a column of the type that the database names.
func unpacked(text json.RawMessage, column string) (any, error) {
	switch {
	case string(text) == "null":
		return nil, nil
	case text[0] == '{':
		var b blob
		err := json.Unmarshal(text, &b)
		if b.Bytes == nil {
			b.Bytes = []byte{} // bytes that are none are no NULL
		}
		return b.Bytes, err
	case text[0] == '"':
		var s string
		err := json.Unmarshal(text, &s)
		return s, err
	}
	var n int64
	err := json.Unmarshal(text, &n)
	if column == "BOOL" {
		return n != 0, err
	}
	return n, err
}

// Restore fills an empty database, which it makes ready, with a backup, and then
// reads everything again and compares it with what the backup says of it. Where anything
// is wrong the error is ErrBackup, or ErrNotEmpty, and the database stays empty.
func Restore(ctx context.Context, where string, r io.Reader, told func(table string, rows int64)) (Content, error) {
	c, err := restore(ctx, where, r, told)
	return c, failed("restore database "+Name(where), err)
}

func restore(ctx context.Context, where string, r io.Reader, told func(string, int64)) (c Content, err error) {
	in, head, err := openBackup(r)
	if err != nil {
		return c, err
	}
	connect := openSQLite
	if isPostgres(where) {
		connect = openPostgres
	}
	d, err := connect(ctx, where)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, d.release()) }()
	if known, err := latest(); err != nil || head.Schema > known {
		return c, errors.Join(err, fmt.Errorf("%w: it is of schema version %d and this program knows %d: %w", ErrBackup, head.Schema, known, ErrNewer))
	}
	// An older backup goes into the tables of its time, which the next start brings up to
	// date as it would have brought the database itself.
	if err := d.migrateTo(ctx, head.Schema); err != nil {
		return c, d.explain(err)
	}
	t, err := d.writer.BeginTx(ctx, nil)
	if err != nil {
		return c, err
	}
	tx := &tx{Tx: t, pool: d.writer}
	defer func() { tx.rollback() }()
	if err := tx.lead(); err != nil {
		return c, err
	}
	if err := tx.empty(ctx, d.there); err != nil {
		return c, err
	}
	arm, err := d.disarm(ctx, t)
	if err != nil {
		return c, err
	}
	c = Content{Schema: head.Schema, Rows: map[string]int64{}}
	ends, err := tx.fill(ctx, in, c.Rows, told)
	if err != nil {
		return c, err
	}
	if err := arm(); err != nil {
		return c, err
	}
	if err := tx.compare(ctx, ends); err != nil {
		return c, err
	}
	if c.Entries, c.Root, err = rootOf(ctx, tx); err != nil {
		return c, fmt.Errorf("%w: its audit log: %w", ErrBackup, err)
	}
	return c, tx.commit()
}

// lines reads a backup's lines.
type lines struct {
	*bufio.Scanner
	n int
}

// maxLine bounds one row of a backup, in bytes.
const maxLine = 16 << 20

func (l *lines) next() ([]byte, error) {
	if !l.Scan() {
		if l.Err() != nil {
			return nil, fmt.Errorf("%w: after line %d: %w", ErrBackup, l.n, l.Err())
		}
		return nil, fmt.Errorf("%w: it ends after line %d and is not whole", ErrBackup, l.n)
	}
	l.n++
	return l.Bytes(), nil
}

func (l *lines) wrong(format string, args ...any) error {
	return fmt.Errorf("%w: line %d: %s", ErrBackup, l.n, fmt.Sprintf(format, args...))
}

// note reads a line that is no row.
func (l *lines) note() (n line, err error) {
	text, err := l.next()
	if err != nil {
		return n, err
	}
	if json.Unmarshal(text, &n) != nil {
		return n, l.wrong("it is not one of a backup")
	}
	return n, nil
}

func openBackup(r io.Reader) (*lines, line, error) {
	unpacked, err := gzip.NewReader(r)
	if err != nil {
		return nil, line{}, fmt.Errorf("%w: this is no file that latchkey backup made: %w", ErrBackup, err)
	}
	in := &lines{Scanner: bufio.NewScanner(unpacked)}
	in.Buffer(make([]byte, 64<<10), maxLine)
	head, err := in.note()
	if err == nil && (head.Backup != 1 || head.Schema < 1) {
		err = in.wrong("this is no backup that this version knows")
	}
	return in, head, err
}

// empty finds out whether there is nothing in the tables that a backup fills, as far
// as they are there: others are of a later version.
func (tx *tx) empty(ctx context.Context, there func(context.Context, *sql.Tx) ([]string, error)) error {
	names, err := there(ctx, tx.Tx)
	if err != nil {
		return err
	}
	for _, t := range tables() {
		// The log has its one row of settings from the start.
		if t.name == "audit_log" || !slices.Contains(names, t.name) {
			continue
		}
		var filled bool
		if err := tx.QueryRow(`SELECT EXISTS (SELECT 1 FROM ` + t.name + `)`).Scan(&filled); err != nil {
			return err
		}
		if filled {
			return fmt.Errorf("%w: there is something in %s; name a new one", ErrNotEmpty, t.name)
		}
	}
	return nil
}

// fill writes the backup's tables and gives the lines that end them.
func (tx *tx) fill(ctx context.Context, in *lines, counts map[string]int64, told func(string, int64)) (map[string]line, error) {
	ends := map[string]line{}
	for {
		head, err := in.note()
		if err != nil {
			return nil, err
		}
		if head.End == endOfBackup {
			if head.Rows != int64(len(ends)) {
				return nil, in.wrong("%d tables were announced, and %d are there", head.Rows, len(ends))
			}
			return ends, nil
		}
		known := slices.ContainsFunc(tables(), func(t table) bool { return t.name == head.Table })
		if _, twice := ends[head.Table]; !known || twice || len(head.Columns) == 0 {
			return nil, in.wrong("table %q is not expected here", head.Table)
		}
		end, err := tx.fillTable(ctx, in, head)
		if err != nil {
			return nil, err
		}
		ends[head.Table], counts[head.Table] = end, end.Rows
		told(head.Table, end.Rows)
	}
}

// fillTable writes one table's rows, up to the line that ends it.
func (tx *tx) fillTable(ctx context.Context, in *lines, head line) (line, error) {
	types, err := tx.columns(ctx, head.Table, head.Columns)
	if err != nil {
		return line{}, in.wrong("table %s: %v", head.Table, err)
	}
	if _, err := tx.exec(`DELETE FROM ` + head.Table); err != nil {
		return line{}, err
	}
	at := max(1, 900/len(head.Columns)) // rows of one statement; SQLite takes 999 parameters at the least
	var args []any
	var waiting int
	var n int64
	sum := sha256.New()
	for {
		text, err := in.next()
		if err != nil {
			return line{}, err
		}
		if text[0] != '[' {
			if err := tx.insert(head, waiting, args); err != nil {
				return line{}, in.wrong("table %s: %v", head.Table, err)
			}
			var end line
			if json.Unmarshal(text, &end) != nil || end.End != head.Table || end.Rows != n || end.SHA256 != hex.EncodeToString(sum.Sum(nil)) {
				return line{}, in.wrong("the rows of %s are not those that were backed up", head.Table)
			}
			return end, nil
		}
		sumLine(sum, text)
		var row []json.RawMessage
		if json.Unmarshal(text, &row) != nil || len(row) != len(types) {
			return line{}, in.wrong("it is not a row of %s", head.Table)
		}
		for i, value := range row {
			v, err := unpacked(value, types[i])
			if err != nil {
				return line{}, in.wrong("%s: %v", head.Columns[i], err)
			}
			args = append(args, v)
		}
		n++
		if waiting++; waiting == at {
			if err := tx.insert(head, waiting, args); err != nil {
				return line{}, in.wrong("table %s: %v", head.Table, err)
			}
			args, waiting = args[:0], 0
		}
	}
}

func sumLine(sum hash.Hash, text []byte) {
	_, _ = sum.Write(text)         // never fails
	_, _ = sum.Write([]byte{'\n'}) // nor does this
}

// columns are the types of a table's columns, as the database names them. It also
// sees to it that no other names come near a statement.
func (tx *tx) columns(ctx context.Context, name string, columns []string) ([]string, error) {
	rows, err := tx.QueryContext(ctx, `SELECT * FROM `+name+` LIMIT 0`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // nothing was read
	kinds, err := rows.ColumnTypes()
	if err := errors.Join(err, rows.Err()); err != nil {
		return nil, err
	}
	if len(kinds) != len(columns) {
		return nil, fmt.Errorf("%d columns, not %d", len(columns), len(kinds))
	}
	types := make([]string, len(columns))
	for i, c := range columns {
		at := slices.IndexFunc(kinds, func(k *sql.ColumnType) bool { return k.Name() == c })
		if at < 0 || slices.Contains(columns[:i], c) {
			return nil, fmt.Errorf("column %q is not expected", c)
		}
		types[i] = kinds[at].DatabaseTypeName()
	}
	return types, nil
}

func (tx *tx) insert(head line, rows int, args []any) error {
	if rows == 0 {
		return nil
	}
	var text strings.Builder
	_, _ = fmt.Fprintf(&text, `INSERT INTO %s (%s) VALUES `, head.Table, strings.Join(head.Columns, ", ")) // a builder takes everything
	for r := range rows {
		text.WriteString(map[bool]string{true: "(", false: ", ("}[r == 0])
		for c := range head.Columns {
			_, _ = fmt.Fprintf(&text, "%s?%d", map[bool]string{true: "", false: ", "}[c == 0], r*len(head.Columns)+c+1)
		}
		text.WriteString(")")
	}
	_, err := tx.exec(text.String(), args...)
	return err
}

// compare reads every table again, as it is now in the database.
func (tx *tx) compare(ctx context.Context, ends map[string]line) error {
	for _, t := range tables() {
		end, there := ends[t.name]
		if !there {
			continue
		}
		sum := sha256.New()
		_, n, err := t.rows(ctx, tx, func([]string) error { return nil }, func(text []byte) error {
			_, err := sum.Write(text)
			return err
		})
		if err != nil {
			return err
		}
		if n != end.Rows || hex.EncodeToString(sum.Sum(nil)) != end.SHA256 {
			return fmt.Errorf("%w: table %s is not in the database as it is in the backup", ErrBackup, t.name)
		}
	}
	return nil
}

// rootOf is the audit log's length and the root of its tree, made of the entries
// themselves and not of what the tree's table says. Of entries that were pruned there is
// only the leaf.
func rootOf(ctx context.Context, from reader) (size int64, root string, err error) {
	rows, err := from.QueryContext(ctx, `SELECT sequence, entry, leaf, sequence <= (SELECT pruned FROM audit_log) FROM audit_entries ORDER BY sequence`)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = rows.Close() }() // its error is rows.Err
	var tree audit.Growing
	for rows.Next() {
		var sequence int64
		var text string
		var leaf []byte
		var pruned bool
		if err := rows.Scan(&sequence, &text, &leaf, &pruned); err != nil {
			return 0, "", err
		}
		if size++; sequence != size {
			return 0, "", fmt.Errorf("entry %d is missing", size)
		}
		if is := audit.LeafOf([]byte(text)); hashOf(leaf) != is && !(pruned && text == "") {
			return 0, "", fmt.Errorf("entry %d was changed", size)
		}
		tree.Add(hashOf(leaf))
	}
	if err := rows.Err(); err != nil {
		return 0, "", err
	}
	sum := tree.Root()
	return size, hex.EncodeToString(sum[:]), nil
}
