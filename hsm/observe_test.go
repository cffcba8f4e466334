package hsm_test

import (
	"sync"
	"testing"
	"time"

	"github.com/miekg/pkcs11"

	"latchkey/card"
	"latchkey/hsm"
	softhsmtest "latchkey/softhsm-test"
	"latchkey/softhsm-test/faultmodule"
)

// tally counts the calls that it is told of, by function and code.
type tally struct {
	mu      sync.Mutex
	calls   map[string]int
	longest map[string]time.Duration
}

func (o *tally) Called(function string, code uint, took time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	name := function + " " + hsm.CodeName(code)
	o.calls[name]++
	o.longest[function] = max(o.longest[function], took)
}

// The observer hears of each call that an answer makes with its code and time, and
// the status of what was got over.
func TestObserver(t *testing.T) {
	fixture := softhsmtest.New(t)
	fault := faultmodule.Start(t, fixture.Module)
	fixture.Module = fault.Path
	heard := &tally{calls: map[string]int{}, longest: map[string]time.Duration{}}
	token := fixture.Open(t, func(c *hsm.Config) { c.Sessions, c.Observer = 1, heard })
	if _, err := token.Generate(t.Context(), hsm.NewKey{Label: "m", Version: 1, Type: card.AES256, Use: hsm.ForDeriving}); err != nil {
		t.Fatal(err)
	}
	key := card.AdminKey{Master: "m", Version: 1, Scheme: card.LatchkeyV1, Type: card.TDES3, Data: []byte("SN-1")}
	respond := func() {
		t.Helper()
		if _, err := token.Respond(t.Context(), key, card.TDESECB, make(card.Challenge, 8)); err != nil {
			t.Fatal(err)
		}
	}
	respond()
	fault.Fail("C_DeriveKey", pkcs11.CKR_SESSION_HANDLE_INVALID, 1)
	fault.Delay("C_EncryptInit", 50*time.Millisecond)
	respond()

	heard.mu.Lock()
	defer heard.mu.Unlock()
	for name, want := range map[string]int{
		"C_Login CKR_OK": 1, "C_DeriveKey CKR_OK": 2, "C_DeriveKey CKR_SESSION_HANDLE_INVALID": 1,
		"C_EncryptInit CKR_OK": 2, "C_Encrypt CKR_OK": 2, "C_DestroyObject CKR_OK": 3, // one of them while the key was made
	} {
		if heard.calls[name] != want {
			t.Errorf("%s: told of %d times, want %d; all: %v", name, heard.calls[name], want, heard.calls)
		}
	}
	if got := heard.longest["C_EncryptInit"]; got < 50*time.Millisecond {
		t.Errorf("C_EncryptInit took 50 ms more and the observer was told of %s", got)
	}
	if got := heard.longest["C_DestroyObject"]; got >= time.Minute {
		t.Errorf("a call is said to have taken %s", got)
	}
	status := token.Status()
	if status.Retries != 1 || status.Outages != 0 || status.Down || status.Sessions != 1 || status.Label != fixture.Label {
		t.Errorf("status %+v, want one session, and one call that was tried again", status)
	}
}

// Names are few, whatever the code.
func TestCodeName(t *testing.T) {
	for code, want := range map[uint]string{
		pkcs11.CKR_OK: "CKR_OK", pkcs11.CKR_DEVICE_ERROR: "CKR_DEVICE_ERROR", 0x80000123: "other", 0x7FFFFFF0: "other",
	} {
		if got := hsm.CodeName(code); got != want {
			t.Errorf("0x%X is named %q, want %q", code, got, want)
		}
	}
}
