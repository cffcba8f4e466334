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
// group can be closed.
func TestLateMemberThatHangs(t *testing.T) {
	fixture := softhsmtest.New(t)
	late := faultmodule.Start(t, anotherLibrary(t, fixture.Module))
	late.LoseToken()
	member := func(path string) hsm.Member {
		return hsm.Member{Path: path, Config: hsm.Config{
			Token: hsm.Selector{Label: fixture.Label}, PIN: hsm.NewPIN(fixture.PIN), RecoverEvery: 20 * time.Millisecond,
		}}
	}
	g, err := hsm.OpenGroup(t.Context(), []hsm.Member{member(fixture.Module), member(late.Path)})
	if err != nil {
		t.Fatal(err)
	}
	release := late.Hang("C_GetSlotList")
	defer release()
	for deadline := time.Now().Add(30 * time.Second); late.Hung("C_GetSlotList") == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the token that is away is not looked for")
		}
	}
	answered := make(chan error, 1)
	go func() { answered <- g.Check(t.Context()) }()
	select {
	case err := <-answered:
		if err != nil {
			t.Errorf("the token that is there: %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("the token that is there does not answer while another hangs")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := g.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the group is closed while a token hangs: %v, want DeadlineExceeded", err)
	}
}
