package store_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/audit"
	"latchkey/custody"
	"latchkey/dualcontrol"
	"latchkey/softhsm-test/throwawaypg"
	"latchkey/store"
	"latchkey/unblock"
)

func quiet(string, int64) {}

// filled makes a store with something of most kinds.
func filled(t *testing.T, where string) *store.Store {
	t.Helper()
	s := must[*store.Store](t)(store.Open(t.Context(), where))
	for i := range 300 {
		must[store.Result](t)(s.PutCard(t.Context(), sampleCard(fmt.Sprintf("c-%d", i)), audit.Entry{Time: moment, Action: audit.CardPut, Detail: `"quoted" <ä>`}))
	}
	bare := sampleCard("bare")
	bare.CUID, bare.KDD, bare.WrappedKey, bare.Holder.Privileged = nil, nil, nil, false
	must[store.Result](t)(s.PutCard(t.Context(), bare, audit.Entry{}))
	p := proposal("p-1", 0)
	if err := errors.Join(
		s.Apply(t.Context(), answered("a-1", "c-1", 0)),
		s.Apply(t.Context(), answered("a-2", "c-1", 0)),
		s.Apply(t.Context(), worked("a-1", "c-1")),
		s.Keep(t.Context(), custody.Change{Proposal: &p}),
	); err != nil {
		t.Fatal(err)
	}
	return s
}

// restored reads what filled wrote.
func restored(t *testing.T, where string, from *store.Store) {
	t.Helper()
	s := must[*store.Store](t)(store.Open(t.Context(), where))
	defer func() { _ = s.Close() }()
	for _, serial := range []string{"c-0", "c-299", "bare"} {
		got, err := s.Card(t.Context(), serial)
		if err != nil {
			t.Fatal(err)
		}
		want, err := from.Card(t.Context(), serial)
		if err != nil {
			t.Fatal(err)
		}
		same(t, serial, got, want)
	}
	same(t, "unconfirmed", must[unblock.Standing](t)(s.Standing(t.Context(), "c-1")).Unconfirmed, 1)
	same(t, "audit log", allEntries(t, s), allEntries(t, from))
	same(t, "proposal", must[dualcontrol.Proposal](t)(s.Proposal(t.Context(), dualcontrol.Keys, "p-1")), must[dualcontrol.Proposal](t)(from.Proposal(t.Context(), dualcontrol.Keys, "p-1")))
	// It is found, which the backup does not hold, and it goes on.
	if found, _, err := s.FindCards(t.Context(), store.Query{Text: "c-299", Limit: 10}); err != nil || len(found) != 1 {
		t.Errorf("%d cards found, %v", len(found), err)
	}
	if err := s.Apply(t.Context(), answered("a-3", "c-1", 0)); err != nil {
		t.Error(err)
	}
}

// A backup is made while the store is in use, and restored into either kind of database.
func TestBackup(t *testing.T) {
	server := throwawaypg.New(t)
	file := func(name string) string { return filepath.Join(t.TempDir(), name+".db") }
	database := func(name string) string { return must[string](t)(server.Database(t.Context(), name)) }
	for name, way := range map[string]struct{ from, to string }{
		"file to file":         {file("a"), file("b")},
		"file to server":       {file("c"), database("d")},
		"server to server":     {database("e"), database("f")},
		"server to file again": {database("g"), file("h")},
	} {
		t.Run(name, func(t *testing.T) {
			s := filled(t, way.from)
			defer func() { _ = s.Close() }()
			var file bytes.Buffer
			made := must[store.Content](t)(store.Backup(t.Context(), way.from, &file, quiet))
			got, err := store.Restore(t.Context(), way.to, &file, quiet)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "content", got, made)
			same(t, "cards", got.Rows["cards"], int64(301))
			restored(t, way.to, s)
		})
	}
}

