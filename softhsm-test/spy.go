package softhsmtest

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// Spy is a token's library with OpenSC's pkcs11-spy between it and whoever loads
// it: a PKCS#11 library that passes every call on and writes it down.
type Spy struct {
	Module string // the library to load
	record string
}

// Spy sets a spy up for this process and its children.
func (t *Token) Spy(tb testing.TB) *Spy {
	tb.Helper()
	modules, err := filepath.Glob("/usr/lib/*/pkcs11-spy.so")
	if err != nil || len(modules) == 0 {
		tb.Fatalf("pkcs11-spy.so of OpenSC is missing (%v); run: make deps", err)
	}
	record := filepath.Join(tb.TempDir(), "pkcs11-calls")
	tb.Setenv("PKCS11SPY", t.Module)
	tb.Setenv("PKCS11SPY_OUTPUT", record)
	return &Spy{modules[0], record}
}

var calls = regexp.MustCompile(`(?m)^\d+: (C_\w+)$`)

// Calls lists the PKCS#11 functions that were called so far, in their order.
func (s *Spy) Calls(tb testing.TB) []string {
	tb.Helper()
	text, err := os.ReadFile(s.record)
	if err != nil {
		tb.Fatalf("nobody loaded the spy: %v", err)
	}
	var names []string
	for _, match := range calls.FindAllSubmatch(text, -1) {
		names = append(names, string(match[1]))
	}
	return names
}
