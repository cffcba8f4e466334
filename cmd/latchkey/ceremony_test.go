package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"latchkey/softhsm-test/softtoken"
)

const ptyScript = `title: Ceremony at a terminal
token: {label: bench}
signing_key: {label: ceremony, create: true}
officers:
  - {name: Anna Berg, role: administrator}
  - {name: Bo Chen, role: custodian}
  - {name: Cy Diaz, role: custodian}
run_by: Anna Berg
approval: {required: 1, officers: [Bo Chen]}
steps:
  - import-components:
      label: fleet
      type: tdes3
      use: derive
      kcv: 4EBA73
      components: [{officer: Bo Chen}, {officer: Cy Diaz}]
`

const (
	firstComponent  = "1111111111111111 2222222222222222 4444444444444444"
	secondComponent = "1032547698BADCFE 016745AB89EFCD23 0123CDEF89AB4567"
)

// atTerminal is a process with a terminal of its own.
type atTerminal struct {
	t       *testing.T
	process *exec.Cmd
	master  *os.File

	mu    sync.Mutex
	shown bytes.Buffer
	ended chan struct{} // closed when nothing more is shown
	seen  int           // of shown, what was waited for
}

// startAtTerminal runs latchkey at a new terminal.
func startAtTerminal(t *testing.T, args ...string) *atTerminal {
	t.Helper()
	a := &atTerminal{t: t, process: exec.CommandContext(t.Context(), "latchkey", args...), ended: make(chan struct{})}
	master, err := pty.Start(a.process)
	if err != nil {
		t.Fatal(err)
	}
	a.master = master
	go func() {
		defer close(a.ended)
		_, _ = io.Copy(writerFunc(func(p []byte) (int, error) {
			a.mu.Lock()
			defer a.mu.Unlock()
			return a.shown.Write(p)
		}), master) // ends with an error when the process does
	}()
	t.Cleanup(func() {
		_ = master.Close()
		<-a.ended
	})
	return a
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// screen is all that was shown so far.
func (a *atTerminal) screen() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.shown.String()
}

// types waits until the prompt is shown, and types the text.
func (a *atTerminal) types(prompt, text string) {
	a.t.Helper()
	deadline := time.After(time.Minute)
	for over := false; ; {
		screen := a.screen()
		if i := strings.Index(screen[a.seen:], prompt); i >= 0 {
			a.seen += i + len(prompt)
			break
		}
		if over {
			a.t.Fatalf("%q is not asked for:\n%s", prompt, screen)
		}
		select {
		case <-a.ended:
			over = true // what came last is still to be looked at
		case <-deadline:
			over = true
		case <-time.After(10 * time.Millisecond):
		}
	}
	if _, err := a.master.WriteString(text); err != nil {
		a.t.Fatal(err)
	}
}

// exit waits for the process and gives its exit code.
func (a *atTerminal) exit() int {
	a.t.Helper()
	<-a.ended
	_ = a.process.Wait() // how it ended is in ProcessState
	return a.process.ProcessState.ExitCode()
}

