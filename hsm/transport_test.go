package hsm_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"errors"
	"strings"
	"testing"

	"latchkey/card"
	"latchkey/hsm"
	softhsmtest "latchkey/softhsm-test"
)

func master(label string, t card.KeyType, use hsm.Use) hsm.NewKey {
	return hsm.NewKey{Label: label, Version: 1, Type: t, Use: use}
}

// respondAs answers a fixed challenge for a fixed card under a master key.
func respondAs(t *testing.T, token *hsm.Token, label string) string {
	t.Helper()
	key := card.AdminKey{Master: label, Version: 1, Scheme: card.LatchkeyV1, Type: card.AES256, Data: []byte("SN-0001")}
	response, err := token.Respond(t.Context(), key, card.AESECB, make(card.Challenge, 16))
	if err != nil {
		t.Fatal(err)
	}
	return response.Hex()
}

// A master key that is made here, backed up to the transport key and imported
// under another name answers as the first does, and its value was never in the
// clear.
func TestBackupIsTheSameKey(t *testing.T) {
	token := softhsmtest.New(t).Open(t)
	transport, err := token.MakeTransportKey(t.Context(), "transport")
	if err != nil {
		t.Fatal(err)
	}
	again, err := token.MakeTransportKey(t.Context(), "transport")
	if err != nil || again.Fingerprint != transport.Fingerprint {
		t.Fatalf("asked again, the transport key is %s, %v; want %s", again.Fingerprint, err, transport.Fingerprint)
	}
	backup, err := token.GenerateWithBackup(t.Context(), master("first", card.AES256, hsm.ForDeriving), transport)
	if err != nil {
		t.Fatal(err)
	}
	if k := backup.Key; k.Extractable || !k.AlwaysSensitive || k.NeverExtractable || k.Fault != "" {
		t.Errorf("the key that stays: %+v; want it sensitive and not extractable, and the token to know that it was", k)
	}
	copied, err := token.ImportWrapped(t.Context(), master("second", card.AES256, hsm.ForDeriving), "transport", backup.Wrapped)
	if err != nil {
		t.Fatal(err)
	}
	if copied.KCV[0] != backup.Key.KCV[0] {
		t.Errorf("check values %v and %v differ", copied.KCV, backup.Key.KCV)
	}
	if respondAs(t, token, "first") != respondAs(t, token, "second") {
		t.Error("the backup is another key")
	}
}

func TestWrappedImports(t *testing.T) {
	token := softhsmtest.New(t).Open(t)
	transport, err := token.MakeTransportKey(t.Context(), "transport")
	if err != nil {
		t.Fatal(err)
	}
	kek, value := random(t, 32), random(t, 32)
	if _, err := token.Import(t.Context(), master("kek", card.AES256, hsm.ForUnwrapping), kek); err != nil {
		t.Fatal(err)
	}
	if _, err := token.Import(t.Context(), master("clear", card.AES256, hsm.ForDeriving), value); err != nil {
		t.Fatal(err)
	}
	want := respondAs(t, token, "clear")

	under := wrap(t, kek, value)
	if _, err := token.ImportUnder(t.Context(), master("under", card.AES256, hsm.ForDeriving), "kek", 1, card.KeyWrap, under); err != nil {
		t.Fatal(err)
	}
	if got := respondAs(t, token, "under"); got != want {
		t.Error("imported under a wrapping key, the master key answers otherwise")
	}
	oaep, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, transport.Public, value, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := token.ImportWrapped(t.Context(), master("oaep", card.AES256, hsm.ForDeriving), "transport", oaep); err != nil {
		t.Fatal(err)
	}
	if got := respondAs(t, token, "oaep"); got != want {
		t.Error("imported by RSA-OAEP, the master key answers otherwise")
	}
	kcv, err := token.CheckValue(t.Context(), card.AES256, value, hsm.AESCMACZero)
	if err != nil {
		t.Fatal(err)
	}
	expected := hsm.NewKey{Label: "expected", Version: 1, Type: card.AES256, Use: hsm.ForDeriving, KCV: kcv}
	if _, err := token.ImportWrapped(t.Context(), expected, "transport", oaep); err != nil {
		t.Errorf("with the check value that it has: %v", err)
	}

	before, err := token.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, refused := range map[string]error{
		"another length":  errOf(token.ImportUnder(t.Context(), master("x", card.AES128, hsm.ForDeriving), "kek", 1, card.KeyWrap, under)),
		"spoiled":         errOf(token.ImportUnder(t.Context(), master("x", card.AES256, hsm.ForDeriving), "kek", 1, card.KeyWrap, append([]byte{1}, under[1:]...))),
		"no integrity":    errOf(token.ImportUnder(t.Context(), master("x", card.AES256, hsm.ForDeriving), "kek", 1, card.CBCPad, under)),
		"wrong use":       errOf(token.ImportUnder(t.Context(), master("x", card.AES256, hsm.ForDeriving), "clear", 1, card.KeyWrap, under)),
		"name taken":      errOf(token.ImportUnder(t.Context(), master("under", card.AES256, hsm.ForDeriving), "kek", 1, card.KeyWrap, under)),
		"oaep spoiled":    errOf(token.ImportWrapped(t.Context(), master("x", card.AES256, hsm.ForDeriving), "transport", append([]byte{1}, oaep[1:]...))),
		"no such pair":    errOf(token.ImportWrapped(t.Context(), master("x", card.AES256, hsm.ForDeriving), "nothing", oaep)),
		"another KCV":     errOf(token.ImportWrapped(t.Context(), hsm.NewKey{Label: "x", Version: 1, Type: card.AES256, Use: hsm.ForDeriving, KCV: hsm.KCV{Convention: hsm.AESCMACZero, Value: "000000"}}, "transport", oaep)),
		"oaep, TDES type": errOf(token.ImportWrapped(t.Context(), master("x", card.TDES3, hsm.ForDeriving), "transport", oaep)),
	} {
		if refused == nil {
			t.Errorf("%s: imported", name)
		}
	}
	after, err := token.Keys(t.Context())
	if err != nil || len(after) != len(before) {
		t.Errorf("refused imports left %d keys, %v; want %d", len(after), err, len(before))
	}
}

func errOf(_ hsm.Key, err error) error { return err }

func TestDestroy(t *testing.T) {
	fixture := softhsmtest.New(t)
	token := fixture.Open(t)
	for _, label := range []string{"goes", "stays"} {
		if _, err := token.Generate(t.Context(), master(label, card.AES256, hsm.ForDeriving)); err != nil {
			t.Fatal(err)
		}
	}
	if err := token.Destroy(t.Context(), "goes", 1); err != nil {
		t.Fatal(err)
	}
	key := card.AdminKey{Master: "goes", Version: 1, Scheme: card.LatchkeyV1, Type: card.AES256, Data: []byte("SN-0001")}
	if _, err := token.Respond(t.Context(), key, card.AESECB, make(card.Challenge, 16)); !errors.Is(err, hsm.ErrKeyUnknown) {
		t.Errorf("a destroyed key: %v, want ErrKeyUnknown", err)
	}
	if err := token.Destroy(t.Context(), "goes", 1); !errors.Is(err, hsm.ErrKeyUnknown) {
		t.Errorf("destroyed twice: %v, want ErrKeyUnknown", err)
	}
	respondAs(t, token, "stays")
	if list := fixture.PKCS11Tool(t, "--list-objects"); strings.Contains(list, "goes") || !strings.Contains(list, "stays") {
		t.Errorf("pkcs11-tool still sees:\n%s", list)
	}
}
