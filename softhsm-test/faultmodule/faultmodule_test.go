package faultmodule_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/pkcs11"

	"latchkey/card"
	"latchkey/hsm"
	softhsmtest "latchkey/softhsm-test"
	"latchkey/softhsm-test/faultmodule"
)

// open loads and initialises a module until the test ends.
func open(t *testing.T, path string) *pkcs11.Ctx {
	t.Helper()
	ctx := pkcs11.New(path)
	if ctx == nil {
		t.Fatalf("%s does not load", path)
	}
	t.Cleanup(ctx.Destroy)
	if err := ctx.Initialize(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ctx.Finalize(); err != nil && !errors.Is(err, pkcs11.Error(pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED)) {
			t.Error(err)
		}
	})
	return ctx
}

// bench is a token behind a fault module, with its user logged in.
type bench struct {
	*pkcs11.Ctx
	fault   *faultmodule.Module
	fixture *softhsmtest.Token
	slot    uint
	session pkcs11.SessionHandle
}

func newBench(t *testing.T) *bench {
	t.Helper()
	fixture := softhsmtest.New(t)
	fault := faultmodule.Start(t, fixture.Module)
	b := &bench{Ctx: open(t, fault.Path), fault: fault, fixture: fixture}
	b.logIn(t)
	return b
}

// slotOf finds the fixture's token.
func slotOf(t *testing.T, ctx *pkcs11.Ctx, fixture *softhsmtest.Token) uint {
	t.Helper()
	slots, err := ctx.GetSlotList(true)
	if err != nil {
		t.Fatal(err)
	}
	for _, slot := range slots {
		if info, err := ctx.GetTokenInfo(slot); err == nil && info.Label == fixture.Label {
			return slot
		}
	}
	t.Fatalf("no slot has the token %s", fixture.Label)
	return 0
}

func (b *bench) logIn(t *testing.T) {
	t.Helper()
	b.slot = slotOf(t, b.Ctx, b.fixture)
	b.session = b.openSession(t)
	if err := b.Login(b.session, pkcs11.CKU_USER, b.fixture.PIN); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) openSession(t *testing.T) pkcs11.SessionHandle {
	t.Helper()
	s, err := b.OpenSession(b.slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// aesKey makes an AES key of one byte repeated, which may encrypt.
func aesKey(ctx *pkcs11.Ctx, s pkcs11.SessionHandle, label string, fill byte, token bool) (pkcs11.ObjectHandle, error) {
	return ctx.CreateObject(s, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, token),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, label),
		pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, true),
		pkcs11.NewAttribute(pkcs11.CKA_VALUE, bytes.Repeat([]byte{fill}, 16)),
	})
}

func (b *bench) key(t *testing.T, label string, fill byte) pkcs11.ObjectHandle {
	t.Helper()
	k, err := aesKey(b.Ctx, b.session, label, fill, false)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func encrypt(ctx *pkcs11.Ctx, s pkcs11.SessionHandle, k pkcs11.ObjectHandle) ([]byte, error) {
	if err := ctx.EncryptInit(s, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_ECB, nil)}, k); err != nil {
		return nil, err
	}
	return ctx.Encrypt(s, make([]byte, 16))
}

func (b *bench) encrypt(k pkcs11.ObjectHandle) ([]byte, error) { return encrypt(b.Ctx, b.session, k) }

func (b *bench) find(t *testing.T, label string) []pkcs11.ObjectHandle {
	t.Helper()
	if err := b.FindObjectsInit(b.session, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, label)}); err != nil {
		t.Fatal(err)
	}
	handles, _, err := b.FindObjects(b.session, 10)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.FindObjectsFinal(b.session); err != nil {
		t.Fatal(err)
	}
	return handles
}

// wants fails the test unless err is that code of PKCS#11; 0 is no error.
func wants(t *testing.T, what string, err error, ckr uint) {
	t.Helper()
	if ckr == pkcs11.CKR_OK && err != nil || ckr != pkcs11.CKR_OK && !errors.Is(err, pkcs11.Error(ckr)) {
		t.Errorf("%s: %v, want %v", what, err, pkcs11.Error(ckr))
	}
}

