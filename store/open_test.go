package store_test

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/store"
	"latchkey/unblock"
)

// raw runs statements on the file as the sqlite3 shell would, and gives the first
// error.
func raw(t *testing.T, path string, statements ...string) error {
	t.Helper()
	db, err := sql.Open("sqlite3", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, s := range statements {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			return err
		}
	}
	return nil
}

// gooseTable is what a first start leaves that was cut off before any migration.
const gooseTable = `CREATE TABLE goose_db_version (
	id INTEGER PRIMARY KEY AUTOINCREMENT, version_id INTEGER NOT NULL, is_applied INTEGER NOT NULL, tstamp TIMESTAMP DEFAULT (datetime('now')));
	INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, 1)`

func TestOpenRefusesWhatIsNotItsOwn(t *testing.T) {
	for name, test := range map[string]struct {
		prepare func(t *testing.T, path string) error
		want    error
		says    string
	}{
		"a newer schema": {func(t *testing.T, path string) error {
			if err := open(t, path).Close(); err != nil {
				return err
			}
			return raw(t, path, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)`)
		}, store.ErrNewer, "version 9999"},
		"another program's database": {func(t *testing.T, path string) error {
			return raw(t, path, `CREATE TABLE bookmarks (url TEXT)`)
		}, store.ErrForeign, "another file"},
		"another program's database with goose": {func(t *testing.T, path string) error {
			return raw(t, path, gooseTable, `CREATE TABLE bookmarks (url TEXT)`)
		}, store.ErrForeign, "another file"},
		"no database": {func(_ *testing.T, path string) error {
			return os.WriteFile(path, []byte(strings.Repeat("not a database ", 100)), 0o600)
		}, store.ErrForeign, "another file"},
		"a folder that is not there": {func(_ *testing.T, path string) error {
			return os.Remove(filepath.Dir(path))
		}, os.ErrNotExist, "folder must be made first"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := filepath.Join(t.TempDir(), "data")
			if err := os.Mkdir(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(folder, "latchkey.db")
			if err := test.prepare(t, path); err != nil {
				t.Fatal(err)
			}
			before, _ := os.ReadFile(path) // which may not be there
			_, err := store.Open(t.Context(), path)
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v", err)
			}
			if after, _ := os.ReadFile(path); string(after) != string(before) {
				t.Error("the file was changed")
			}
		})
	}
}

func TestOpenGoesOnWhereTheFirstStartWasCutOff(t *testing.T) {
	for name, statements := range map[string][]string{"empty file": nil, "goose's table only": {gooseTable}} {
		path := filepath.Join(t.TempDir(), "latchkey.db")
		if err := errors.Join(os.WriteFile(path, nil, 0o600), raw(t, path, statements...)); err != nil {
			t.Fatal(err)
		}
		if err := open(t, path).Check(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A database of the first version is brought up to date, with what is in it.
func TestOpenUpgrades(t *testing.T) {
	path := filepath.Join(t.TempDir(), "latchkey.db")
	first, err := os.ReadFile("migrations/00001_first.sql")
	if err != nil {
		t.Fatal(err)
	}
	err = raw(t, path, gooseTable, string(first),
		`INSERT INTO goose_db_version (version_id, is_applied) VALUES (1, 1)`,
		`INSERT INTO cards VALUES ('old', 'employee', 'active', NULL, NULL, 3, 'h', 'n', '', '', '', '[]', 'active', NULL, 'old', 'n')`)
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	want := card.Card{
		Serial: "old", Type: "employee", State: "active", MasterKeyVersion: 3,
		Holder: card.Holder{ID: "h", Name: "n", State: "active"},
	}
	same(t, "card of the old database", must[card.Card](t)(s.Card(t.Context(), "old")), want)
	want.WrappedKey = []byte("a key, wrapped")
	must[store.Result](t)(s.PutCard(t.Context(), want, audit.Entry{}))
	same(t, "card with a key", must[card.Card](t)(s.Card(t.Context(), "old")), want)
}

func TestReopenKeepsEverything(t *testing.T) {
	path := filepath.Join(t.TempDir(), "latchkey.db")
	s := open(t, path)
	must[store.Result](t)(s.PutCard(t.Context(), sampleCard("c1"), audit.Entry{}))
	if err := errors.Join(s.Apply(t.Context(), answered("p1", "c1", 4)), s.Close()); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	if _, err := s.Card(t.Context(), "c1"); err != nil {
		t.Error(err)
	}
	same(t, "unconfirmed", must[unblock.Standing](t)(s.Standing(t.Context(), "c1")).Unconfirmed, 1)
	if err := s.Append(t.Context(), audit.Entry{}); err != nil {
		t.Fatal(err)
	}
	same(t, "entries", len(allEntries(t, s)), 3)
}

func TestAuditLogIsAppendOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "latchkey.db")
	s := open(t, path)
	for range 3 {
		if err := s.Append(t.Context(), audit.Entry{Detail: "kept"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, statement := range []string{
		`UPDATE audit_entries SET entry = '{}' WHERE sequence = 2`,
		`UPDATE OR REPLACE audit_entries SET sequence = 1 WHERE sequence = 2`,
		`DELETE FROM audit_entries WHERE sequence = 3`,
		`DELETE FROM audit_entries`,
		`UPDATE audit_entries SET entry = '' WHERE sequence = 2`, // as if it were pruned
		`UPDATE audit_entries SET leaf = x'00' WHERE sequence = 2`,
		`UPDATE audit_log SET pruned = 2`, // no checkpoint is over it
		`UPDATE audit_log SET origin = 'another'`,
		`DELETE FROM audit_log`,
		`INSERT OR REPLACE INTO audit_entries (sequence, entry, leaf) VALUES (2, '{}', x'00')`,
		`INSERT INTO audit_entries (sequence, entry, leaf) VALUES (5, '{}', x'00')`,
		`INSERT INTO audit_entries (sequence, entry, leaf) VALUES (0, '{}', x'00')`,
		`INSERT INTO audit_entries (sequence, entry) VALUES (4, '{}')`,
		`INSERT INTO audit_entries (sequence, entry, leaf) SELECT 2, '{}', x'00' WHERE true ON CONFLICT DO UPDATE SET entry = '{}'`,
	} {
		if err := raw(t, path, statement); err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: %v", statement, err)
		}
	}
	for _, e := range allEntries(t, s) {
		same(t, "detail", e.Detail, "kept")
	}
	if err := s.Append(t.Context(), audit.Entry{}); err != nil {
		t.Fatal(err)
	}
	same(t, "entries", len(allEntries(t, s)), 4)
}
