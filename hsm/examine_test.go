package hsm_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/pkcs11"

	"latchkey/card"
	"latchkey/hsm"
	softhsmtest "latchkey/softhsm-test"
)

// ways are all that can be tried.
func ways() []hsm.Way {
	var all []hsm.Way
	for _, s := range card.Schemes() {
		if s != card.Wrapped {
			all = append(all, hsm.Ways(s, "")...)
		}
	}
	for _, w := range card.Wrappings() {
		all = append(all, hsm.Ways(card.Wrapped, w)...)
	}
	return append(all, hsm.Way{Scheme: card.Static, Master: card.TDES3, CardKey: card.TDES3, Algorithm: card.TDESCBC})
}

// What a token does is found out by trying: SoftHSM does everything but one
// wrapping, and without 3DES what needs none of it. Nothing stays behind.
func TestTryWay(t *testing.T) {
	f := openFaulty(t)
	before := f.fault.LiveObjects()
	fails := func(w hsm.Way) bool {
		_, err := f.token.TryWay(t.Context(), w)
		return err != nil
	}
	for _, w := range ways() {
		if fails(w) != (w.Wrapping == card.CBCPad) {
			_, err := f.token.TryWay(t.Context(), w)
			t.Errorf("%+v: %v", w, err)
		}
	}
	// As in FIPS mode.
	for _, m := range []uint{pkcs11.CKM_DES3_ECB, pkcs11.CKM_DES3_CBC, pkcs11.CKM_DES3_ECB_ENCRYPT_DATA} {
		f.fault.RefuseMechanism(m)
	}
	for _, w := range ways() {
		tdes := !w.Master.AES() || !w.CardKey.AES()
		if fails(w) != (tdes || w.Wrapping == card.CBCPad) {
			t.Errorf("%+v without 3DES: fails is %v", w, fails(w))
		}
	}
	if after := f.fault.LiveObjects(); after != before {
		t.Errorf("%d objects were there, now %d", before, after)
	}
}

// SoftHSM refuses all that has to be refused, and keeps nothing of the trial.
func TestProbe(t *testing.T) {
	f := openFaulty(t)
	before := f.fault.LiveObjects()
	for _, p := range hsm.Probes() {
		if result, err := f.token.Probe(t.Context(), p); err != nil || !result.Refused || result.Detail == "" {
			t.Errorf("%s: %+v, %v", p, result, err)
		}
	}
	f.fault.Fail("C_GenerateKey", pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, 1)
	if result, err := f.token.Probe(t.Context(), hsm.OtherMechanism); err != nil || result.Refused {
		t.Errorf("a token without the attribute: %+v, %v", result, err)
	}
	f.fault.Fail("C_GenerateKey", pkcs11.CKR_MECHANISM_INVALID, 0)
	f.fault.Fail("C_CreateObject", pkcs11.CKR_TEMPLATE_INCONSISTENT, 0)
	if _, err := f.token.Probe(t.Context(), hsm.ReadValue); !errors.Is(err, pkcs11.Error(pkcs11.CKR_MECHANISM_INVALID)) {
		t.Errorf("a token that makes no key: %v", err)
	}
	if err := f.token.TakesKeys(t.Context()); err == nil {
		t.Error("a token that refuses C_CreateObject is said to take keys")
	}
	f.fault.Clear()
	if err := f.token.TakesKeys(t.Context()); err != nil {
		t.Error(err)
	}
	if after := f.fault.LiveObjects(); after != before {
		t.Errorf("%d objects were there, now %d", before, after)
	}
}

