package hsm_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"sync"
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

// The keys that a server's certificate may have, and what TLS signs with them.
func TestSignerKeys(t *testing.T) {
	fixture := softhsmtest.New(t)
	for _, kind := range []string{"rsa:2048", "EC:prime256v1", "EC:secp384r1"} {
		fixture.PKCS11Tool(t, "--keypairgen", "--key-type", kind, "--label", kind, "--id", "0"+kind[len(kind)-1:])
	}
	token := fixture.Open(t)
	small, large := sha256.Sum256([]byte("handshake")), sha512.Sum384([]byte("handshake"))
	pss := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	for _, test := range []struct {
		label  string
		digest []byte
		opts   crypto.SignerOpts
		good   func(public crypto.PublicKey, digest, signature []byte) bool
	}{
		{"rsa:2048", small[:], pss, func(public crypto.PublicKey, digest, signature []byte) bool {
			return rsa.VerifyPSS(public.(*rsa.PublicKey), crypto.SHA256, digest, signature, pss) == nil
		}},
		{"rsa:2048", small[:], crypto.SHA256, func(public crypto.PublicKey, digest, signature []byte) bool {
			return rsa.VerifyPKCS1v15(public.(*rsa.PublicKey), crypto.SHA256, digest, signature) == nil
		}},
		{"EC:prime256v1", small[:], crypto.SHA256, func(public crypto.PublicKey, digest, signature []byte) bool {
			return ecdsa.VerifyASN1(public.(*ecdsa.PublicKey), digest, signature)
		}},
		{"EC:secp384r1", large[:], crypto.SHA384, func(public crypto.PublicKey, digest, signature []byte) bool {
			return ecdsa.VerifyASN1(public.(*ecdsa.PublicKey), digest, signature)
		}},
	} {
		signer, err := token.OpenSigner(t.Context(), test.label, false)
		if err != nil {
			t.Fatal(err)
		}
		signature, err := signer.Sign(rand.Reader, test.digest, test.opts)
		if err != nil || !test.good(signer.Public(), test.digest, signature) {
			t.Errorf("%s: error %v, or a signature that does not verify", test.label, err)
		}
		if err := signer.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := signer.Sign(rand.Reader, test.digest, test.opts); !errors.Is(err, hsm.ErrClosed) {
			t.Errorf("%s: a signer that was closed gives %v", test.label, err)
		}
	}
}

// Sessions that die are got over by every signer there is, however many ask it at
// a time; and whoever asks cannot have a refused PIN tried again.
func TestSignerOverDeadSessions(t *testing.T) {
	f := openFaulty(t)
	signer, err := f.token.OpenSigner(t.Context(), "tls", true)
	if err != nil {
		t.Fatal(err)
	}
	public := signer.Public().(*ecdsa.PublicKey)
	digest := sha256.Sum256([]byte("handshake"))
	sign := func() error {
		signature, err := signer.Sign(rand.Reader, digest[:], crypto.SHA256)
		if err == nil && !ecdsa.VerifyASN1(public, digest[:], signature) {
			t.Error("the signature does not verify")
		}
		return err
	}
	for range 3 {
		f.fault.DropSessions()
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if err := sign(); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if err := f.answer(t, 0); err != nil {
			t.Error(err)
		}
	}
	f.fault.ResetCalls()
	f.fault.WrongPIN(true)
	f.fault.DropSessions()
	for range 4 {
		if err := sign(); err == nil {
			t.Error("signed, though nobody is logged in")
		}
	}
	if n := f.fault.Calls("C_Login"); n != 1 {
		t.Errorf("the PIN was tried %d times, want once", n)
	}
	f.fault.WrongPIN(false)
	if err := f.token.TryPINAgain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := sign(); err != nil {
		t.Error(err)
	}
	if err := signer.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
