package secondvendor_test

import (
	"bytes"
	"crypto/aes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/pkcs11"

	"latchkey/card"
	"latchkey/hsm"
	softhsmtest "latchkey/softhsm-test"
	"latchkey/softhsm-test/faultmodule"
	"latchkey/softhsm-test/secondvendor"
)

const (
	diversification = "../../hsm/testdata/diversification.json"
	published       = "../../hsm/testdata/published.json"
	wrapped         = "testdata/wrapped.json"
)

func readVectors(t *testing.T, file string) []hsm.Vector {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	vectors, err := hsm.ParseVectors(text)
	if err != nil {
		t.Fatal(err)
	}
	return vectors
}

// Every answer that SoftHSM gives, the second vendor gives too.
func TestPublishedAnswers(t *testing.T) {
	fixture := secondvendor.New(t)
	token := fixture.Open(t)
	for _, file := range []string{diversification, published} {
		for i, v := range readVectors(t, file) {
			want := hsm.Pass
			if v.Scheme == card.AN10922AES192 {
				want = hsm.Unsupported
			}
			if verdict, reason := token.KnownAnswer(t.Context(), v); verdict != want {
				t.Errorf("%s %d %s: %s: %s, want %s", file, i, v.Name(), verdict, reason, want)
			}
		}
	}
	if out := fixture.PKCS11Tool(t, "--list-objects"); strings.Contains(out, "Secret Key Object") {
		t.Errorf("keys are left in the token:\n%s", out)
	}
}

// The two vendors take mechanism 0x210A (AES_KEY_WRAP_PAD) for different things,
// RFC 5649 and RFC 3394 over a padded key, and SoftHSM does not unwrap with
// AES-CBC. What both do has one answer.
func TestWrappedCardKeys(t *testing.T) {
	for _, vendor := range []struct {
		name string
		make func(testing.TB) *softhsmtest.Token
		want map[card.Wrapping]hsm.Verdict
	}{
		{"SoftHSM", softhsmtest.New, map[card.Wrapping]hsm.Verdict{card.KeyWrap: hsm.Pass, card.KeyWrapPad: hsm.Pass, card.CBCPad: hsm.Unsupported}},
		{"NSS", secondvendor.New, map[card.Wrapping]hsm.Verdict{card.KeyWrap: hsm.Pass, card.KeyWrapPad: hsm.Fail, card.CBCPad: hsm.Pass}},
	} {
		t.Run(vendor.name, func(t *testing.T) {
			token := vendor.make(t).Open(t)
			for i, v := range readVectors(t, wrapped) {
				if verdict, reason := token.KnownAnswer(t.Context(), v); verdict != vendor.want[v.Wrapping] {
					t.Errorf("%d %s of %s: %s: %s, want %s", i, v.Wrapping, v.CardKeyType, verdict, reason, vendor.want[v.Wrapping])
				}
			}
		})
	}
}

// SoftHSM has no mechanism for SP 800-108, so here is where the token's own is
// tried. Latchkey uses it for a master key that may derive and nothing else.
func TestNativeCounterKDF(t *testing.T) {
	fixture := secondvendor.New(t)
	var vectors []hsm.Vector
	for _, v := range append(readVectors(t, diversification), readVectors(t, published)...) {
		// The vector of a TDES master key is left out: softokn has no TDES-CMAC.
		tdes := v.Scheme == card.SP800108 && len(v.MasterKey) == 2*card.TDES3.Len()
		if !tdes && (v.Scheme == card.KDF3 || v.Scheme == card.SP800108) {
			vectors = append(vectors, v)
		}
	}
	if len(vectors) != 3+3 {
		t.Fatalf("%d vectors were read, want 6", len(vectors))
	}
	raw(t, fixture, func(ctx *pkcs11.Ctx, s pkcs11.SessionHandle) {
		for i, v := range vectors {
			putMaster(t, ctx, s, fmt.Sprint("master ", i), unhex(t, v.MasterKey))
		}
	})
	fault := faultmodule.Start(t, fixture.Module)
	fixture.Module = fault.Path
	token := fixture.Open(t)
	for i, v := range vectors {
		t.Run(fmt.Sprint(v.Name(), " ", i), func(t *testing.T) { answer(t, token, fmt.Sprint("master ", i), v) })
	}
	fault.RefuseMechanism(counterKDF)
	_, err := respond(t, token, "master 0", vectors[0])
	if !errors.Is(err, pkcs11.Error(pkcs11.CKR_MECHANISM_INVALID)) {
		t.Errorf("with the mechanism refused the error is %v, want %v", err, pkcs11.Error(pkcs11.CKR_MECHANISM_INVALID))
	}
}

