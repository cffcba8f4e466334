package softhsmtest_test

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"latchkey/card"
	"latchkey/hsm"
	softhsmtest "latchkey/softhsm-test"
	"latchkey/softhsm-test/softtoken"
)

// SoftHSM2 keeps its configuration and its tokens in variables of the process,
// so the fixture has to prove that the second test in a process sees its own
// token and nothing of the first's.
func TestFixturesFollowEachOther(t *testing.T) {
	var earlier []*softhsmtest.Token
	for _, label := range []string{"first", "second", "third"} {
		t.Run(label, func(t *testing.T) {
			fixture := softhsmtest.New(t)
			token := fixture.Open(t)
			if got := token.Info().Label; got != fixture.Label {
				t.Errorf("opened token %q, want %q", got, fixture.Label)
			}
			if keys, err := token.Keys(t.Context()); err != nil || len(keys) != 0 {
				t.Errorf("a new token has the keys %v, %v; want none", keys, err)
			}
			master := hsm.NewKey{Label: label, Version: 1, Type: card.AES256, Use: hsm.ForDeriving}
			if _, err := token.Import(t.Context(), master, testMaster(t)); err != nil {
				t.Fatal(err)
			}
			if out := fixture.PKCS11Tool(t, "--list-objects"); strings.Count(out, "Secret Key Object") != 1 || !strings.Contains(out, label) {
				t.Errorf("another process lists\n%s\nwant the one key %s", out, label)
			}
			for _, other := range earlier {
				if other.Label == fixture.Label || other.PIN == fixture.PIN {
					t.Error("two fixtures share a label or a PIN")
				}
				module, err := hsm.Load(fixture.Module)
				if err != nil {
					t.Fatal(err)
				}
				_, err = module.Open(t.Context(), hsm.Config{Token: hsm.Selector{Label: other.Label}, PIN: hsm.NewPIN(other.PIN)})
				if !errors.Is(err, hsm.ErrToken) {
					t.Errorf("opening an earlier test's token: %v; want %v", err, hsm.ErrToken)
				}
				if err := module.Close(); err != nil {
					t.Error(err)
				}
			}
			earlier = append(earlier, fixture)
		})
	}
}

func TestOpenAgainInOneTest(t *testing.T) {
	fixture := softhsmtest.New(t)
	fixture.Open(t)
	if err := fixture.Open(t, func(c *hsm.Config) { c.Sessions = 1 }).Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestPINFile(t *testing.T) {
	fixture := softhsmtest.New(t)
	info, err := os.Stat(fixture.PINFile)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("the PIN file has mode %04o, want 0600", got)
	}
	pin, err := hsm.PINSource{File: fixture.PINFile}.Read()
	if err != nil {
		t.Fatal(err)
	}
	if pin != hsm.NewPIN(fixture.PIN) {
		t.Error("the PIN file does not hold the fixture's PIN")
	}
}

func TestExistingToken(t *testing.T) {
	fixture := softhsmtest.New(t)
	again, err := softtoken.Existing(fixture.Dir, fixture.Label)
	if err != nil {
		t.Fatal(err)
	}
	if again != fixture.Token {
		t.Error("a token found again is not the one that was made")
	}
	if _, err := softtoken.Make(t.Context(), fixture.Dir, fixture.Label); !errors.Is(err, fs.ErrExist) {
		t.Errorf("making a second token in the same place: %v; want %v", err, fs.ErrExist)
	}
	if _, err := softtoken.Existing(t.TempDir(), "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("looking for a token where there is none: %v; want %v", err, fs.ErrNotExist)
	}
}

func TestFailedTokenLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	if _, err := softtoken.Make(t.Context(), dir, strings.Repeat("x", 33)); err == nil {
		t.Fatal("a token is made with a label that PKCS#11 has no room for")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("it leaves %v, %v", left, err)
	}
}
