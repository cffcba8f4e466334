package hsm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/pkcs11"

	"latchkey/card"
	"latchkey/hsm"
	softhsmtest "latchkey/softhsm-test"
	"latchkey/softhsm-test/faultmodule"
)

// Times are short, so that a test of a deadline does not take one's patience.
const (
	callTimeout  = time.Second
	recoverEvery = 100 * time.Millisecond
)

// faulty is a token behind a module that fails on purpose, with known answers.
type faulty struct {
	fault *faultmodule.Module
	real  string
	token *hsm.Token
	keys  []card.AdminKey
	want  []string
}

var challenge = card.Challenge(bytes.Repeat([]byte{0x5A}, 16))

func openFaulty(t *testing.T, changes ...func(*hsm.Config)) *faulty {
	t.Helper()
	return openFaultyOn(t, softhsmtest.New(t), changes...)
}

func openFaultyOn(t *testing.T, fixture *softhsmtest.Token, changes ...func(*hsm.Config)) *faulty {
	t.Helper()
	f := &faulty{fault: faultmodule.Start(t, fixture.Module), real: fixture.Module}
	fixture.Module = f.fault.Path
	changes = append([]func(*hsm.Config){func(c *hsm.Config) {
		c.Sessions, c.CallTimeout, c.RecoverEvery, c.KeepAlive = 4, callTimeout, recoverEvery, time.Hour
	}}, changes...)
	f.token = fixture.Open(t, changes...)
	// Two master keys, so that a handle that means the other one would show.
	for _, label := range []string{"north", "south"} {
		if _, err := f.token.Generate(t.Context(), master(label, card.AES256, hsm.ForDeriving)); err != nil {
			t.Fatal(err)
		}
		for n := range 8 {
			key := card.AdminKey{Master: label, Version: 1, Scheme: card.LatchkeyV1, Type: card.AES256, Data: fmt.Appendf(nil, "SN-%04d", n)}
			response, err := f.token.Respond(t.Context(), key, card.AESECB, challenge)
			if err != nil {
				t.Fatal(err)
			}
			f.keys, f.want = append(f.keys, key), append(f.want, response.Hex())
		}
	}
	return f
}

// answer answers for the n-th card. A response that differs from the known one
// is a failure whatever else is going on.
func (f *faulty) answer(t *testing.T, n int) error {
	n %= len(f.keys)
	response, err := f.token.Respond(t.Context(), f.keys[n], card.AESECB, challenge)
	switch {
	case err == nil && response.Hex() != f.want[n]:
		t.Errorf("WRONG RESPONSE for %s of %s", f.keys[n].Data, f.keys[n].Master)
	case err != nil && !typed(err):
		t.Errorf("an error that nobody can act on: %v", err)
	}
	return err
}

// typed tells whether a caller can see from the error what kind it is.
func typed(err error) bool {
	var outage interface{ Unavailable() bool }
	var call *hsm.Error
	return errors.As(err, &outage) || errors.As(err, &call) || errors.Is(err, hsm.ErrPIN) || errors.Is(err, hsm.ErrKeyUnknown) || errors.Is(err, hsm.ErrToken)
}

// load answers from several goroutines until stopped.
type load struct {
	good, bad atomic.Int64
	stop      atomic.Bool
	wait      sync.WaitGroup
}

func (f *faulty) load(t *testing.T) *load {
	l := &load{}
	for worker := range 8 {
		l.wait.Go(func() {
			for n := worker; !l.stop.Load() && !t.Failed(); n++ {
				if f.answer(t, n) == nil {
					l.good.Add(1)
				} else {
					l.bad.Add(1)
					time.Sleep(time.Millisecond) // the circuit is open: do not spin
				}
			}
		})
	}
	return l
}

// more waits until the load has had that many more good answers, which takes as
// long as it takes, but not for ever.
func (l *load) more(t *testing.T, n int64) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for start := l.good.Load(); l.good.Load() < start+n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no answers for 30 seconds (%d good, %d refused so far)", l.good.Load(), l.bad.Load())
		}
	}
}

func (l *load) end() {
	l.stop.Store(true)
	l.wait.Wait()
}

