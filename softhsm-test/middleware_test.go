package softhsmtest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"latchkey/softhsm-test/virtualcard"
)

// middleware is the card middleware of Debian: pcscd with the virtual readers of
// vpcd, and OpenSC's tools. They are a world of their own: vpcd listens on every
// interface, so pcscd has a network of its own, and its socket is where nobody else's
// pcscd is disturbed.
type middleware struct {
	place *namespace
	dir   string // holds pcscd's socket
	log   string
	stop  func()
}

// The reader of vpcd that the card goes into, as pcscd calls it, and where vpcd
// listens for that card.
const (
	virtualReader = "Virtual PCD 00 00"
	vpcdAddress   = "127.0.0.1:35963"
)

// newMiddleware starts pcscd. It takes root, for the namespaces.
func newMiddleware(t *testing.T) *middleware {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("pcscd is run in namespaces of its own, which takes root: run this test as root")
	}
	paths := map[string]string{}
	for _, program := range []string{"pcscd", "vpcd-config", "opensc-tool", "pkcs15-tool", "unshare"} {
		path, err := exec.LookPath(program)
		if err != nil {
			t.Fatalf("%s is missing; run: make deps", program)
		}
		paths[program] = path
	}
	m := &middleware{place: newNamespace(t, "pcscd"), dir: t.TempDir()}
	m.log = filepath.Join(m.dir, "pcscd.log")
	// Readers of vpcd alone, whatever else this machine has.
	readers := filepath.Join(m.dir, "readers")
	vpcd, err := os.ReadFile("/etc/reader.conf.d/vpcd")
	if err == nil {
		err = errors.Join(os.Mkdir(readers, 0o755), os.WriteFile(filepath.Join(readers, "vpcd"), vpcd, 0o644))
	}
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(m.log)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	// Each program becomes the next, so the process stays the same and is pcscd in the end.
	pcscd := exec.Command(paths["unshare"], "--mount", "sh", "-ec",
		`mkdir -p /run/pcscd; mount --bind "$1" /run/pcscd; exec "$2" --foreground --config "$3"`, "sh", m.dir, paths["pcscd"], readers)
	pcscd.Stdout, pcscd.Stderr = log, log
	if err := m.place.inside(pcscd.Start); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		_ = pcscd.Wait() // how it ended does not matter, and its log is shown
		close(exited)
	}()
	m.stop = func() {
		_ = pcscd.Process.Signal(syscall.SIGTERM) // it may have ended already
		<-exited
	}
	t.Cleanup(func() {
		m.stop()
		if t.Failed() {
			text, err := os.ReadFile(m.log)
			t.Logf("pcscd's log (%v):\n%s", err, text)
		}
	})
	m.await(t, "pcscd", func() bool {
		select {
		case <-exited:
			text, _ := os.ReadFile(m.log)
			t.Fatalf("pcscd does not start:\n%s", text)
		default:
		}
		return strings.Contains(m.output(t, holder(t), "status"), virtualReader)
	})
	return m
}

// await waits until something holds.
func (m *middleware) await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited for %s in vain", what)
		}
	}
}

// insert puts a card into the reader, and gives what takes it out.
func (m *middleware) insert(t *testing.T, c *virtualcard.Card) (takeOut func()) {
	t.Helper()
	m.await(t, "the card to be seen in its reader", func() bool {
		conn, err := m.place.dial(t.Context(), "tcp", vpcdAddress)
		if err != nil {
			return false
		}
		served := make(chan error, 1)
		go func() { served <- c.ServeVPCD(prompt{conn.(*net.TCPConn)}) }()
		takeOut = sync.OnceFunc(func() {
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
			if err := <-served; err != nil && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
		})
		for range 20 {
			if m.holdsCard(t) {
				return true
			}
			time.Sleep(100 * time.Millisecond)
		}
		// pcscd looks every 0.4 s. A card that took another's place in between, quicker
		// than any hand, is not seen by it: the reader has to be empty for longer.
		takeOut()
		time.Sleep(time.Second)
		return false
	})
	t.Cleanup(takeOut)
	return takeOut
}

