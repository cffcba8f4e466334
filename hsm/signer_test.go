package hsm_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"testing"

	"latchkey/card"
	"latchkey/hsm"
	softhsmtest "latchkey/softhsm-test"
)

// crypto11 and the pool share one library, which only one of them may
// initialise: both have to work, before and after the other came and went.
func TestSignerBesideAnswers(t *testing.T) {
	token := softhsmtest.New(t).Open(t)
	if _, err := token.Generate(t.Context(), master("fleet", card.AES256, hsm.ForDeriving)); err != nil {
		t.Fatal(err)
	}
	want := respondAs(t, token, "fleet")
	if _, err := token.OpenSigner(t.Context(), "records", false); err == nil {
		t.Fatal("a key pair that was never made was found")
	}
	if got := respondAs(t, token, "fleet"); got != want {
		t.Error("after a signer that could not be opened, the token answers otherwise")
	}
	var public *ecdsa.PublicKey
	for range 2 {
		signer, err := token.OpenSigner(t.Context(), "records", true)
		if err != nil {
			t.Fatal(err)
		}
		key, ok := signer.Public().(*ecdsa.PublicKey)
		if !ok || public != nil && !public.Equal(key) {
			t.Fatalf("public key %v, want the same as before (%v)", signer.Public(), public)
		}
		public = key
		digest := sha256.Sum256([]byte("record"))
		signature, err := signer.Sign(rand.Reader, digest[:], crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		if !ecdsa.VerifyASN1(public, digest[:], signature) {
			t.Error("the signature does not verify")
		}
		if got := respondAs(t, token, "fleet"); got != want {
			t.Error("beside a signer the token answers otherwise")
		}
		if err := signer.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := respondAs(t, token, "fleet"); got != want {
			t.Error("after a signer the token answers otherwise")
		}
	}
}
