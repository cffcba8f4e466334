package hsm_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"latchkey/hsm"
	softhsmtest "latchkey/softhsm-test"
	"latchkey/softhsm-test/faultmodule"
)

// A member that is not there at the start joins when it comes, and one that
// refuses its PIN is not asked again.
func TestLateMember(t *testing.T) {
	fixture := softhsmtest.New(t)
	late, wrong := faultmodule.Start(t, fixture.Module), faultmodule.Start(t, fixture.Module)
	member := func(path, pin string) hsm.Member {
		return hsm.Member{Path: path, Config: hsm.Config{
			Token: hsm.Selector{Label: fixture.Label}, PIN: hsm.NewPIN(pin), RecoverEvery: 20 * time.Millisecond,
		}}
	}
	late.LoseToken()
	g, err := hsm.OpenGroup(t.Context(), []hsm.Member{member(late.Path, fixture.PIN), member(fixture.Module, fixture.PIN)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	if n := len(g.Tokens()); n != 1 {
		t.Fatalf("%d tokens, want the one that is there", n)
	}
	late.RestoreToken()
	for deadline := time.Now().Add(30 * time.Second); len(g.Tokens()) != 2; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the token came back and did not join")
		}
	}
	wrong.WrongPIN(true) // the library below is logged in already and would not look at one
	if _, err := hsm.OpenGroup(t.Context(), []hsm.Member{member(wrong.Path, fixture.PIN)}); !errors.Is(err, hsm.ErrPIN) {
		t.Fatalf("a group whose only token refuses the PIN: %v, want ErrPIN", err)
	}
	time.Sleep(100 * time.Millisecond)
	if n := wrong.Calls("C_Login"); n != 1 {
		t.Errorf("a refused PIN was tried %d times, want once", n)
	}
}

// While a member that joins late hangs in its module, the others answer, and the
// group can be closed. It is not tried for ever: each call that hangs is a thread.
func TestLateMemberThatHangs(t *testing.T) {
	fixture := softhsmtest.New(t)
	late := faultmodule.Start(t, anotherLibrary(t, fixture.Module))
	late.LoseToken()
	member := func(path string, timeout time.Duration) hsm.Member {
		return hsm.Member{Path: path, Config: hsm.Config{
			Token: hsm.Selector{Label: fixture.Label}, PIN: hsm.NewPIN(fixture.PIN), RecoverEvery: 20 * time.Millisecond, CallTimeout: timeout,
		}}
	}
	g, err := hsm.OpenGroup(t.Context(), []hsm.Member{member(fixture.Module, 0), member(late.Path, callTimeout)})
	if err != nil {
		t.Fatal(err)
	}
	release := late.Hang("C_GetSlotList")
	defer release()
	hung := func(n int) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); late.Hung("C_GetSlotList") < n; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d calls hang, want %d", late.Hung("C_GetSlotList"), n)
			}
		}
	}
	hung(1)
	answered := make(chan error, 1)
	go func() { answered <- g.Check(t.Context()) }()
	select {
	case err := <-answered:
		if err != nil {
			t.Errorf("the token that is there: %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the token that is there does not answer while another hangs")
	}
	hung(3)
	time.Sleep(2 * callTimeout)
	if n := late.Hung("C_GetSlotList"); n != 3 {
		t.Errorf("a module that hangs was tried %d times, want 3", n)
	}
	closed := make(chan error, 1)
	go func() { closed <- g.Close(context.Background()) }()
	release()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("the group cannot be closed")
	}
}

// A module that hangs before there is a token fails the start in time.
func TestOpenOnModuleThatHangs(t *testing.T) {
	fixture := softhsmtest.New(t)
	fault := faultmodule.Start(t, fixture.Module)
	module, err := hsm.Load(fault.Path)
	if err != nil {
		t.Fatal(err)
	}
	for _, function := range []string{"C_GetSlotList", "C_GetTokenInfo", "C_Login", "C_GetMechanismList"} {
		release := fault.Hang(function)
		var late *hsm.TimeoutError
		if _, err := module.Open(t.Context(), hsm.Config{
			Token: hsm.Selector{Label: fixture.Label}, PIN: hsm.NewPIN(fixture.PIN), CallTimeout: callTimeout,
		}); !errors.As(err, &late) {
			t.Errorf("with %s hanging: %v, want TimeoutError", function, err)
		}
		release()
	}
	if err := module.Close(); err != nil {
		t.Error(err)
	}
}
