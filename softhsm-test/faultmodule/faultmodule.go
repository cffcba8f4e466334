// Package faultmodule makes a PKCS#11 token fail on purpose. It drives a PKCS#11
// module in C (the folder module) that forwards every call to a real module,
// and on order delays, hangs or fails calls, drops sessions, loses the token,
// spoils handles or refuses mechanisms. It also counts: calls, sessions that are
// open, objects that are left over. README.md describes the orders.
//
// [Start] gives a module of its own to each test. Whoever loads its Path, this
// process or a child, is under the test's orders from its first call on:
//
//	fixture := softhsmtest.New(t)
//	fault := faultmodule.Start(t, fixture.Module)
//	fixture.Module = fault.Path
//	token := fixture.Open(t)
//	fault.Fail("C_DeriveKey", pkcs11.CKR_DEVICE_ERROR, 1)
package faultmodule

import (
	"bufio"
	"embed"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/softhsm-test/internal/cmodule"
)

//go:generate go run generate.go module/functions.h

//go:embed module
var sources embed.FS

// compiled is the module's bytes, made once per process.
var compiled = sync.OnceValues(func() ([]byte, error) { return cmodule.Compile(sources, "module") })

// Build compiles the module, once per process, and gives the path of a copy
// that lives as long as the test. Without a driver beside it, it forwards to
// the module that the environment variable FAULTMODULE_REAL names.
func Build(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "faultmodule.so")
	if err := write(path); err != nil {
		tb.Fatal(err)
	}
	return path
}

func write(path string) error {
	module, err := compiled()
	if err != nil {
		return err
	}
	return os.WriteFile(path, module, 0o600)
}

// Module is a fault module under the orders of one test. Its methods fail the
// test where an order is refused, so they are for the test's own goroutine.
//
// A rule is in force in every process that has the module loaded when the
// method returns, and in each that loads it later before that one's first call.
// Counts are sums over those that have it loaded now; to ask for one when there
// are none fails the test.
//
// Functions are named as in PKCS#11, "C_Encrypt". Mind that miekg/pkcs11 calls
// those that fill a buffer twice, first to ask for its length.
type Module struct {
	// Path is the library's, to be loaded in place of the real one.
	Path string

	tb        testing.TB // none for a program that is no test
	close     func() error
	mu        sync.Mutex
	orders    []string // the rules in force, for processes to come
	processes []*process
}

// process is a process that has the module loaded.
type process struct {
	net.Conn
	answers *bufio.Reader
}

// patience bounds the wait for an answer. One that has to wait is held up by a
// call that does not come back from the real module.
const patience = 30 * time.Second

// Start makes a fault module over the real one at the given path. At the end of
// the test all faults are over and calls that hang come back.
func Start(tb testing.TB, real string) *Module {
	tb.Helper()
	module, err := Launch(real, tb.Errorf)
	if err != nil {
		tb.Fatal(err)
	}
	module.tb = tb
	tb.Cleanup(func() {
		if err := module.Close(); err != nil {
			tb.Error(err)
		}
	})
	return module
}

// Launch is Start for a program that is no test: it has the rules from the beginning,
// orders as README.md has them, and lasts until it is closed. Of a process that
// cannot be given its rules trouble is told.
func Launch(real string, trouble func(format string, args ...any), orders ...string) (_ *Module, err error) {
	// A socket's path is short, at most 108 bytes: a test's own folder's may be longer.
	dir, err := os.MkdirTemp("", "fault")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	m := &Module{Path: filepath.Join(dir, "faultmodule.so"), orders: orders}
	if err := write(m.Path); err != nil {
		return nil, err
	}
	if real, err = filepath.Abs(real); err != nil {
		return nil, err
	}
	if err := os.Symlink(real, filepath.Join(dir, "real")); err != nil {
		return nil, err
	}
	listener, err := net.Listen("unix", filepath.Join(dir, "socket")) //nolint:noctx // it is there at once
	if err != nil {
		return nil, err
	}
	var accepting sync.WaitGroup
	accepting.Go(func() { m.accept(listener, trouble) })
	m.close = func() error {
		err := listener.Close()
		accepting.Wait()
		for _, p := range m.processes {
			_ = p.Close() // the process may be gone already
		}
		return errors.Join(err, os.RemoveAll(dir))
	}
	return m, nil
}

