package hsm_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"testing"

	"latchkey/card"
	"latchkey/hsm"
	softhsmtest "latchkey/softhsm-test"
)

// wrap is RFC 3394, from the RFC's index form of the algorithm: what whoever
// personalised the card did to its key.
func wrap(t *testing.T, kek, key []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(kek)
	if err != nil {
		t.Fatal(err)
	}
	n := len(key) / 8
	a := []byte{0xA6, 0xA6, 0xA6, 0xA6, 0xA6, 0xA6, 0xA6, 0xA6}
	r := append([]byte{}, key...)
	for j := range 6 {
		for i := range n {
			b := append(append([]byte{}, a...), r[8*i:8*i+8]...)
			block.Encrypt(b, b)
			copy(a, b)
			binary.BigEndian.PutUint64(a, binary.BigEndian.Uint64(a)^uint64(n*j+i+1))
			copy(r[8*i:], b[8:])
		}
	}
	return append(a, r...)
}

func softwareECB(t *testing.T, kt card.KeyType, key, challenge []byte) []byte {
	t.Helper()
	var block cipher.Block
	var err error
	switch kt {
	case card.TDES2:
		block, err = des.NewTripleDESCipher(append(append([]byte{}, key...), key[:8]...))
	case card.TDES3:
		block, err = des.NewTripleDESCipher(key)
	case card.AES128, card.AES192, card.AES256:
		block, err = aes.NewCipher(key)
	}
	if err != nil {
		t.Fatal(err)
	}
	out := make([]byte, len(challenge))
	for i := 0; i < len(challenge); i += block.BlockSize() {
		block.Encrypt(out[i:], challenge[i:])
	}
	return out
}

func random(t *testing.T, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWrappedCardKeys(t *testing.T) {
	token := softhsmtest.New(t).Open(t)
	kek := random(t, 32)
	if _, err := token.Import(t.Context(), hsm.NewKey{Label: "kek", Version: 1, Type: card.AES256, Use: hsm.ForUnwrapping}, kek); err != nil {
		t.Fatal(err)
	}
	for _, kt := range card.KeyTypes() {
		t.Run(string(kt), func(t *testing.T) {
			cardKey, challenge := random(t, kt.Len()), random(t, kt.Block())
			key := card.AdminKey{Master: "kek", Version: 1, Scheme: card.Wrapped, Type: kt, Wrapping: card.KeyWrap, Data: wrap(t, kek, cardKey)}
			response, err := token.Respond(t.Context(), key, card.AlgorithmFor(kt), challenge)
			if err != nil {
				t.Fatal(err)
			}
			if want := softwareECB(t, kt, cardKey, challenge); response.Hex() != card.Response(want).Hex() {
				t.Error("the response is not the challenge under the card's key")
			}
			key.Data[3] ^= 1 // RFC 3394 notices
			if _, err := token.Respond(t.Context(), key, card.AlgorithmFor(kt), challenge); err == nil {
				t.Error("a spoiled wrapping was answered")
			}
		})
	}
	// A wrapping key is good for nothing else, and nothing else for it.
	key := card.AdminKey{Master: "kek", Version: 1, Scheme: card.LatchkeyV1, Type: card.AES256, Data: []byte("SN-1")}
	if _, err := token.Respond(t.Context(), key, card.AESECB, random(t, 16)); !errors.Is(err, hsm.ErrKeyUnfit) {
		t.Errorf("deriving from a wrapping key: %v, want ErrKeyUnfit", err)
	}
}

// A client that has cards answered of which the wrapped keys are spoiled takes
// nobody else's answers away, though SoftHSM calls such a key a general error.
func TestSpoiledWrappedKeysHarmNobody(t *testing.T) {
	token := softhsmtest.New(t).Open(t)
	kek := random(t, 32)
	for label, use := range map[string]hsm.Use{"kek": hsm.ForUnwrapping, "fleet": hsm.ForDeriving} {
		if _, err := token.Import(t.Context(), hsm.NewKey{Label: label, Version: 1, Type: card.AES256, Use: use}, kek); err != nil {
			t.Fatal(err)
		}
	}
	spoiled := card.AdminKey{Master: "kek", Version: 1, Scheme: card.Wrapped, Type: card.AES256, Wrapping: card.KeyWrap, Data: wrap(t, kek, random(t, 32))}
	spoiled.Data[3] ^= 1
	good := card.AdminKey{Master: "fleet", Version: 1, Scheme: card.LatchkeyV1, Type: card.AES256, Data: []byte("SN-1")}
	for range 8 {
		for range 8 {
			if _, err := token.Respond(t.Context(), spoiled, card.AESECB, random(t, 16)); !errors.Is(err, hsm.ErrInput) {
				t.Fatalf("a spoiled wrapping: %v, want ErrInput", err)
			}
		}
		if _, err := token.Respond(t.Context(), good, card.AESECB, random(t, 16)); err != nil {
			t.Fatalf("after spoiled wrapped keys of another card: %v", err)
		}
	}
}
