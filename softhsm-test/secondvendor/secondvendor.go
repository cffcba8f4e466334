// Package secondvendor gives tests a PKCS#11 token that is not SoftHSM's: one of
// NSS softokn, the token of Firefox and Chromium (Debian: libnss3, and certutil
// of libnss3-tools). What passes on both is PKCS#11 and not one vendor's habits.
// docs/second-vendor.md says what the two do differently, and why it is this one.
package secondvendor

import (
	"crypto/rand"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	softhsmtest "latchkey/softhsm-test"
	"latchkey/softhsm-test/internal/cmodule"
	"latchkey/softhsm-test/softtoken"
)

//go:embed module
var sources embed.FS

// compiled is the library that stands before softokn, made once per process.
var compiled = sync.OnceValues(func() ([]byte, error) { return cmodule.Compile(sources, "module") })

// New makes an empty token with a random PIN and points this process and its
// children at it. As with softhsmtest.New, a process has one at a time.
func New(tb testing.TB) *softhsmtest.Token {
	tb.Helper()
	tb.Setenv("NSS_FIPS", "")
	return fresh(tb)
}

// NewFIPS makes a token like New, in softokn's FIPS mode. It takes no secret key
// in clear: C_CreateObject refuses them.
func NewFIPS(tb testing.TB) *softhsmtest.Token {
	tb.Helper()
	tb.Setenv("NSS_FIPS", "1")
	return fresh(tb)
}

func fresh(tb testing.TB) *softhsmtest.Token {
	tb.Helper()
	dir := tb.TempDir()
	t := softtoken.Token{
		Dir: dir, Module: filepath.Join(dir, "nss.so"), Label: "second-vendor",
		// FIPS mode wants letters of both cases or signs, besides digits.
		PIN: rand.Text() + "-a1", PINFile: filepath.Join(dir, "pin"),
	}
	library, err := compiled()
	if err != nil {
		tb.Fatal(err)
	}
	if err := errors.Join(
		os.WriteFile(t.Module, library, 0o600),
		os.WriteFile(t.PINFile, []byte(t.PIN+"\n"), 0o600),
	); err != nil {
		tb.Fatal(err)
	}
	//nolint:gosec // the names are the test's own
	certutil := exec.CommandContext(tb.Context(), "certutil", "-N", "-d", "sql:"+dir, "-f", t.PINFile)
	if out, err := certutil.CombinedOutput(); err != nil {
		tb.Fatalf("make an NSS database: certutil: %v; where it is missing, run: make deps\n%s", err, out)
	}
	tb.Setenv("NSS_LIB_PARAMS", fmt.Sprintf(
		"configdir='sql:%s' certPrefix='' keyPrefix='' secmod='' flags= dbTokenDescription='%s' FIPSTokenDescription='%[2]s'", dir, t.Label))
	return &softhsmtest.Token{Token: t}
}