func TestFunctionsAreGenerated(t *testing.T) {
	again := filepath.Join(t.TempDir(), "functions.h")
	if out, err := exec.Command("go", "run", "generate.go", again).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want, err := os.ReadFile(again)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("module/functions.h")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("module/functions.h is not what generate.go makes; run: go generate")
	}
	if n := bytes.Count(got, []byte("FUNCTION(")); n != 67 {
		t.Errorf("%d functions are forwarded, want all 68 of PKCS#11 v2.40 but C_GetFunctionList", n)
	}
}

// The same calls give the same results with the fault module between as without
// it. The transcript holds what does not change from one run to another.
func TestForwards(t *testing.T) {
	fixture := softhsmtest.New(t)
	var transcripts [2]string
	for i, path := range []string{fixture.Module, faultmodule.Start(t, fixture.Module).Path} {
		t.Run(filepath.Base(path), func(t *testing.T) { transcripts[i] = transcript(t, path, fixture) })
	}
	if diff := cmp.Diff(transcripts[0], transcripts[1]); diff != "" {
		t.Errorf("what differs with the fault module:\n%s", diff)
	}
}

func transcript(t *testing.T, path string, fixture *softhsmtest.Token) string {
	var out strings.Builder
	note := func(call string, err error, results ...any) {
		t.Helper()
		fmt.Fprintf(&out, "%s: %v %v\n", call, err, results)
		if err != nil {
			t.Errorf("%s: %v", call, err)
		}
	}
	ctx := open(t, path)
	info, err := ctx.GetInfo()
	note("C_GetInfo", err, info.ManufacturerID, info.LibraryDescription, info.LibraryVersion)
	slot := slotOf(t, ctx, fixture)
	slotInfo, err := ctx.GetSlotInfo(slot)
	note("C_GetSlotInfo", err, slotInfo.Flags, slotInfo.SlotDescription)
	token, err := ctx.GetTokenInfo(slot)
	note("C_GetTokenInfo", err, token.Label, token.SerialNumber, token.Model)
	mechanisms, err := ctx.GetMechanismList(slot)
	note("C_GetMechanismList", err, len(mechanisms))
	for _, m := range mechanisms {
		info, err := ctx.GetMechanismInfo(slot, []*pkcs11.Mechanism{m})
		note("C_GetMechanismInfo", err, m.Mechanism, info)
	}
	s, err := ctx.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	note("C_OpenSession", err)
	note("C_Login", ctx.Login(s, pkcs11.CKU_USER, fixture.PIN))
	state, err := ctx.GetSessionInfo(s)
	note("C_GetSessionInfo", err, state.State, state.Flags)
	random, err := ctx.GenerateRandom(s, 20)
	note("C_GenerateRandom", err, len(random))

	mechanism := func(number uint) []*pkcs11.Mechanism {
		return []*pkcs11.Mechanism{pkcs11.NewMechanism(number, nil)}
	}
	note("C_DigestInit", ctx.DigestInit(s, mechanism(pkcs11.CKM_SHA256)))
	digest, err := ctx.Digest(s, []byte("Latchkey"))
	note("C_Digest", err, digest)

	secret := func(more ...*pkcs11.Attribute) []*pkcs11.Attribute {
		return append([]*pkcs11.Attribute{
			pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
			pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
			pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, true),
			pkcs11.NewAttribute(pkcs11.CKA_SIGN, true),
			pkcs11.NewAttribute(pkcs11.CKA_WRAP, true),
			pkcs11.NewAttribute(pkcs11.CKA_UNWRAP, true),
			pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, true),
			pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, false),
		}, more...)
	}
	key, err := ctx.CreateObject(s, secret(pkcs11.NewAttribute(pkcs11.CKA_VALUE, bytes.Repeat([]byte{1}, 32))))
	note("C_CreateObject", err)
	generated, err := ctx.GenerateKey(s, mechanism(pkcs11.CKM_AES_KEY_GEN), secret(pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, 16)))
	note("C_GenerateKey", err)
	copied, err := ctx.CopyObject(s, key, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, "copy")})
	note("C_CopyObject", err)
	note("C_SetAttributeValue", ctx.SetAttributeValue(s, copied, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, "renamed")}))
	attributes, err := ctx.GetAttributeValue(s, copied, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, nil), pkcs11.NewAttribute(pkcs11.CKA_CHECK_VALUE, nil)})
	for _, a := range attributes {
		note("C_GetAttributeValue", err, a.Value)
	}
	note("C_FindObjectsInit", ctx.FindObjectsInit(s, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, "renamed")}))
	found, _, err := ctx.FindObjects(s, 10)
	note("C_FindObjects", err, slices.Equal(found, []pkcs11.ObjectHandle{copied}))
	note("C_FindObjectsFinal", ctx.FindObjectsFinal(s))

	cipher, err := encrypt(ctx, s, key)
	note("C_Encrypt", err, cipher)
	note("C_SignInit", ctx.SignInit(s, mechanism(pkcs11.CKM_AES_CMAC), key))
	mac, err := ctx.Sign(s, []byte("Latchkey"))
	note("C_Sign", err, mac)
	wrapped, err := ctx.WrapKey(s, mechanism(pkcs11.CKM_AES_KEY_WRAP), key, copied)
	note("C_WrapKey", err, wrapped)
	unwrapped, err := ctx.UnwrapKey(s, mechanism(pkcs11.CKM_AES_KEY_WRAP), key, wrapped, secret())
	note("C_UnwrapKey", err)
	cipher, err = encrypt(ctx, s, unwrapped)
	note("C_Encrypt with the unwrapped key", err, cipher)

	public, private, err := ctx.GenerateKeyPair(s, mechanism(pkcs11.CKM_EC_KEY_PAIR_GEN),
		[]*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}), pkcs11.NewAttribute(pkcs11.CKA_VERIFY, true)},
		[]*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_SIGN, true)})
	note("C_GenerateKeyPair", err)
	note("C_SignInit", ctx.SignInit(s, mechanism(pkcs11.CKM_ECDSA), private))
	signature, err := ctx.Sign(s, digest)
	note("C_Sign", err, len(signature))
	note("C_VerifyInit", ctx.VerifyInit(s, mechanism(pkcs11.CKM_ECDSA), public))
	note("C_Verify", ctx.Verify(s, digest, signature))

	for _, object := range []pkcs11.ObjectHandle{key, generated, copied, unwrapped, public, private} {
		note("C_DestroyObject", ctx.DestroyObject(s, object))
	}
	note("C_Logout", ctx.Logout(s))
	note("C_CloseSession", ctx.CloseSession(s))
	note("C_CloseAllSessions", ctx.CloseAllSessions(slot))
	return out.String()
}