// ceremonyFolder makes a token and a folder with a configuration for it and the
// ceremony file.
func ceremonyFolder(t *testing.T) (dir string, token softtoken.Token) {
	t.Helper()
	dir = t.TempDir()
	token, err := softtoken.Make(t.Context(), dir, "bench")
	if err != nil {
		t.Fatal(err)
	}
	for _, variable := range token.Env() {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
	t.Setenv("LATCHKEY_CONFIG", filepath.Join(dir, "token.yaml"))
	for name, text := range map[string]string{
		"token.yaml":    fmt.Sprintf(tokenConfig, token.Module, token.Label, token.PINFile),
		"ceremony.yaml": ptyScript,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir, token
}

// A ceremony at a real terminal: what officers type openly is shown, components
// are not, and the record is verified with the key as another program reads it
// from the token.
func TestCeremonyAtTerminal(t *testing.T) {
	dir, token := ceremonyFolder(t)
	a := startAtTerminal(t, "ceremony", "run", filepath.Join(dir, "ceremony.yaml"))
	// What is typed before a question is shown is no answer to it.
	a.types("Anna Berg, administrator: ", "Anna Berg\nBo Chen\n")
	a.types("Bo Chen, custodian: ", "nobody\n")
	a.types("that is not the name of Bo Chen", "")
	a.types("Bo Chen, custodian: ", "Bo Chen\n")
	a.types("Cy Diaz, custodian: ", "Cy Diaz\n")
	a.types("Approval 1 of 1, name: ", "Bo Chen\n")
	a.types("at the keyboard: ", "Bo Chen\n")
	a.types("(not shown): ", strings.Repeat("F", 2000)+"\n")
	a.types("(not shown): ", firstComponent+"\n")
	a.types("on the paper? [yes/no/stop] ", "yes\n")
	a.types("at the keyboard: ", "Cy Diaz\n")
	a.types("(not shown): ", secondComponent+"\n")
	a.types("on the paper? [yes/no/stop] ", "yes\n")
	a.types("Import the key? [yes/stop] ", "yes\n")
	if code := a.exit(); code != exitOK {
		t.Fatalf("exit code %d\n%s", code, a.screen())
	}
	screen := a.screen()
	for _, typed := range []string{"Anna Berg, administrator: Anna Berg\r\n", "[yes/no/stop] yes\r\n"} {
		if !strings.Contains(screen, typed) {
			t.Errorf("%q is not on the screen:\n%s", typed, screen)
		}
	}
	for _, secret := range append(strings.Fields(firstComponent+" "+secondComponent), "FFFFFFFF") {
		if strings.Contains(screen, secret) {
			t.Errorf("%s, which was typed hidden, is on the screen:\n%s", secret, screen)
		}
	}
	if !strings.Contains(screen, "4EBA73 (des-ecb-zero)") {
		t.Errorf("the key check value is not on the screen:\n%s", screen)
	}

	t.Setenv("LATCHKEY_TEST_PIN", token.PIN)
	der, key, record := filepath.Join(dir, "key.der"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "ceremony.record.json")
	output(t, nil, "pkcs11-tool", "--module", token.Module, "--token-label", "bench", "--login", "--pin", "env:LATCHKEY_TEST_PIN",
		"--read-object", "--type", "pubkey", "--label", "ceremony", "--output-file", der)
	output(t, nil, "openssl", "pkey", "-pubin", "-inform", "DER", "-in", der, "-out", key)
	out := string(output(t, nil, "latchkey", "ceremony", "verify", record, "--key", key))
	for _, want := range []string{"Outcome: done", "component 1 by Bo Chen", "tries 2", "signed by the key in " + key} {
		if !strings.Contains(out, want) {
			t.Errorf("verify does not say %q:\n%s", want, out)
		}
	}
	if out := string(output(t, nil, "latchkey", "ceremony", "verify", record)); !strings.Contains(out, "does not prove where it comes from") {
		t.Errorf("verify without a key says\n%s", out)
	}
	// A second ceremony does not write over the record of the first.
	again := startAtTerminal(t, "ceremony", "run", filepath.Join(dir, "ceremony.yaml"))
	if code := again.exit(); code != exitUsage || !strings.Contains(again.screen(), "file exists") {
		t.Errorf("exit code %d\n%s", code, again.screen())
	}
}

// Ctrl-C while a component is typed: the terminal shows again what is typed, no key
// is in the token, and the record tells of it.
func TestCeremonyInterrupted(t *testing.T) {
	dir, _ := ceremonyFolder(t)
	a := startAtTerminal(t, "ceremony", "run", filepath.Join(dir, "ceremony.yaml"), "--record", filepath.Join(dir, "r.json"))
	a.types("Anna Berg, administrator: ", "Anna Berg\n")
	a.types("Bo Chen, custodian: ", "Bo Chen\n")
	a.types("Cy Diaz, custodian: ", "Cy Diaz\n")
	a.types("Approval 1 of 1, name: ", "Bo Chen\n")
	a.types("at the keyboard: ", "Bo Chen\n")
	a.types("(not shown): ", firstComponent[:20]+"\x03")
	if code := a.exit(); code != exitInterrupted {
		t.Errorf("exit code %d\n%s", code, a.screen())
	}
	state, err := unix.IoctlGetTermios(int(a.master.Fd()), unix.TCGETS)
	if err != nil || state.Lflag&unix.ECHO == 0 {
		t.Errorf("the terminal is left without an echo: %v", err)
	}
	if strings.Contains(a.screen(), firstComponent[:8]) {
		t.Errorf("the component is on the screen:\n%s", a.screen())
	}
	if out := string(output(t, nil, "latchkey", "ceremony", "verify", filepath.Join(dir, "r.json"))); !strings.Contains(out, "Outcome: broken-off") {
		t.Errorf("the record says\n%s", out)
	}
	if keys := string(output(t, nil, "latchkey", "key", "list", "--json")); strings.Contains(keys, "fleet") {
		t.Errorf("keys in the token: %s", keys)
	}
}
