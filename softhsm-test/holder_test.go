package softhsmtest_test

import (
	"bufio"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"

	"latchkey/card"
	"latchkey/server/api"
	"latchkey/softhsm-test/browser"
	"latchkey/softhsm-test/house"
)

const chosenPIN = "583920"

// The whole way, with nothing in place of anything but the plastic: OpenSC blocks the
// PIN, unblock-card shows the challenge, Latchkey answers it, unblock-card sets the new
// PIN, OpenSC verifies it. Once with an operator in the console, once with a backend.
func TestHolder(t *testing.T) {
	a := newAppliance(t)
	m := newMiddleware(t)

	t.Run("console", func(t *testing.T) {
		const serial = "HOLDER-CONSOLE"
		a.register(t, card.TDES3, serial)
		m.insert(t, issueCard(t, card.TDES3, serial))
		m.blockByOpenSC(t)

		terminal, err := pty.Start(m.command(t, holder(t)))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = terminal.Close() }()
		enter := func(line string) {
			if _, err := io.WriteString(terminal, line+"\r"); err != nil {
				t.Fatal(err)
			}
		}
		shown := readUntil(t, terminal, "Response: ")
		found := regexp.MustCompile(`    ((?:[0-9A-F]{4} ){3}[0-9A-F]{4})`).FindStringSubmatch(shown)
		if found == nil {
			t.Fatalf("no challenge is shown:\n%s", shown)
		}
		challenge := found[1]
		// Nobody else's command reaches the card meanwhile, which would void the challenge.
		m.opensc(t, "GIDS Smart Card", false, "opensc-tool", "--name")

		response := a.operate(t, serial, challenge)
		enter(response)
		shown += readUntil(t, terminal, "[Y/n] ")
		enter("")
		shown += readUntil(t, terminal, "New PIN (not shown): ")
		enter(chosenPIN)
		shown += readUntil(t, terminal, "The same again: ")
		enter(chosenPIN)
		shown += readUntil(t, terminal, "the card has verified it")
		if strings.Contains(shown, chosenPIN) {
			t.Error("the PIN is shown")
		}
		t.Logf("the holder's terminal:\n%s", shown)
		_, _ = io.Copy(io.Discard, terminal) // until it has ended and let go of the card
		m.unblocked(t, chosenPIN)
	})

	t.Run("backend", func(t *testing.T) {
		backend := a.as(t, "identity-manager")
		for _, keyType := range []card.KeyType{card.TDES3, card.AES256} {
			serial := "HOLDER-BACKEND-" + string(keyType)
			a.register(t, keyType, serial)
			takeOut := m.insert(t, issueCard(t, keyType, serial))
			m.blockByOpenSC(t)
			m.kiosk(t, func(challenge string) string {
				return call[api.Response](t, backend, http.MethodPost, "/v1/cards/"+serial+"/response", api.Respond{
					Operator: "anna", Challenge: challenge, Reason: reason,
				}).Response
			})
			m.unblocked(t, chosenPIN)
			takeOut()
		}
	})
}

// start starts unblock-card, with what it reads and what it prints.
func (m *middleware) start(t *testing.T, args ...string) (cmd *exec.Cmd, in io.WriteCloser, out io.Reader) {
	t.Helper()
	cmd = m.command(t, holder(t), args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if out, err = cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, in, out
}

// kiosk runs unblock-card without a person.
func (m *middleware) kiosk(t *testing.T, answer func(challenge string) string) {
	t.Helper()
	cmd, in, out := m.start(t, "--json", "--reader", virtualReader)
	var last string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var step struct{ Step, Challenge string }
		if err := json.Unmarshal(lines.Bytes(), &step); err != nil {
			t.Fatal(err)
		}
		line := ""
		switch last = step.Step; last {
		case "challenge":
			line = answer(step.Challenge)
		case "new-pin":
			line = chosenPIN
		default:
			continue
		}
		if _, err := fmt.Fprintln(in, line); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Wait(); err != nil || last != "done" {
		t.Fatalf("unblock-card ends after the step %q with %v", last, err)
	}
}

// What goes wrong at the card, with the real middleware: each has its exit code, and
// the PIN stays as it was.
func TestHolderTroubles(t *testing.T) {
	m := newMiddleware(t)
	run := func(want int, args ...string) {
		t.Helper()
		cmd := m.command(t, holder(t), append([]string{"--json"}, args...)...)
		out, err := cmd.CombinedOutput()
		var ended *exec.ExitError
		if !errors.As(err, &ended) || ended.ExitCode() != want {
			t.Errorf("unblock-card %s ends with %v, want exit code %d:\n%s", strings.Join(args, " "), err, want, out)
		}
	}
	run(4, "--timeout", "1s") // no card
	run(3, "status", "--reader", "of another make")

	c := issueCard(t, card.TDES3, "TROUBLES")
	takeOut := m.insert(t, c)
	run(5) // not blocked
	blockCard(t, c)

	// hold starts an unblock that waits for its response.
	hold := func() (*exec.Cmd, io.Closer) {
		t.Helper()
		cmd, in, out := m.start(t, "--json")
		readUntil(t, out, `"challenge"`)
		return cmd, in
	}
	ends := func(cmd *exec.Cmd, in io.Closer, want int) {
		t.Helper()
		_ = cmd.Wait() // its code is looked at
		_ = in.Close()
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Errorf("unblock-card ends with %v, want exit code %d", cmd.ProcessState, want)
		}
	}
	cmd, in := hold()
	run(10) // another program holds the reader
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	ends(cmd, in, 130)

	// A wrong response, from a file.
	file := filepath.Join(t.TempDir(), "response")
	if err := os.WriteFile(file, []byte("0123 4567 89AB CDEF\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(6, "--response", file, "--new-pin", newPINFile(t))

	cmd, in = hold()
	takeOut()
	ends(cmd, in, 9)
	m.insert(t, c)
	m.opensc(t, "Tries left     : 0", true, "pkcs15-tool", "--list-pins")

	cmd, in = hold()
	m.stop()
	ends(cmd, in, 3)
	run(3) // the service does not run
	if !c.Blocked() {
		t.Error("the PIN was changed")
	}
}

func newPINFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(path, []byte(chosenPIN+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// operate is the operator in the console: finds the card, makes sure of the holder,
// types the challenge, reads it back and reads the response out.
func (a *appliance) operate(t *testing.T, serial, challenge string) (response string) {
	t.Helper()
	b := browser.New(t, a.door(t, "anna"))
	b.Open(t, http.StatusOK, "/console/")
	b.Goes(t, http.StatusOK, browser.Type("[name=q]", serial+"\r"))
	b.Goes(t, http.StatusOK, browser.Click("tbody a"))
	b.Start(t, reason, browser.Click(browser.StartButton))
	b.Goes(t, http.StatusOK, browser.Type("#challenge", challenge+"\r"))
	if back := b.Digits(t); back != strings.ReplaceAll(challenge, " ", "") {
		t.Errorf("the challenge %s is read back as %s", challenge, back)
	}
	b.Goes(t, http.StatusOK, browser.Press("\r"))
	response = b.Digits(t)
	b.Goes(t, http.StatusOK, browser.Click("button[value=pin-changed]"))
	b.Shows(t, "PIN changed")
	return response
}

// door is where a browser that has no certificate of its own finds the server: it
// shows the certificate of that name for it.
func (a *appliance) door(t *testing.T, name string) string {
	t.Helper()
	pair, err := a.ca.Client(pkix.Name{CommonName: name, Organization: []string{"Example"}})
	if err != nil {
		t.Fatal(err)
	}
	return house.Door(t, a.url, a.ca, pair)
}