// A derivation and a response: the vector is one of latchkey-v1's.
func TestKnownAnswerThroughIt(t *testing.T) {
	fixture := softhsmtest.New(t)
	fault := faultmodule.Start(t, fixture.Module)
	fixture.Module = fault.Path
	token := fixture.Open(t)
	vector := hsm.Vector{
		Scheme: card.LatchkeyV1, CardKeyType: card.TDES3, Input: "SN-0001",
		MasterKey: "1d26bbbc3c208124157cf8059ab33c85d977e70a0a879202a480e2948bf8a428",
		Challenge: "0123456789abcdef", Response: "be81c7471ed2594c",
	}
	if verdict, reason := token.KnownAnswer(t.Context(), vector); verdict != hsm.Pass {
		t.Errorf("%s: %s", verdict, reason)
	}
	if n := fault.Calls("C_DeriveKey"); n != 1 {
		t.Errorf("%d calls of C_DeriveKey were counted, want 1", n)
	}
	fault.HideMechanism(pkcs11.CKM_DES3_ECB)
	if verdict, reason := token.KnownAnswer(t.Context(), vector); verdict != hsm.Unsupported {
		t.Errorf("with the mechanism refused: %s: %s, want %s", verdict, reason, hsm.Unsupported)
	}
	if n := fault.LiveObjects(); n != 0 {
		t.Errorf("%d objects are left over, want 0", n)
	}
}

