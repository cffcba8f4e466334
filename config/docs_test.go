package config_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/card"
	"latchkey/config"
	"latchkey/softhsm-test/throwawayca"
)

const docs = "../docs"

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(docs, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// installed makes a folder in which the files that the example names are there.
func installed(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "tls"), 0o700); err != nil {
		t.Fatal(err)
	}
	ca, err := throwawayca.New("test CA")
	if err != nil {
		t.Fatal(err)
	}
	server, err := ca.Server("localhost")
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Write(filepath.Join(dir, "tls", "server.crt"), filepath.Join(dir, "tls", "server.key")); err != nil {
		t.Fatal(err)
	}
	if err := ca.Write(filepath.Join(dir, "tls", "clients.crt")); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "pin", "123456\n", 0o600)
	write(t, dir, "libsofthsm2.so", "not a library, and not loaded", 0o644)
	return dir
}

// The example is valid, and where it says that it shows defaults it does.
func TestExample(t *testing.T) {
	dir := installed(t)
	// Where the module lies is the one thing that differs between systems.
	text := strings.Replace(read(t, "latchkey.example.yaml"), "/usr/lib/softhsm/", "", 1)
	c, err := load(t, dir, text)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Clients) != 3 || len(c.Operators) != 2 || len(c.Profiles) != 6 {
		t.Errorf("%d clients, %d operators, %d profiles", len(c.Clients), len(c.Operators), len(c.Profiles))
	}
	shown := []any{c.Listen, c.Store, c.Cards, c.Unblock, c.Custody, c.Audit, c.Log}
	defaults := []any{
		config.DefaultListen, config.Store{Path: filepath.Join(dir, config.DefaultStore)},
		config.Cards{MaxAge: config.DefaultMaxAge, States: card.DefaultCardStates(), HolderStates: card.DefaultHolderStates()},
		config.Unblock{Lifetime: config.DefaultLifetime, ApprovalLifetime: config.DefaultApprovalLifetime},
		config.Custody{Approvals: config.DefaultApprovals, Lifetime: config.DefaultProposalLifetime},
		config.Audit{CheckpointEvery: config.DefaultCheckpointEvery, CheckpointAfter: config.DefaultCheckpointAfter}, "info",
	}
	if diff := cmp.Diff(defaults, shown); diff != "" {
		t.Errorf("the example differs from the defaults (-default +shown):\n%s", diff)
	}
}

// No key goes without a line in the example, set or commented out, and none
// without a row in the documentation.
func TestEveryKeyIsDescribed(t *testing.T) {
	example, description := read(t, "latchkey.example.yaml"), read(t, "configuration.md")
	for _, key := range config.Keys() {
		last := key[strings.LastIndex(key, ".")+1:]
		if !regexp.MustCompile(`(?m)^[ #-]*` + last + `:`).MatchString(example) {
			t.Errorf("latchkey.example.yaml does not have %s", key)
		}
		if !strings.Contains(description, "| `"+key+"` |") {
			t.Errorf("configuration.md has no row for %s", key)
		}
	}
}