// counterKDF is CKM_SP800_108_COUNTER_KDF of PKCS#11 v3.0.
const counterKDF = 0x3AC

func TestChangedAnswerFails(t *testing.T) {
	token := secondvendor.New(t).Open(t)
	v := latchkeyV1(t)
	v.Response = "00" + v.Response[2:]
	if verdict, reason := token.KnownAnswer(t.Context(), v); verdict != hsm.Fail {
		t.Errorf("a wrong response: %s (%s), want %s", verdict, reason, hsm.Fail)
	}
}

// latchkeyV1 is the vector whose card key is TDES, of a master key that is AES.
func latchkeyV1(t *testing.T) hsm.Vector {
	t.Helper()
	for _, v := range readVectors(t, diversification) {
		if v.Scheme == card.LatchkeyV1 && v.CardKeyType == card.TDES3 {
			return v
		}
	}
	t.Fatal("there is no such vector")
	return hsm.Vector{}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// respond asks for the vector's response, of a master key in the token.
func respond(t *testing.T, token *hsm.Token, master string, v hsm.Vector) ([]byte, error) {
	t.Helper()
	key := card.AdminKey{
		Master: master, Version: 1, Scheme: v.Scheme, Type: v.CardKeyType, Data: []byte(v.Input), KeyNumber: 1,
		Counter: card.Counter{Bits: v.CounterBits, After: v.Counter == "after"},
	}
	if v.Scheme != card.LatchkeyV1 {
		key.Data = unhex(t, v.Input)
	}
	return token.Respond(t.Context(), key, card.AlgorithmFor(v.CardKeyType), unhex(t, v.Challenge))
}

// answer wants the vector's response, or where it has none the one that its card
// key, of AES, makes in software.
func answer(t *testing.T, token *hsm.Token, master string, v hsm.Vector) {
	t.Helper()
	want := unhex(t, v.Response)
	if v.Response == "" {
		block, err := aes.NewCipher(unhex(t, v.CardKey))
		if err != nil {
			t.Fatal(err)
		}
		want = unhex(t, v.Challenge)
		block.Encrypt(want, want)
	}
	if got, err := respond(t, token, master, v); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the response is %x, %v; want %x", got, err, want)
	}
}

// A master key that stays in the token answers, for many callers at a time, and
// no card key and no session is left over.
func TestMasterKeyInTheToken(t *testing.T) {
	v := latchkeyV1(t)
	fixture := secondvendor.New(t)
	raw(t, fixture, func(ctx *pkcs11.Ctx, s pkcs11.SessionHandle) {
		putMaster(t, ctx, s, "master", unhex(t, v.MasterKey))
	})
	fault := faultmodule.Start(t, fixture.Module)
	fixture.Module = fault.Path
	t.Run("answers", func(t *testing.T) {
		token := fixture.Open(t)
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() {
				for range 50 {
					answer(t, token, "master", v)
				}
			})
		}
		callers.Wait()
		if n := fault.Calls("C_DeriveKey"); n != 8*50 {
			t.Errorf("%d keys were derived, want %d", n, 8*50)
		}
		if n := fault.LiveObjects(); n != 0 {
			t.Errorf("%d objects are left over, want 0", n)
		}
	})
	if n := fault.OpenSessions(); n != 0 {
		t.Errorf("%d sessions are left over, want 0", n)
	}
}

// putMaster puts an AES master key into the token, past the HSM room: that one
// makes keys with CKA_ALLOWED_MECHANISMS, which softokn cannot store.
func putMaster(t *testing.T, ctx *pkcs11.Ctx, s pkcs11.SessionHandle, label string, value []byte) {
	t.Helper()
	if _, err := ctx.CreateObject(s, masterTemplate(label, pkcs11.NewAttribute(pkcs11.CKA_VALUE, value))); err != nil {
		t.Fatal(err)
	}
}

// masterTemplate is for a master key that may derive. Without a CKA_ID of
// Latchkey's form it counts as version 1.
func masterTemplate(label string, more ...*pkcs11.Attribute) []*pkcs11.Attribute {
	return append([]*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, label),
		pkcs11.NewAttribute(pkcs11.CKA_DERIVE, true),
		pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, false),
		pkcs11.NewAttribute(pkcs11.CKA_DECRYPT, false),
		pkcs11.NewAttribute(pkcs11.CKA_SIGN, false),
		pkcs11.NewAttribute(pkcs11.CKA_WRAP, false),
		pkcs11.NewAttribute(pkcs11.CKA_UNWRAP, false),
	}, more...)
}