// Rules reach other processes as well, before their first call.
func TestAnotherProcess(t *testing.T) {
	fixture := softhsmtest.New(t)
	fault := faultmodule.Start(t, fixture.Module)
	want := fixture.PKCS11Tool(t, "--list-mechanisms")
	fixture.Module = fault.Path
	if got := fixture.PKCS11Tool(t, "--list-mechanisms"); got != want {
		t.Errorf("pkcs11-tool through the fault module says\n%s\nwithout it\n%s", got, want)
	}
	fault.HideMechanism(pkcs11.CKM_DES3_ECB)
	if got := fixture.PKCS11Tool(t, "--list-mechanisms"); !strings.Contains(want, "DES3-ECB,") || strings.Contains(got, "DES3-ECB,") {
		t.Errorf("pkcs11-tool still lists a mechanism that was hidden before it began:\n%s", got)
	}
}

func TestFail(t *testing.T) {
	b := newBench(t)
	k := b.key(t, "k", 1)
	// results makes calls and tells of each whether it failed with the code.
	results := func(calls int) string {
		var out strings.Builder
		for range calls {
			switch _, err := b.encrypt(k); {
			case err == nil:
				out.WriteByte('.')
			case errors.Is(err, pkcs11.Error(pkcs11.CKR_DEVICE_MEMORY)):
				out.WriteByte('x')
			default:
				t.Fatal(err)
			}
		}
		return out.String()
	}
	const fn, ckr = "C_EncryptInit", pkcs11.CKR_DEVICE_MEMORY
	for _, test := range []struct {
		name string
		rule func()
		want string
	}{
		{"none", func() {}, "......"},
		{"next 2", func() { b.fault.Fail(fn, ckr, 2) }, "xx...."},
		{"until cleared", func() { b.fault.Fail(fn, ckr, 0) }, "xxxxxx"},
		{"every 3rd", func() { b.fault.FailEvery(fn, ckr, 3) }, "..x..x"},
		{"randomly always", func() { b.fault.FailRandomly(fn, ckr, 1000) }, "xxxxxx"},
		{"randomly never", func() { b.fault.FailRandomly(fn, ckr, 0) }, "......"},
		{"another function", func() { b.fault.Fail("C_DecryptInit", ckr, 0) }, "......"},
	} {
		b.fault.Clear()
		test.rule()
		b.fault.ResetCalls()
		if got := results(6); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
		if n := b.fault.Calls(fn); n != 6 {
			t.Errorf("%s: %d calls were counted, want 6", test.name, n)
		}
	}
	b.fault.FailRandomly(fn, ckr, 500)
	if got := results(400); strings.Count(got, "x") < 100 || strings.Count(got, ".") < 100 {
		t.Errorf("one call in two is to fail, and did so thus: %s", got)
	}
	b.fault.ClearFunction(fn)
	if got := results(2); got != ".." {
		t.Errorf("after the rule was cleared: %s", got)
	}
}

// The real token does not hear of the wrong PIN: it would count it.
func TestWrongPIN(t *testing.T) {
	b := newBench(t)
	if err := b.Logout(b.session); err != nil {
		t.Fatal(err)
	}
	b.fault.ResetCalls()
	b.fault.WrongPIN(true)
	wants(t, "C_Login", b.Login(b.session, pkcs11.CKU_USER, b.fixture.PIN), pkcs11.CKR_PIN_INCORRECT)
	if n := b.fault.Calls("C_Login"); n != 1 {
		t.Errorf("%d logins were counted, want 1", n)
	}
	info, err := b.GetTokenInfo(b.slot)
	if err != nil || info.Flags&pkcs11.CKF_USER_PIN_COUNT_LOW != 0 {
		t.Errorf("the token has lost a try of its PIN: flags %#x, %v", info.Flags, err)
	}
	b.fault.WrongPIN(false)
	wants(t, "C_Login", b.Login(b.session, pkcs11.CKU_USER, b.fixture.PIN), pkcs11.CKR_OK)
}