// tidy makes sure that the token holds the two master keys and nothing else, and
// no more sessions are open than the pool and the anchor need.
func (f *faulty) tidy(t *testing.T) {
	t.Helper()
	keys, err := f.token.Keys(t.Context())
	if err != nil || len(keys) != 2 {
		t.Errorf("the token holds %d keys, %v; want the 2 master keys", len(keys), err)
	}
	if n := f.fault.LiveObjects(); n != 2 {
		t.Errorf("%d objects are left that calls made; want the 2 master keys", n)
	}
	if n := f.fault.OpenSessions(); n > 4+1 {
		t.Errorf("%d sessions are open; want at most 4 and the anchor", n)
	}
	if n := f.fault.Overlaps(); n != 0 {
		t.Errorf("C_Finalize was called %d times under other calls", n)
	}
}

// Each way of dying that peers of this product are known for, under load: never
// a wrong response, errors that say what they are, and answers again without a
// restart. How long that takes is printed, not asserted: machines are noisy.
func TestRecovery(t *testing.T) {
	for _, test := range []struct {
		name  string
		fails func(*faulty)
		mend  func(*faulty) // nil where it mends by itself
	}{
		{"sessions die in the pool", func(f *faulty) { f.fault.DropSessions() }, nil},
		{"key handles go stale", func(f *faulty) { f.fault.StaleHandles() }, nil},
		{"token goes and comes back", func(f *faulty) { f.fault.LoseToken() }, func(f *faulty) { f.fault.RestoreToken() }},
		{"only C_Finalize and C_Initialize help", func(f *faulty) { f.fault.LoseTokenUntilReinit() }, nil},
		{"twenty device errors", func(f *faulty) { f.fault.Fail("C_DeriveKey", pkcs11.CKR_DEVICE_ERROR, 20) }, nil},
		{"every third C_EncryptInit fails", func(f *faulty) { f.fault.FailEvery("C_EncryptInit", pkcs11.CKR_GENERAL_ERROR, 3) },
			func(f *faulty) { f.fault.Clear() }},
		{"the login is lost", func(f *faulty) { f.fault.Fail("C_DeriveKey", pkcs11.CKR_USER_NOT_LOGGED_IN, 10) }, nil},
		{"an operation stays active", func(f *faulty) { f.fault.Fail("C_EncryptInit", pkcs11.CKR_OPERATION_ACTIVE, 10) }, nil},
		{"the library forgets that it was initialised", func(f *faulty) { f.fault.Fail("C_DeriveKey", pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED, 40) }, nil},
		{"keys cannot be destroyed", func(f *faulty) { f.fault.FailRandomly("C_DestroyObject", pkcs11.CKR_FUNCTION_FAILED, 100) },
			func(f *faulty) { f.fault.Clear() }},
		{"everything fails now and then", func(f *faulty) {
			for _, fn := range []string{"C_OpenSession", "C_DeriveKey", "C_EncryptInit", "C_Encrypt", "C_DestroyObject", "C_CloseSession", "C_GetSessionInfo"} {
				f.fault.FailRandomly(fn, pkcs11.CKR_DEVICE_ERROR, 20)
			}
		}, func(f *faulty) { f.fault.Clear() }},
		{"the login is lost and the next one hangs", func(f *faulty) { f.fault.Hang("C_Login"); f.fault.DropSessions() }, func(f *faulty) { f.fault.Clear() }},
		{"sessions cannot be opened", func(f *faulty) { f.fault.Fail("C_OpenSession", pkcs11.CKR_SESSION_COUNT, 30); f.fault.DropSessions() }, nil},
		{"calls are slow", func(f *faulty) { f.fault.Delay("C_DeriveKey", 2*callTimeout) }, func(f *faulty) { f.fault.Clear() }},
		{"calls hang", func(f *faulty) { f.fault.Hang("C_DeriveKey") }, func(f *faulty) { f.fault.Clear() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := openFaulty(t)
			l := f.load(t)
			defer l.end()
			l.more(t, 50)
			test.fails(f)
			began := time.Now()
			if test.mend != nil {
				time.Sleep(callTimeout + 100*time.Millisecond) // long enough for calls to be abandoned
				test.mend(f)
				began = time.Now()
			}
			l.more(t, 1)
			first := time.Since(began)
			l.more(t, 200)
			t.Logf("first answer after %s; %d good, %d refused", first.Round(time.Millisecond), l.good.Load(), l.bad.Load())
			l.end()
			f.settle(t)
			f.tidy(t)
		})
	}
}