// Close ends all faults, and takes the module's files away.
func (m *Module) Close() error { return m.close() }

// accept takes processes in until the listener is closed.
func (m *Module) accept(listener net.Listener, trouble func(format string, args ...any)) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		if err := m.welcome(&process{conn, bufio.NewReader(conn)}); err != nil {
			trouble("a process that loads the fault module: %v", err)
		}
	}
}

// welcome puts the rules in force into a process, and lets its first call go on.
func (m *Module) welcome(p *process) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, order := range slices.Concat(m.orders, []string{"start"}) {
		if _, err := p.order(order); err != nil {
			return errors.Join(err, p.Close())
		}
	}
	m.processes = append(m.processes, p)
	return nil
}

// refusedError says that the module understood and did not obey.
type refusedError struct{ order, answer string }

func (e *refusedError) Error() string { return fmt.Sprintf("%q: %s", e.order, e.answer) }

// order sends one order and waits for its answer, a number or 0.
func (p *process) order(order string) (int, error) {
	if err := p.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	if _, err := fmt.Fprintln(p, order); err != nil {
		return 0, err
	}
	answer, err := p.answers.ReadString('\n')
	if err != nil {
		return 0, err
	}
	number, ok := strings.CutPrefix(strings.TrimSpace(answer), "ok")
	switch {
	case !ok:
		return 0, &refusedError{order, strings.TrimSpace(answer)}
	case number == "":
		return 0, nil
	}
	return strconv.Atoi(strings.TrimSpace(number))
}

// all sends an order to every process and adds up the answers. A process that
// is gone is forgotten.
func (m *Module) all(order string) (sum, processes int, err error) {
	var stay []*process
	for _, p := range m.processes {
		n, e := p.order(order)
		var refused *refusedError
		var timeout net.Error
		switch {
		case errors.As(e, &refused), errors.As(e, &timeout) && timeout.Timeout():
			err = errors.Join(err, fmt.Errorf("order %s: %w", order, e))
		case e != nil:
			_ = p.Close()
			continue
		}
		stay = append(stay, p)
		sum += n
	}
	m.processes = stay
	return sum, len(stay), err
}

// rule puts a rule in force, now and for processes to come.
func (m *Module) rule(format string, args ...any) {
	m.tb.Helper()
	order := fmt.Sprintf(format, args...)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.orders = append(m.orders, order)
	if _, _, err := m.all(order); err != nil {
		m.tb.Fatal(err)
	}
}

// once carries out an order that leaves no rule behind, and gives its answer.
func (m *Module) once(format string, args ...any) int {
	m.tb.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	order := fmt.Sprintf(format, args...)
	answer, processes, err := m.all(order)
	if err != nil {
		m.tb.Fatal(err)
	}
	if processes == 0 {
		m.tb.Fatalf("order %s: no process has the fault module loaded", order)
	}
	return answer
}

// Delay makes each call of the function wait before it goes to the real module;
// 0 ends that. It is exact to a millisecond.
func (m *Module) Delay(fn string, d time.Duration) {
	m.tb.Helper()
	m.rule("delay %s %d", fn, d.Milliseconds())
}

// Hang makes each call of the function hang until release is called. The calls
// then go on to the real module.
func (m *Module) Hang(fn string) (release func()) {
	m.tb.Helper()
	m.rule("hang %s", fn)
	return func() {
		m.tb.Helper()
		m.rule("release %s", fn)
	}
}

// Hung tells how many calls of the function hang now.
func (m *Module) Hung(fn string) int {
	m.tb.Helper()
	return m.once("hung %s", fn)
}

// Fail makes the next n calls of the function return ckr, or with 0 all calls
// until it is cleared. They do not reach the real module.
//
// A function has one rule for failing: Fail, FailEvery and FailRandomly each
// replace the one before.
func (m *Module) Fail(fn string, ckr uint, n int) {
	m.tb.Helper()
	m.rule("fail %s %#x %d", fn, ckr, n)
}

// FailEvery makes every kth call of the function return ckr.
func (m *Module) FailEvery(fn string, ckr uint, k int) {
	m.tb.Helper()
	m.rule("fail-every %s %#x %d", fn, ckr, k)
}