// Every table is in a backup, or known to be left out.
func TestBackupHasEveryTable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "latchkey.db")
	open(t, path)
	var file bytes.Buffer
	content := must[store.Content](t)(store.Backup(t.Context(), at(t, path), &file, quiet))
	for _, name := range must[[]string](t)(store.Tables(t.Context(), at(t, path))) {
		if _, held := content.Rows[name]; held == contains(store.LeftOut(), name) {
			t.Errorf("table %s: in the backup %v", name, held)
		}
	}
}

func contains(list []string, name string) bool {
	for _, l := range list {
		if l == name {
			return true
		}
	}
	return false
}

// A backup that was cut, changed or is none is refused, and leaves no trace.
func TestRestoreRefuses(t *testing.T) {
	from := filepath.Join(t.TempDir(), "from.db")
	s := filled(t, at(t, from))
	defer func() { _ = s.Close() }()
	var file bytes.Buffer
	must[store.Content](t)(store.Backup(t.Context(), at(t, from), &file, quiet))
	lines := strings.SplitAfter(unpack(t, file.Bytes()), "\n")
	find := func(part string) int {
		for i, l := range lines {
			if strings.Contains(l, part) {
				return i
			}
		}
		t.Fatalf("no line has %q", part)
		return 0
	}
	edit := func(at int, old, new string) []byte {
		changed := append([]string{}, lines...)
		if changed[at] = strings.Replace(lines[at], old, new, 1); changed[at] == lines[at] {
			t.Fatalf("line %d has no %q", at+1, old)
		}
		return pack(t, strings.Join(changed, ""))
	}
	for name, test := range map[string]struct {
		file []byte
		says string
	}{
		"no backup":              {[]byte("hello"), "latchkey backup"},
		"another file, packed":   {pack(t, "hello\n"), "line 1"},
		"cut in the middle":      {pack(t, strings.Join(lines[:len(lines)/2], "")), "not whole"},
		"cut before its end":     {pack(t, strings.Join(lines[:len(lines)-2], "")), "not whole"},
		"half of the packed":     {file.Bytes()[:file.Len()/2], "line"},
		"a value changed":        {edit(find(`"c-17"`), `Anna`, `Anne`), "not those that were backed up"},
		"a row gone":             {pack(t, strings.Join(lines[:find(`"c-17"`)], "")+strings.Join(lines[find(`"c-17"`)+1:], "")), "not those"},
		"a column renamed":       {edit(find(`"table":"cards"`), `"cuid"`, `"; DROP TABLE cards; --"`), "is not expected"},
		"another table":          {edit(find(`"table":"cards"`), `"cards"`, `"sqlite_schema"`), "is not expected"},
		"of a newer version":     {edit(0, `"schema":`, `"schema":99`), "99"},
		"a row that is too long": {edit(find(`"c-17"`), "]\n", ",1]\n"), "not a row"},
	} {
		t.Run(name, func(t *testing.T) {
			to := at(t, filepath.Join(t.TempDir(), "to.db"))
			_, err := store.Restore(t.Context(), to, bytes.NewReader(test.file), quiet)
			if !errors.Is(err, store.ErrBackup) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v", err)
			}
			// What was refused left nothing behind: a good one can follow.
			if _, err := store.Restore(t.Context(), to, bytes.NewReader(file.Bytes()), quiet); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("a database in use", func(t *testing.T) {
		to := at(t, filepath.Join(t.TempDir(), "to.db"))
		other := filled(t, to)
		if err := other.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Restore(t.Context(), to, bytes.NewReader(file.Bytes()), quiet); !errors.Is(err, store.ErrNotEmpty) {
			t.Errorf("got %v", err)
		}
	})
}

func pack(t *testing.T, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := io.WriteString(w, text)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func unpack(t *testing.T, file []byte) string {
	t.Helper()
	r := must[*gzip.Reader](t)(gzip.NewReader(bytes.NewReader(file)))
	return string(must[[]byte](t)(io.ReadAll(r)))
}
