package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// output runs a program on standard input and fails the test where it fails. The
// program latchkey is this binary's own code, in a process of its own.
func output(t *testing.T, stdin []byte, program string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	var faults bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(stdin), &faults
	cmd.Env = append(os.Environ(), "GORACE="+raceOptions)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", program, strings.Join(args, " "), err, out, &faults)
	}
	return out
}

// instance is a `latchkey serve` with what the demonstration made for it.
type instance struct {
	dir, url string
}

// newInstance starts a server on a port of its own, its configuration with more
// text at the end. When the test ends it is asked to stop as Ctrl-C does, and has
// to exit with 0.
func newInstance(t *testing.T, more string) *instance {
	t.Helper()
	s := &instance{dir: t.TempDir()}
	output(t, nil, "latchkey", "demo", "--dir", s.dir, "--listen", "127.0.0.1:0", "--once")
	config := filepath.Join(s.dir, "latchkey.yaml")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("127.0.0.1:8443"), []byte("127.0.0.1:0"), 1)
	if err := os.WriteFile(config, append(text, more...), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("latchkey", "serve", "--config", config)
	cmd.Env = append(os.Environ(), s.softHSM(), "GORACE="+raceOptions)
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(log)
	var rest []string
	for s.url == "" && lines.Scan() {
		var line struct{ Msg, URL string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Errorf("the log line %q is not JSON: %v", lines.Text(), err)
		}
		s.url = line.URL
		rest = append(rest, lines.Text())
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lines.Scan() {
			rest = append(rest, lines.Text())
		}
	}()
	t.Cleanup(func() {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		<-done
		if err := cmd.Wait(); err != nil || !strings.Contains(rest[len(rest)-1], `"stopped"`) {
			t.Errorf("serve ended with %v after an interrupt; want exit code 0 and its last word\n%s", err, strings.Join(rest, "\n"))
		}
	})
	if s.url == "" {
		t.Fatal("the server did not start")
	}
	return s
}

func (s *instance) softHSM() string {
	return "SOFTHSM2_CONF=" + filepath.Join(s.dir, "token", "softhsm2.conf")
}

// The scripts call one server with its sample cards, so each uses cards of its
// own.
func TestClients(t *testing.T) {
	// The profiles come last in the demonstration's configuration.
	profiles := "  - {id: wrapped, card_key_type: tdes3, scheme: wrapped, wrapping: aes-key-wrap, master_key: wrapping}\n" +
		"  - {id: bench, family: gids, scheme: static, master_key: bench, wrong_responses_survived: 6}\n"
	server, another := newInstance(t, profiles), newInstance(t, "")
	scripts(t, "server", func(e *testscript.Env) error {
		e.Vars = append(e.Vars, server.softHSM())
		e.Setenv("LATCHKEY_SERVER", server.url)
		e.Setenv("DEMO", server.dir)
		e.Setenv("ADDRESS", strings.TrimPrefix(server.url, "https://"))
		e.Setenv("CLIENTS", filepath.Join(server.dir, "clients"))
		e.Setenv("OTHER", another.dir)
		return nil
	})
}

func TestDemo(t *testing.T) {
	scripts(t, "demo", func(*testscript.Env) error { return nil })
}