// FailRandomly makes calls of the function return ckr with a probability of
// perMille in a thousand. The random numbers are the same in each run.
func (m *Module) FailRandomly(fn string, ckr uint, perMille int) {
	m.tb.Helper()
	m.rule("fail-randomly %s %#x %d", fn, ckr, perMille)
}

// WrongPIN makes each C_Login return CKR_PIN_INCORRECT. The real token is not
// asked, so it loses no tries. Calls("C_Login") counts those that came.
func (m *Module) WrongPIN(wrong bool) {
	m.tb.Helper()
	if wrong {
		m.rule("fail C_Login 0xA0 0")
	} else {
		m.rule("clear C_Login")
	}
}

// HideMechanism takes a mechanism away: it is not listed, and calls that name
// it return CKR_MECHANISM_INVALID.
func (m *Module) HideMechanism(ckm uint) {
	m.tb.Helper()
	m.rule("hide %#x", ckm)
}

// RefuseMechanism makes calls that name a mechanism return
// CKR_MECHANISM_INVALID, although it is listed.
func (m *Module) RefuseMechanism(ckm uint) {
	m.tb.Helper()
	m.rule("refuse %#x", ckm)
}

// DropSessions closes every session under its owner, and with the last one the
// login is gone.
func (m *Module) DropSessions() {
	m.tb.Helper()
	m.once("drop-sessions")
}

// LoseToken takes the token away, with its sessions. No slot has a token any
// more; calls with a session return CKR_DEVICE_REMOVED and those with a slot
// CKR_TOKEN_NOT_PRESENT, until RestoreToken.
func (m *Module) LoseToken() {
	m.tb.Helper()
	m.rule("lose")
}

// LoseTokenUntilReinit is LoseToken, but what brings the token back is
// C_Finalize followed by C_Initialize.
func (m *Module) LoseTokenUntilReinit() {
	m.tb.Helper()
	m.rule("lose-until-reinit")
}

// RestoreToken brings a lost token back. The sessions stay closed.
func (m *Module) RestoreToken() {
	m.tb.Helper()
	m.rule("restore")
}

// StaleHandles makes each object handle given out so far invalid: calls return
// CKR_OBJECT_HANDLE_INVALID, or CKR_KEY_HANDLE_INVALID for a key that is to be
// used. The objects are there and can be found again.
func (m *Module) StaleHandles() {
	m.tb.Helper()
	m.once("stale-handles")
}

// AliasHandles makes each object handle that searches gave so far mean another
// of the objects found, as some modules do after the token was away; all other
// handles are stale. It needs two objects that were found.
func (m *Module) AliasHandles() {
	m.tb.Helper()
	m.once("alias-handles")
}

// Clear ends all rules: nothing waits or fails, the token and all mechanisms are
// there. Counts go on, and handles that were spoiled stay so.
func (m *Module) Clear() {
	m.tb.Helper()
	m.mu.Lock()
	m.orders = nil
	m.mu.Unlock()
	m.rule("clear-all")
}

// ClearFunction ends the rules for one function.
func (m *Module) ClearFunction(fn string) {
	m.tb.Helper()
	m.rule("clear %s", fn)
}

// Calls tells how often the function was called since ResetCalls, failed calls
// and those that hang included.
func (m *Module) Calls(fn string) int {
	m.tb.Helper()
	return m.once("calls %s", fn)
}

// ResetCalls sets the counts of calls to 0.
func (m *Module) ResetCalls() {
	m.tb.Helper()
	m.once("reset-calls")
}

// LiveObjects tells how many objects calls have made (created, copied,
// generated, unwrapped or derived) that are still there. Session objects go
// with their session.
func (m *Module) LiveObjects() int {
	m.tb.Helper()
	return m.once("objects")
}

// OpenSessions tells how many sessions are open.
func (m *Module) OpenSessions() int {
	m.tb.Helper()
	return m.once("sessions")
}

// Overlaps tells how often C_Finalize was called while other calls were inside
// the real module. PKCS#11 leaves undefined what then happens; here C_Finalize
// waits for them.
func (m *Module) Overlaps() int {
	m.tb.Helper()
	return m.once("overlaps")
}