// A call that hangs holds up no other, and comes back when it is released.
func TestHang(t *testing.T) {
	b := newBench(t)
	k := b.key(t, "k", 1)
	want, err := b.encrypt(k)
	if err != nil {
		t.Fatal(err)
	}
	for name, end := range map[string]func(release func()){
		"released":       func(release func()) { release() },
		"function clear": func(func()) { b.fault.ClearFunction("C_EncryptInit") },
		"all clear":      func(func()) { b.fault.Clear() },
	} {
		release := b.fault.Hang("C_EncryptInit")
		s := b.openSession(t)
		type result struct {
			out []byte
			err error
		}
		results := make(chan result)
		go func() {
			out, err := encrypt(b.Ctx, s, k)
			results <- result{out, err}
		}()
		for b.fault.Hung("C_EncryptInit") == 0 {
			time.Sleep(time.Millisecond)
		}
		if _, err := b.GenerateRandom(b.session, 8); err != nil {
			t.Errorf("%s: another call meanwhile: %v", name, err)
		}
		select {
		case r := <-results:
			t.Fatalf("%s: the call came back before: %x, %v", name, r.out, r.err)
		default:
		}
		end(release)
		if r := <-results; r.err != nil || !bytes.Equal(r.out, want) {
			t.Errorf("%s: then the call gave %x, %v; want %x", name, r.out, r.err, want)
		}
		if _, err := b.encrypt(k); err != nil {
			t.Errorf("%s: the next call: %v", name, err)
		}
		if err := b.CloseSession(s); err != nil {
			t.Error(err)
		}
	}
}

// A session handle can mean another session after C_Initialize, so a call that
// waited over it must not go on.
func TestHangOverReinitialisation(t *testing.T) {
	b := newBench(t)
	release := b.fault.Hang("C_GenerateRandom")
	err := make(chan error)
	go func() {
		_, e := b.GenerateRandom(b.session, 8)
		err <- e
	}()
	for b.fault.Hung("C_GenerateRandom") == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := errors.Join(b.Finalize(), b.Initialize()); err != nil {
		t.Fatal(err)
	}
	b.logIn(t)
	release()
	wants(t, "the call that hung", <-err, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED)
	_, e := b.GenerateRandom(b.session, 8)
	wants(t, "a new call", e, pkcs11.CKR_OK)
}

// The delay is not timed: what shows it is that the call is under way for as
// long as the rule stands, and that Clear ends it.
func TestDelay(t *testing.T) {
	b := newBench(t)
	b.fault.ResetCalls()
	b.fault.Delay("C_GenerateRandom", time.Hour)
	err := make(chan error)
	go func() {
		_, e := b.GenerateRandom(b.session, 8)
		err <- e
	}()
	for b.fault.Calls("C_GenerateRandom") == 0 {
		time.Sleep(time.Millisecond)
	}
	select {
	case e := <-err:
		t.Fatalf("the call came back at once: %v", e)
	case <-time.After(20 * time.Millisecond):
	}
	b.fault.Clear()
	wants(t, "the call", <-err, pkcs11.CKR_OK)
	b.fault.Delay("C_GenerateRandom", 5*time.Millisecond)
	began := time.Now()
	_, e := b.GenerateRandom(b.session, 8)
	wants(t, "a call that is delayed", e, pkcs11.CKR_OK)
	if took := time.Since(began); took < 5*time.Millisecond {
		t.Errorf("a call delayed by 5 ms took %s", took)
	}
}

func TestDropSessions(t *testing.T) {
	b := newBench(t)
	k := b.key(t, "k", 1)
	if sessions, objects := b.fault.OpenSessions(), b.fault.LiveObjects(); sessions != 1 || objects != 1 {
		t.Errorf("%d sessions and %d objects are counted, want 1 and 1", sessions, objects)
	}
	b.fault.DropSessions()
	if sessions, objects := b.fault.OpenSessions(), b.fault.LiveObjects(); sessions != 0 || objects != 0 {
		t.Errorf("after the drop %d sessions and %d objects are counted, want none", sessions, objects)
	}
	_, err := b.encrypt(k)
	wants(t, "C_EncryptInit in a dropped session", err, pkcs11.CKR_SESSION_HANDLE_INVALID)
	b.logIn(t) // CKR_USER_ALREADY_LOGGED_IN here would say that the login outlived its sessions
	if found := b.find(t, "k"); len(found) != 0 {
		t.Errorf("a session object outlived its session: %v", found)
	}
}