func TestMeasure(t *testing.T) {
	f := openFaulty(t, func(c *hsm.Config) { c.CallTimeout = 5 * time.Second })
	before := f.fault.OpenSessions()
	list, err := f.token.Measure(t.Context(), []int{1, 3}, 3, 5*time.Millisecond)
	if err != nil || len(list) != 2 || list[0].Sessions != 1 || list[1].Sessions != 3 {
		t.Fatalf("%v, %v", list, err)
	}
	for _, m := range list {
		if len(m.PerSecond) != 3 || !slices.IsSorted(m.PerSecond) || m.Median() <= 0 {
			t.Errorf("%d sessions: %v", m.Sessions, m.PerSecond)
		}
	}
	// A token that gives out no more than two sessions is measured with those.
	f.fault.FailEvery("C_OpenSession", pkcs11.CKR_SESSION_COUNT, 3)
	list, err = f.token.Measure(t.Context(), []int{1, 3}, 1, time.Millisecond)
	if err != nil || len(list) != 1 || list[0].Sessions != 1 {
		t.Errorf("with few sessions: %v, %v", list, err)
	}
	f.fault.Clear()
	// One that derives nothing is measured by what it can do.
	f.fault.RefuseMechanism(pkcs11.CKM_AES_CBC_ENCRYPT_DATA)
	if _, err := f.token.Measure(t.Context(), []int{1}, 1, time.Millisecond); err != nil {
		t.Error(err)
	}
	f.fault.Clear()
	f.fault.Fail("C_Encrypt", pkcs11.CKR_DEVICE_ERROR, 0)
	if _, err := f.token.Measure(t.Context(), []int{1}, 1, time.Millisecond); !errors.Is(err, pkcs11.Error(pkcs11.CKR_DEVICE_ERROR)) {
		t.Errorf("a token that fails: %v", err)
	}
	if after := f.fault.OpenSessions(); after != before {
		t.Errorf("%d sessions were open, now %d", before, after)
	}
}

func TestCondition(t *testing.T) {
	token := softhsmtest.New(t).Open(t)
	c, err := token.Condition(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if c.MaxSessions != 0 || c.FreeMemory != -1 || c.WriteProtected || !c.Clock.IsZero() {
		t.Errorf("%+v; SoftHSM has no limit and no clock and does not tell its memory", c)
	}
}

// What a key may do too much, and what a profile needs of it.
func TestExamine(t *testing.T) {
	fixture := softhsmtest.New(t)
	fixture.Plant(t, "bound", "bound")
	fixture.Plant(t, "loose", "public", "sign", "wrap")
	fixture.Plant(t, "narrow", "narrow")
	fixture.Plant(t, "tdes3", "tdes3")
	fixture.Plant(t, "other", "foreign")
	token := fixture.Open(t)
	if _, err := token.Generate(t.Context(), master("ours", card.AES256, hsm.ForDeriving)); err != nil {
		t.Fatal(err)
	}
	list, others, err := token.Examine(t.Context())
	if err != nil || others != 1 {
		t.Fatalf("%d others, %v", others, err)
	}
	keys := make(map[string]hsm.Examined)
	for _, k := range list {
		keys[k.Label] = k
	}
	if k := keys["ours"]; !k.Ours || k.Public || k.Rights != nil || k.Surplus != nil || k.Weakness != "" {
		t.Errorf("a key of Latchkey's: %+v", k)
	}
	if k := keys["bound"]; k.Ours || !slices.Equal(k.Surplus, []uint{pkcs11.CKM_AES_ECB}) {
		t.Errorf("a key with a mechanism too many: %+v", k)
	}
	if k := keys["loose"]; !k.Public || !slices.Equal(k.Rights, []string{"sign", "wrap"}) {
		t.Errorf("a key with rights too many: %+v", k)
	}
	profile := card.Profile{Scheme: card.LatchkeyV1, CardKeyType: card.TDES3, Algorithm: card.TDESECB}
	for label, want := range map[string]string{
		"ours": "", "bound": "", "loose": "",
		"narrow": "leave out CKM_AES_CBC_ENCRYPT_DATA", "tdes3": "works with a master key of type [aes256]",
	} {
		err := token.Fits(keys[label].Key, profile)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", label, err, want)
		}
	}
	for scheme, want := range map[card.Scheme]string{
		card.AN10922AES256: "made for use mac", card.Wrapped: "made for use unwrap", card.Static: "made for use encrypt",
	} {
		profile := card.Profile{Scheme: scheme, CardKeyType: card.AES256, Algorithm: card.AESECB, Wrapping: card.KeyWrap}
		if err := token.Fits(keys["ours"].Key, profile); !errors.Is(err, hsm.ErrKeyUnfit) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", scheme, err, want)
		}
	}
}
