package store_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"latchkey/store"
)

// A look changes nothing, whether the database is in use or not.
func TestInspect(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "latchkey.db")
	if _, err := store.Inspect(t.Context(), path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no database: %v", err)
	}
	s, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for _, state := range []string{"in use", "not in use"} {
		before, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		c, err := store.Inspect(t.Context(), path)
		if err != nil || c.Schema != c.Latest || c.Latest < 1 || c.Mode.Perm() != 0o600 {
			t.Errorf("%s: %+v, %v", state, c, err)
		}
		if after, err := os.ReadDir(folder); err != nil || len(after) != len(before) {
			t.Errorf("%s: %v were there, now %v (%v)", state, before, after, err)
		}
		if err := s.Check(t.Context()); err != nil && state == "in use" {
			t.Errorf("the store does not write after a look: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(folder)
	if err := os.Symlink(path, "link"); err != nil {
		t.Fatal(err)
	}
	if c, err := store.Inspect(t.Context(), "link"); err != nil || c.Schema != c.Latest {
		t.Errorf("by a relative path and a link: %+v, %v", c, err)
	}
	foreign := filepath.Join(folder, "foreign")
	if err := os.WriteFile(foreign, []byte("not a database, and long enough to look like the header of one, which has a hundred bytes in all....."), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Inspect(t.Context(), foreign); !errors.Is(err, store.ErrForeign) {
		t.Errorf("another file: %v", err)
	}
}
