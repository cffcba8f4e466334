// Package softtoken makes SoftHSM2 tokens in a directory of their own, for the
// tests and for the demonstration that `make run` starts. A token of it is no
// place for a key that matters.
package softtoken

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ModuleEnv is the environment variable that names the SoftHSM2 library where it
// is not in its usual place.
const ModuleEnv = "LATCHKEY_SOFTHSM_MODULE"

// ErrMissing says that SoftHSM2 is not installed.
var ErrMissing = errors.New("SoftHSM2 is missing; run: make deps")

// Token is a SoftHSM2 token: where it lies, and what opens it.
type Token struct {
	Dir     string // holds all the rest
	Conf    string // softhsm2.conf
	Module  string // path of the PKCS#11 library
	Label   string
	PIN     string // user PIN
	PINFile string // the same in a file of mode 0600, with a line end
}

// at names a token's files without looking at them.
func at(dir, label string) (Token, error) {
	module, err := FindModule()
	if err != nil {
		return Token{}, err
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return Token{}, fmt.Errorf("find the token's directory: %w", err)
	}
	return Token{
		Dir: dir, Conf: filepath.Join(dir, "softhsm2.conf"), Module: module,
		Label: label, PINFile: filepath.Join(dir, "pin"),
	}, nil
}

// Make makes a token with a random PIN in dir, which must exist and hold none
// yet (else fs.ErrExist). Where it fails it leaves nothing behind. The label has
// 1 to 32 bytes. The security officer's PIN is thrown away: who wants another
// user PIN makes another token.
//
// softhsm2-util takes PINs from its arguments or a terminal, so for the moment
// that it runs, the machine's other users can see them.
func Make(ctx context.Context, dir, label string) (_ Token, err error) {
	t, err := at(dir, label)
	if err != nil {
		return Token{}, err
	}
	t.PIN = rand.Text()
	tokens := filepath.Join(t.Dir, "tokens")
	if err := os.Mkdir(tokens, 0o700); err != nil {
		return Token{}, fmt.Errorf("make token: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(tokens), os.RemoveAll(t.Conf), os.RemoveAll(t.PINFile))
		}
	}()
	conf := fmt.Sprintf("directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", tokens)
	if err := os.WriteFile(t.Conf, []byte(conf), 0o600); err != nil {
		return Token{}, fmt.Errorf("make token: %w", err)
	}
	//nolint:gosec // the caller is a test or the demonstration, and names the label
	util := exec.CommandContext(ctx, "softhsm2-util", "--module", t.Module, "--init-token", "--free",
		"--label", label, "--so-pin", rand.Text(), "--pin", t.PIN)
	util.Env = append(os.Environ(), t.Env()...)
	if out, err := util.CombinedOutput(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			err = ErrMissing
		}
		return Token{}, fmt.Errorf("make token: softhsm2-util: %w\n%s", err, out)
	}
	if err := os.WriteFile(t.PINFile, []byte(t.PIN+"\n"), 0o600); err != nil {
		return Token{}, fmt.Errorf("make token: %w", err)
	}
	return t, nil
}

// Existing is the token that Make made in dir before. Where there is none, the
// error is fs.ErrNotExist.
func Existing(dir, label string) (Token, error) {
	t, err := at(dir, label)
	if err != nil {
		return Token{}, err
	}
	pin, err := os.ReadFile(t.PINFile)
	if err != nil {
		return Token{}, fmt.Errorf("find token: %w", err)
	}
	t.PIN = strings.TrimSpace(string(pin))
	return t, nil
}

// Env is what a process needs in its environment to see the token.
func (t Token) Env() []string { return []string{"SOFTHSM2_CONF=" + t.Conf} }

// FindModule finds the SoftHSM2 library: where ModuleEnv says, else where
// Debian and its kin put it.
func FindModule() (string, error) {
	if path := os.Getenv(ModuleEnv); path != "" {
		if _, err := os.Stat(path); err != nil { //nolint:gosec // who starts the process may name its module
			return "", fmt.Errorf("%s: %w", ModuleEnv, err)
		}
		return path, nil
	}
	for _, pattern := range []string{
		"/usr/lib/softhsm/libsofthsm2.so",
		"/usr/lib/*/softhsm/libsofthsm2.so",
		"/usr/lib64/pkcs11/libsofthsm2.so",
	} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return "", fmt.Errorf("look for SoftHSM2: %w", err)
		}
		if len(paths) > 0 {
			return paths[0], nil
		}
	}
	return "", fmt.Errorf("%w (or set %s to the path of libsofthsm2.so)", ErrMissing, ModuleEnv)
}