// holdsCard tells whether unblock-card finds a card in a reader.
func (m *middleware) holdsCard(t *testing.T) bool {
	t.Helper()
	return strings.Contains(m.output(t, holder(t), "status"), "GIDS")
}

// prompt acknowledges at once what it reads. vpcd sends a message's length and its rest
// apart, and the rest only when the length was acknowledged: 40 ms later by default, for
// each of the hundred commands that OpenSC has for a card that it does not know yet.
type prompt struct{ *net.TCPConn }

func (p prompt) Read(b []byte) (int, error) {
	raw, err := p.SyscallConn()
	if err != nil {
		return 0, err
	}
	err = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) })
	if err != nil {
		return 0, err
	}
	return p.TCPConn.Read(b)
}

// holder builds unblock-card and gives its path.
func holder(t *testing.T) string {
	t.Helper()
	path, err := holderBinary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// command is a client of pcscd, which is ended after a minute: some wait for ever.
func (m *middleware) command(t *testing.T, program string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "PCSCLITE_CSOCK_NAME="+filepath.Join(m.dir, "pcscd.comm"), "LC_ALL=C.UTF-8")
	cmd.WaitDelay = time.Second
	return cmd
}

// output is all that a client prints. How it ends does not matter: OpenSC's exit
// codes are not to be relied upon.
func (m *middleware) output(t *testing.T, program string, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	cmd := m.command(t, program, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	_ = cmd.Run()
	return out.String()
}

// opensc runs one of OpenSC's tools and has it print the text, or not.
func (m *middleware) opensc(t *testing.T, text string, printed bool, tool string, args ...string) {
	t.Helper()
	if out := m.output(t, tool, args...); strings.Contains(out, text) != printed {
		t.Fatalf("%s %s: that it prints %q is %v, want %v:\n%s", tool, strings.Join(args, " "), text, !printed, printed, out)
	}
}

// verifies tells whether OpenSC finds the PIN right.
func (m *middleware) verifies(t *testing.T, pin string) bool {
	t.Helper()
	cmd := m.command(t, "pkcs15-tool", "--verify-pin", "--pin", pin)
	out, err := cmd.CombinedOutput()
	wrong := strings.Contains(string(out), "PIN code or key incorrect") || strings.Contains(string(out), "Authentication method blocked")
	if (err == nil) == wrong {
		t.Fatalf("pkcs15-tool ends with %v and says:\n%s", err, out)
	}
	return err == nil
}

// blockByOpenSC enters wrong PINs until OpenSC says that none is left.
func (m *middleware) blockByOpenSC(t *testing.T) {
	t.Helper()
	m.opensc(t, "GIDS Smart Card", true, "opensc-tool", "--name")
	m.opensc(t, "Tries left     : 3", true, "pkcs15-tool", "--list-pins")
	for range virtualcard.DefaultPINTries {
		if m.verifies(t, "0000") {
			t.Fatal("OpenSC takes a wrong PIN for right")
		}
	}
	m.opensc(t, "Tries left     : 0", true, "pkcs15-tool", "--list-pins")
	if m.verifies(t, "1234") {
		t.Fatal("a blocked card takes its PIN")
	}
}

// unblocked has OpenSC look at what the holder sees from now on.
func (m *middleware) unblocked(t *testing.T, pin string) {
	t.Helper()
	m.opensc(t, "Tries left     : 3", true, "pkcs15-tool", "--list-pins")
	if !m.verifies(t, pin) {
		t.Error("OpenSC does not find the new PIN right")
	}
	if m.verifies(t, "1234") {
		t.Error("OpenSC finds the old PIN right")
	}
	m.opensc(t, "Tries left     : 2", true, "pkcs15-tool", "--list-pins")
}

// readUntil reads from a terminal until it shows the text, and gives what it showed.
func readUntil(t *testing.T, from io.Reader, text string) string {
	t.Helper()
	var shown strings.Builder
	for b := make([]byte, 1); !strings.Contains(shown.String(), text); {
		if _, err := from.Read(b); err != nil {
			t.Fatalf("%q is not shown (%v):\n%s", text, err, shown.String())
		}
		shown.WriteByte(b[0])
	}
	return shown.String()
}
