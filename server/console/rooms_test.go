package console

import (
	"path/filepath"
	"testing"

	"latchkey/audit/digest"
	"latchkey/card"
	"latchkey/registry"
	"latchkey/store"
)

// furnish gives a console the rooms that administrators, officers and auditors work
// in: real ones, with a database of their own.
func furnish(t *testing.T, c Config) Config {
	t.Helper()
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "latchkey.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	c.Types, c.Register = registry.Types{Store: s, Profiles: c.Profiles, CardStates: c.CardStates}, s
	c.Families = []card.Profile{{ID: "gids", Name: "GIDS", Family: "gids"}}
	c.Log = &digest.Digester{Log: s.Log(), Ledger: s}
	return c
}