func TestLoseToken(t *testing.T) {
	for name, test := range map[string]struct {
		lose  func(*bench)
		keeps func(*bench, *testing.T) // does not bring it back
		bring func(*bench, *testing.T) // does
	}{
		"until restored": {
			lose:  func(b *bench) { b.fault.LoseToken() },
			keeps: (*bench).reinitialise,
			bring: func(b *bench, _ *testing.T) { b.fault.RestoreToken() },
		},
		"until initialised again": {
			lose:  func(b *bench) { b.fault.LoseTokenUntilReinit() },
			keeps: func(b *bench, _ *testing.T) { _ = b.CloseAllSessions(b.slot) },
			bring: (*bench).reinitialise,
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			all, err := b.GetSlotList(false)
			wants(t, "C_GetSlotList", err, pkcs11.CKR_OK)
			test.lose(b)
			for range 2 {
				slots, err := b.GetSlotList(true)
				wants(t, "C_GetSlotList", err, pkcs11.CKR_OK)
				if len(slots) != 0 {
					t.Errorf("slots %v still have a token", slots)
				}
				slots, err = b.GetSlotList(false)
				wants(t, "C_GetSlotList", err, pkcs11.CKR_OK)
				if len(slots) != len(all) {
					t.Errorf("there are %d slots, want %d", len(slots), len(all))
				}
				_, err = b.GetTokenInfo(b.slot)
				wants(t, "C_GetTokenInfo", err, pkcs11.CKR_TOKEN_NOT_PRESENT)
				_, err = b.OpenSession(b.slot, pkcs11.CKF_SERIAL_SESSION)
				wants(t, "C_OpenSession", err, pkcs11.CKR_TOKEN_NOT_PRESENT)
				_, err = b.GenerateRandom(b.session, 8)
				wants(t, "C_GenerateRandom", err, pkcs11.CKR_DEVICE_REMOVED)
				info, err := b.GetSlotInfo(b.slot)
				wants(t, "C_GetSlotInfo", err, pkcs11.CKR_OK)
				if info.Flags&pkcs11.CKF_TOKEN_PRESENT != 0 {
					t.Error("the slot says that its token is present")
				}
				_, err = b.GetInfo()
				wants(t, "C_GetInfo", err, pkcs11.CKR_OK)
				test.keeps(b, t)
			}
			test.bring(b, t)
			_, err = b.GenerateRandom(b.session, 8)
			if err == nil {
				t.Error("a session outlived the token's absence")
			}
			b.logIn(t)
			_, err = b.encrypt(b.key(t, "k", 1))
			wants(t, "C_Encrypt", err, pkcs11.CKR_OK)
		})
	}
}

func (b *bench) reinitialise(t *testing.T) {
	t.Helper()
	if err := errors.Join(b.Finalize(), b.Initialize()); err != nil {
		t.Fatal(err)
	}
}

func TestHandles(t *testing.T) {
	b := newBench(t)
	first, second := b.key(t, "first", 1), b.key(t, "second", 2)
	firstOut, err := b.encrypt(first)
	wants(t, "C_Encrypt", err, pkcs11.CKR_OK)
	secondOut, err := b.encrypt(second)
	wants(t, "C_Encrypt", err, pkcs11.CKR_OK)

	b.fault.StaleHandles()
	_, err = b.encrypt(first)
	wants(t, "C_EncryptInit with a stale handle", err, pkcs11.CKR_KEY_HANDLE_INVALID)
	wants(t, "C_DestroyObject with a stale handle", b.DestroyObject(b.session, first), pkcs11.CKR_OBJECT_HANDLE_INVALID)
	for _, key := range []struct {
		label string
		out   []byte
	}{{"first", firstOut}, {"second", secondOut}} {
		found := b.find(t, key.label)
		if len(found) != 1 {
			t.Fatalf("key %s is found %d times, want once", key.label, len(found))
		}
		if out, err := b.encrypt(found[0]); err != nil || !bytes.Equal(out, key.out) {
			t.Errorf("key %s found again gives %x, %v; want %x", key.label, out, err, key.out)
		}
	}

	first, second = b.find(t, "first")[0], b.find(t, "second")[0]
	b.fault.AliasHandles()
	if out, err := b.encrypt(first); err != nil || !bytes.Equal(out, secondOut) {
		t.Errorf("an aliased handle gives %x, %v; want the other key's %x", out, err, secondOut)
	}
	if out, err := b.encrypt(second); err != nil || !bytes.Equal(out, firstOut) {
		t.Errorf("an aliased handle gives %x, %v; want the other key's %x", out, err, firstOut)
	}
	if out, err := b.encrypt(b.find(t, "first")[0]); err != nil || !bytes.Equal(out, firstOut) {
		t.Errorf("a key found again gives %x, %v; want %x", out, err, firstOut)
	}
	for _, label := range []string{"first", "second"} {
		wants(t, "C_DestroyObject", b.DestroyObject(b.session, b.find(t, label)[0]), pkcs11.CKR_OK)
	}
	if n := b.fault.LiveObjects(); n != 0 {
		t.Errorf("%d objects are left over, want 0", n)
	}
}

