// Package softhsmtest gives tests a real PKCS#11 token: a SoftHSM2 token of
// their own, in a temporary directory. Nothing of it goes into the product.
//
// C_Initialize and SOFTHSM2_CONF belong to the whole process, so a process has
// one fixture at a time: New sets the variable with tb.Setenv, which refuses to
// work in parallel tests, and Open finalises the library when the test ends, so
// that the next test's C_Initialize reads the next token's configuration.
package softhsmtest

import (
	"context"
	"crypto/rand"
	"os"
	"os/exec"
	"strings"
	"testing"

	"latchkey/hsm"
	"latchkey/softhsm-test/softtoken"
)

// Token is a SoftHSM2 token that lives as long as its test.
type Token struct{ softtoken.Token }

// New makes an empty token with a random PIN, and points this process and its
// children at it. Where SoftHSM2 is missing the test fails: a test that skips
// would prove nothing and look as if it did.
func New(tb testing.TB) *Token {
	tb.Helper()
	t, err := softtoken.Make(tb.Context(), tb.TempDir(), "test-"+strings.ToLower(rand.Text()[:12]))
	if err != nil {
		tb.Fatal(err)
	}
	for _, variable := range t.Env() {
		name, value, _ := strings.Cut(variable, "=")
		tb.Setenv(name, value)
	}
	return &Token{t}
}

// Open loads the library, opens the token and closes both when the test ends.
// Each change is made to the configuration before the token is opened with it.
// To open the token through another module, set Module first.
func (t *Token) Open(tb testing.TB, changes ...func(*hsm.Config)) *hsm.Token {
	tb.Helper()
	module, err := hsm.Load(t.Module)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := module.Close(); err != nil {
			tb.Error(err)
		}
	})
	config := hsm.Config{Token: hsm.Selector{Label: t.Label}, PIN: hsm.NewPIN(t.PIN)}
	for _, change := range changes {
		change(&config)
	}
	token, err := module.Open(tb.Context(), config)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		// tb.Context has ended by the time of the cleanup.
		if err := token.Close(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	return token
}

// PKCS11Tool runs OpenSC's pkcs11-tool on the token, logged in, in a process of
// its own, and gives all that it printed. It fails the test where the tool fails.
func (t *Token) PKCS11Tool(tb testing.TB, args ...string) string {
	tb.Helper()
	const pin = "SOFTHSMTEST_PIN"
	tool := exec.Command("pkcs11-tool", append([]string{
		"--module", t.Module, "--token-label", t.Label, "--login", "--pin", "env:" + pin,
	}, args...)...)
	tool.Env = append(os.Environ(), append(t.Env(), pin+"="+t.PIN)...)
	out, err := tool.CombinedOutput()
	if err != nil {
		tb.Fatalf("pkcs11-tool %s: %v; where it is missing, run: make deps\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