// After the sessions died, the handles from before may mean other keys. No such
// handle may be used.
func TestHandlesThatMeanOtherKeys(t *testing.T) {
	f := openFaulty(t)
	f.fault.DropSessions()
	f.fault.AliasHandles()
	l := f.load(t)
	l.more(t, 200)
	l.end()
	f.tidy(t)
}

// settle waits until no call hangs and the circuit is closed.
func (f *faulty) settle(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for f.token.Hanging() != 0 || f.token.Check(t.Context()) != nil {
		if time.Now().After(deadline) {
			t.Fatalf("the token does not settle: %d calls hang, %v", f.token.Hanging(), f.token.Check(t.Context()))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// A hung call must not take its caller with it, nor the others.
func TestHungCalls(t *testing.T) {
	f := openFaulty(t)
	release := f.fault.Hang("C_DeriveKey")
	var timeout *hsm.TimeoutError
	if err := f.answer(t, 0); !errors.As(err, &timeout) {
		t.Fatalf("a call that hangs: %v, want TimeoutError", err)
	}
	if n := f.token.Hanging(); n != 1 {
		t.Fatalf("%d calls hang, want 1", n)
	}
	if err := f.token.Check(t.Context()); err != nil {
		t.Errorf("one hung call of four: the token counts as down: %v", err)
	}
	var wait sync.WaitGroup
	for range 6 {
		wait.Go(func() { _ = f.answer(t, 0) })
	}
	wait.Wait()
	if err := f.token.Check(t.Context()); err == nil {
		t.Errorf("%d calls hang and the token counts as ready", f.token.Hanging())
	}
	began := time.Now()
	if err := f.answer(t, 0); err == nil || errors.As(err, &timeout) {
		t.Errorf("with the circuit open: %v after %s, want a refusal at once", err, time.Since(began))
	}
	release()
	f.settle(t)
	if err := f.answer(t, 1); err != nil {
		t.Errorf("after the calls came back: %v", err)
	}
	f.tidy(t)
}

// A caller who gives up is let go, and its session is not given to another while
// its call is under way.
func TestCallerGivesUp(t *testing.T) {
	f := openFaulty(t, func(c *hsm.Config) { c.Sessions, c.Spare = 1, 1 })
	f.fault.Hang("C_DeriveKey")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := f.token.Respond(ctx, f.keys[0], card.AESECB, challenge); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%v, want DeadlineExceeded", err)
	}
	f.fault.ClearFunction("C_DeriveKey")
	f.settle(t)
	if err := f.answer(t, 1); err != nil {
		t.Error(err)
	}
	f.tidy(t)
}

// A wrong PIN is tried once, and not again until told: tokens lock.
func TestRefusedPINIsTriedOnce(t *testing.T) {
	f := openFaulty(t)
	f.fault.WrongPIN(true)
	f.fault.ResetCalls()
	f.fault.DropSessions()
	l := f.load(t)
	deadline := time.Now().Add(3 * recoverEvery)
	for time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	l.end()
	if n := f.fault.Calls("C_Login"); n != 1 {
		t.Errorf("the PIN was tried %d times, want once", n)
	}
	if err := f.answer(t, 0); !errors.Is(err, hsm.ErrPIN) {
		t.Errorf("%v, want ErrPIN", err)
	}
	if l.good.Load() != 0 {
		t.Errorf("%d answers without a login", l.good.Load())
	}
	f.fault.WrongPIN(false)
	if err := f.answer(t, 0); !errors.Is(err, hsm.ErrPIN) {
		t.Errorf("%v, want ErrPIN until told to try again", err)
	}
	if err := f.token.TryPINAgain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.answer(t, 0); err != nil {
		t.Errorf("after the PIN was tried again: %v", err)
	}
}

// A wrong PIN at the start costs one try as well.
func TestWrongPINAtOpen(t *testing.T) {
	fixture := softhsmtest.New(t)
	fault := faultmodule.Start(t, fixture.Module)
	module, err := hsm.Load(fault.Path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = module.Close() })
	_, err = module.Open(t.Context(), hsm.Config{Token: hsm.Selector{Label: fixture.Label}, PIN: hsm.NewPIN("000000")})
	if !errors.Is(err, hsm.ErrPIN) {
		t.Errorf("%v, want ErrPIN", err)
	}
	if n := fault.Calls("C_Login"); n != 1 {
		t.Errorf("the PIN was tried %d times, want once", n)
	}
}

// An HSM in FIPS mode that refuses TDES says so and is not taken for broken.
func TestRefusedMechanism(t *testing.T) {
	f := openFaulty(t)
	f.fault.RefuseMechanism(pkcs11.CKM_AES_CBC_ENCRYPT_DATA)
	for range 40 {
		err := f.answer(t, 0)
		var call *hsm.Error
		if !errors.As(err, &call) || call.Code != pkcs11.CKR_MECHANISM_INVALID || call.Unavailable() {
			t.Fatalf("%v, want CKR_MECHANISM_INVALID for good", err)
		}
	}
	if err := f.token.Check(t.Context()); err != nil {
		t.Errorf("a refused mechanism took the token down: %v", err)
	}
	f.fault.Clear()
	if err := f.answer(t, 0); err != nil {
		t.Error(err)
	}
}

// Idle sessions are touched, so that a module that ends them does not.
func TestKeepAlive(t *testing.T) {
	f := openFaulty(t, func(c *hsm.Config) { c.KeepAlive = 20 * time.Millisecond })
	f.fault.ResetCalls()
	deadline := time.Now().Add(30 * time.Second)
	for f.fault.Calls("C_GenerateRandom") < 10 {
		if time.Now().After(deadline) {
			t.Fatal("idle sessions are not touched")
		}
		time.Sleep(5 * time.Millisecond)
	}
	// And one that lost its token finds it again without being asked.
	f.fault.LoseToken()
	for f.token.Check(t.Context()) == nil {
		time.Sleep(time.Millisecond)
	}
	f.fault.RestoreToken()
	f.settle(t)
}

// anotherLibrary is a copy of a library: to the loader that is another one, with
// its own state, as another vendor's would be.
func anotherLibrary(t *testing.T, path string) string {
	t.Helper()
	library, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "libother.so")
	if err := os.WriteFile(path, library, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// When one token of a group is gone, the other answers.
func TestGroupFailsOver(t *testing.T) {
	fixture := softhsmtest.New(t)
	// A second token. It has to be made first: SoftHSM sees none that came after
	// C_Initialize.
	const label = "spare"
	out, err := exec.Command("softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", "12345678", "--pin", "87654321").CombinedOutput()
	if err != nil {
		t.Fatalf("softhsm2-util: %v\n%s", err, out)
	}
	f := openFaultyOn(t, fixture)
	module, err := hsm.Load(anotherLibrary(t, f.real))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = module.Close() })
	other, err := module.Open(t.Context(), hsm.Config{Token: hsm.Selector{Label: label}, PIN: hsm.NewPIN("87654321")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close(context.Background()) })
	g := hsm.NewGroup(f.token, other)
	respond := func() error {
		_, err := g.Respond(t.Context(), f.keys[0], card.AESECB, challenge)
		return err
	}
	if err := respond(); err != nil {
		t.Fatal(err)
	}
	f.fault.LoseToken()
	if err := respond(); !errors.Is(err, hsm.ErrKeyUnknown) {
		t.Errorf("the other token lacks the key: %v, want ErrKeyUnknown among the reasons", err)
	}
	if _, err := other.Generate(t.Context(), master("north", card.AES256, hsm.ForDeriving)); err != nil {
		t.Fatal(err)
	}
	if err := respond(); err != nil {
		t.Errorf("with the key in the other token: %v", err)
	}
	if err := g.Check(t.Context()); err != nil {
		t.Errorf("one of two tokens is there, and the group counts as down: %v", err)
	}
	f.fault.RestoreToken()
	f.settle(t)
}

// Ten thousand answers while calls fail at random and sessions die: afterwards
// the token holds what it held before.
func TestNothingIsLeftOver(t *testing.T) {
	f := openFaulty(t)
	for _, fn := range []string{"C_DeriveKey", "C_EncryptInit", "C_Encrypt", "C_DestroyObject", "C_OpenSession", "C_CloseSession"} {
		f.fault.FailRandomly(fn, pkcs11.CKR_FUNCTION_FAILED, 5)
	}
	l := f.load(t)
	for range 20 {
		l.more(t, 500)
		f.fault.DropSessions()
	}
	l.end()
	f.fault.Clear()
	f.settle(t)
	f.tidy(t)
	t.Logf("%d good, %d refused", l.good.Load(), l.bad.Load())
}