func TestMechanisms(t *testing.T) {
	b := newBench(t)
	k := b.key(t, "k", 1)
	lists := func(ckm uint) bool {
		t.Helper()
		list, err := b.GetMechanismList(b.slot)
		wants(t, "C_GetMechanismList", err, pkcs11.CKR_OK)
		return slices.ContainsFunc(list, func(m *pkcs11.Mechanism) bool { return m.Mechanism == ckm })
	}
	aes := []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_ECB, nil)}

	b.fault.RefuseMechanism(pkcs11.CKM_AES_ECB)
	_, err := b.encrypt(k)
	wants(t, "C_EncryptInit with a refused mechanism", err, pkcs11.CKR_MECHANISM_INVALID)
	_, err = b.GetMechanismInfo(b.slot, aes)
	wants(t, "C_GetMechanismInfo", err, pkcs11.CKR_OK)
	if !lists(pkcs11.CKM_AES_ECB) {
		t.Error("a refused mechanism is not listed")
	}

	b.fault.HideMechanism(pkcs11.CKM_AES_ECB)
	_, err = b.GetMechanismInfo(b.slot, aes)
	wants(t, "C_GetMechanismInfo of a hidden mechanism", err, pkcs11.CKR_MECHANISM_INVALID)
	if lists(pkcs11.CKM_AES_ECB) || !lists(pkcs11.CKM_AES_CBC) {
		t.Error("hiding a mechanism left it listed, or hid another")
	}

	b.fault.Clear()
	_, err = b.encrypt(k)
	wants(t, "C_Encrypt", err, pkcs11.CKR_OK)
	if !lists(pkcs11.CKM_AES_ECB) {
		t.Error("a mechanism stays hidden after Clear")
	}
}

func TestCounts(t *testing.T) {
	b := newBench(t)
	s := b.openSession(t)
	stays, err := aesKey(b.Ctx, s, "token object", 1, true)
	wants(t, "C_CreateObject", err, pkcs11.CKR_OK)
	goes, err := aesKey(b.Ctx, s, "session object", 2, false)
	wants(t, "C_CreateObject", err, pkcs11.CKR_OK)
	counts := func(when string, sessions, objects int) {
		t.Helper()
		if s, o := b.fault.OpenSessions(), b.fault.LiveObjects(); s != sessions || o != objects {
			t.Errorf("%s: %d sessions and %d objects are counted, want %d and %d", when, s, o, sessions, objects)
		}
	}
	counts("two keys", 2, 2)
	wants(t, "C_CloseSession", b.CloseSession(s), pkcs11.CKR_OK)
	counts("session closed", 1, 1)
	if err := b.DestroyObject(b.session, goes); err == nil {
		t.Error("the session object outlived its session")
	}
	wants(t, "C_DestroyObject", b.DestroyObject(b.session, stays), pkcs11.CKR_OK)
	counts("token object destroyed", 1, 0)
	wants(t, "C_CloseAllSessions", b.CloseAllSessions(b.slot), pkcs11.CKR_OK)
	counts("all sessions closed", 0, 0)
	b.logIn(t)
	b.key(t, "k", 1)
	b.reinitialise(t)
	counts("initialised again", 0, 0)
	if n := b.fault.Overlaps(); n != 0 {
		t.Errorf("%d overlaps are counted, want 0", n)
	}
}