// raw works on the token without the HSM room, in a session of its own.
func raw(t *testing.T, fixture *softhsmtest.Token, work func(*pkcs11.Ctx, pkcs11.SessionHandle)) {
	t.Helper()
	ctx := pkcs11.New(fixture.Module)
	if ctx == nil {
		t.Fatalf("%s does not load", fixture.Module)
	}
	defer ctx.Destroy()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(ctx.Initialize())
	defer func() { must(ctx.Finalize()) }()
	slots, err := ctx.GetSlotList(true)
	must(err)
	for _, slot := range slots {
		info, err := ctx.GetTokenInfo(slot)
		must(err)
		if info.Label != fixture.Label {
			continue
		}
		s, err := ctx.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
		must(err)
		must(ctx.Login(s, pkcs11.CKU_USER, fixture.PIN))
		work(ctx, s)
		return
	}
	t.Fatalf("no slot has the token %s", fixture.Label)
}

// In FIPS mode a master key comes in only wrapped, here under a key pair of the
// token's own; then it answers like any other.
func TestFIPSMode(t *testing.T) {
	v := latchkeyV1(t)
	fixture := secondvendor.NewFIPS(t)
	raw(t, fixture, func(ctx *pkcs11.Ctx, s pkcs11.SessionHandle) {
		public, private, err := ctx.GenerateKeyPair(s, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, nil)},
			[]*pkcs11.Attribute{
				pkcs11.NewAttribute(pkcs11.CKA_WRAP, true),
				pkcs11.NewAttribute(pkcs11.CKA_MODULUS_BITS, 2048),
				pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1}),
			},
			[]*pkcs11.Attribute{
				pkcs11.NewAttribute(pkcs11.CKA_UNWRAP, true),
				pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
				pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false),
			})
		if err != nil {
			t.Fatal(err)
		}
		modulus, err := ctx.GetAttributeValue(s, public, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_MODULUS, nil)})
		if err != nil {
			t.Fatal(err)
		}
		key := &rsa.PublicKey{N: new(big.Int).SetBytes(modulus[0].Value), E: 65537}
		wrapped, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, key, unhex(t, v.MasterKey), nil)
		if err != nil {
			t.Fatal(err)
		}
		oaep := pkcs11.NewOAEPParams(pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256, pkcs11.CKZ_DATA_SPECIFIED, nil)
		if _, err := ctx.UnwrapKey(s, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS_OAEP, oaep)}, private, wrapped, masterTemplate("master")); err != nil {
			t.Fatal(err)
		}
	})
	token := fixture.Open(t)
	answer(t, token, "master", v)
	if verdict, reason := token.KnownAnswer(t.Context(), v); verdict == hsm.Pass || !strings.Contains(reason, "C_CreateObject") {
		t.Errorf("a master key in clear: %s (%s), want it refused by C_CreateObject", verdict, reason)
	}
}

// NSS gives out by C_WrapKey what is not extractable, makes extractable copies, and
// does not bind keys to their mechanisms; what has to be refused beside that, it
// refuses. It derives without listing it.
func TestProbes(t *testing.T) {
	token := secondvendor.New(t).Open(t)
	for p, refused := range map[hsm.Probe]bool{
		hsm.WrapOut: false, hsm.ReadValue: true, hsm.OtherUse: true, hsm.Loosen: false, hsm.OtherMechanism: false,
	} {
		if result, err := token.Probe(t.Context(), p); err != nil || result.Refused != refused {
			t.Errorf("%s: %+v, %v; want refused %v", p, result, err, refused)
		}
	}
	for _, w := range hsm.Ways(card.LatchkeyV1, "") {
		if use, err := token.TryWay(t.Context(), w); err != nil || use != hsm.ForDeriving {
			t.Errorf("%+v: use %s, %v", w, use, err)
		}
	}
	// The token's own SP 800-108 does with a weaker right than CMACs put together.
	for _, w := range hsm.Ways(card.KDF3, "") {
		if use, err := token.TryWay(t.Context(), w); err != nil || use != hsm.ForDeriving {
			t.Errorf("%+v: use %s, %v", w, use, err)
		}
	}
}

// In FIPS mode no key comes in clear, but ways can be tried with generated ones.
func TestTryWayInFIPSMode(t *testing.T) {
	token := secondvendor.NewFIPS(t).Open(t)
	if err := token.TakesKeys(t.Context()); err == nil {
		t.Error("the token takes a key in clear")
	}
	for _, w := range hsm.Ways(card.LatchkeyV1, "") {
		if _, err := token.TryWay(t.Context(), w); err != nil {
			t.Errorf("%+v: %v", w, err)
		}
	}
}