// Under load, with sessions that die all the time, no call gives a wrong result
// or an error but the ones that were ordered, and nothing is left over.
func TestFaultsUnderLoad(t *testing.T) {
	b := newBench(t)
	want, err := b.encrypt(b.key(t, "k", 1))
	if err != nil {
		t.Fatal(err)
	}
	expected := []uint{
		pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_USER_NOT_LOGGED_IN, pkcs11.CKR_OBJECT_HANDLE_INVALID,
		pkcs11.CKR_KEY_HANDLE_INVALID, pkcs11.CKR_DEVICE_REMOVED, pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_DEVICE_ERROR,
	}
	stop := make(chan struct{})
	var answered, failed atomic.Int64
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				got, err := b.once()
				var code pkcs11.Error
				switch {
				case err == nil && !bytes.Equal(got, want):
					t.Errorf("a call gave %x, want %x", got, want)
				case err == nil:
					answered.Add(1)
				case errors.As(err, &code) && slices.Contains(expected, uint(code)):
					failed.Add(1)
				default:
					t.Errorf("a call failed with %v, which nobody ordered", err)
				}
			}
		})
	}
	b.fault.FailRandomly("C_EncryptInit", pkcs11.CKR_DEVICE_ERROR, 50)
	b.fault.FailRandomly("C_DestroyObject", pkcs11.CKR_DEVICE_ERROR, 50)
	for range 50 {
		b.fault.DropSessions()
		time.Sleep(time.Millisecond)
		b.fault.StaleHandles()
		time.Sleep(time.Millisecond)
		b.fault.LoseToken()
		time.Sleep(time.Millisecond)
		b.fault.RestoreToken()
	}
	close(stop)
	workers.Wait()
	if answered.Load() == 0 || failed.Load() == 0 {
		t.Errorf("%d rounds were answered and %d failed, want some of both", answered.Load(), failed.Load())
	}
	if sessions, objects := b.fault.OpenSessions(), b.fault.LiveObjects(); sessions != 0 || objects != 0 {
		t.Errorf("%d sessions and %d objects are left over, want none", sessions, objects)
	}
}

// once makes a key in a session of its own, uses it and closes the session.
func (b *bench) once() (_ []byte, err error) {
	s, err := b.OpenSession(b.slot, pkcs11.CKF_SERIAL_SESSION)
	if err != nil {
		return nil, err
	}
	defer func() {
		if e := b.CloseSession(s); err == nil {
			err = e
		}
	}()
	if err := b.Login(s, pkcs11.CKU_USER, b.fixture.PIN); err != nil && !errors.Is(err, pkcs11.Error(pkcs11.CKR_USER_ALREADY_LOGGED_IN)) {
		return nil, err
	}
	k, err := aesKey(b.Ctx, s, "k", 1, false)
	if err != nil {
		return nil, err
	}
	defer func() {
		if e := b.DestroyObject(s, k); err == nil {
			err = e
		}
	}()
	return encrypt(b.Ctx, s, k)
}

// Without a driver the module forwards to the one that the environment names.
func TestByHand(t *testing.T) {
	fixture := softhsmtest.New(t)
	t.Setenv("FAULTMODULE_REAL", fixture.Module)
	ctx := open(t, faultmodule.Build(t))
	if _, err := ctx.GetTokenInfo(slotOf(t, ctx, fixture)); err != nil {
		t.Error(err)
	}
}

func TestNoRealModule(t *testing.T) {
	ctx := pkcs11.New(faultmodule.Start(t, filepath.Join(t.TempDir(), "none.so")).Path)
	if ctx == nil {
		t.Fatal("the fault module does not load")
	}
	defer ctx.Destroy()
	wants(t, "C_Initialize", ctx.Initialize(), pkcs11.CKR_GENERAL_ERROR)
	_, err := ctx.GetInfo()
	wants(t, "C_GetInfo", err, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED)
}
