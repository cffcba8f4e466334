package softhsmtest_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"latchkey/card"
	"latchkey/hsm"
	softhsmtest "latchkey/softhsm-test"
	"latchkey/softhsm-test/virtualcard"
)

// masterKey is the test master key, AES-256: its bytes are known so that openssl
// can do what the token does.
const masterKey = "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F"

// OpenSSL runs the openssl command: another hand than Go's, SoftHSM's and ours.
func OpenSSL(tb testing.TB, stdin []byte, args ...string) []byte {
	tb.Helper()
	command := exec.CommandContext(tb.Context(), "openssl", args...)
	command.Stdin = bytes.NewReader(stdin)
	var stderr strings.Builder
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		tb.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return out
}

// AdminKey computes a card's admin key the latchkey-v1 way (docs/schemes.md)
// with openssl alone.
func AdminKey(tb testing.TB, keyType card.KeyType, serial string) []byte {
	tb.Helper()
	data := OpenSSL(tb, fmt.Appendf(nil, "latchkey-v1\x00%s\x00%s", keyType, serial), "dgst", "-sha256", "-binary")
	key := OpenSSL(tb, data, "enc", "-aes-256-cbc", "-nopad", "-K", masterKey, "-iv", strings.Repeat("0", 32))
	return key[:keyType.Len()]
}

// Response computes the response to a challenge with openssl alone.
func Response(tb testing.TB, keyType card.KeyType, key, challenge []byte) []byte {
	tb.Helper()
	cipher := map[card.KeyType]string{
		card.TDES2: "-des-ede", card.TDES3: "-des-ede3",
		card.AES128: "-aes-128-ecb", card.AES192: "-aes-192-ecb", card.AES256: "-aes-256-ecb",
	}[keyType]
	return OpenSSL(tb, challenge, "enc", cipher, "-nopad", "-K", hex.EncodeToString(key))
}

// testMaster is masterKey's bytes.
func testMaster(tb testing.TB) []byte {
	tb.Helper()
	value, err := hex.DecodeString(masterKey)
	if err != nil {
		tb.Fatal(err)
	}
	return value
}

// importMaster puts the test master key into the token.
func importMaster(tb testing.TB, token *hsm.Token) {
	tb.Helper()
	if _, err := token.Import(tb.Context(), hsm.NewKey{Label: "master", Version: 1, Type: card.AES256, Use: hsm.ForDeriving}, testMaster(tb)); err != nil {
		tb.Fatal(err)
	}
}

// issueCard makes a card whose admin key is the one derived for its serial number.
func issueCard(tb testing.TB, keyType card.KeyType, serial string) *virtualcard.Card {
	tb.Helper()
	c, err := virtualcard.New(virtualcard.Config{
		Serial: serial, KeyType: keyType, AdminKey: AdminKey(tb, keyType, serial), PIN: "1234",
	})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// blockCard enters wrong PINs until the card's PIN is blocked.
func blockCard(tb testing.TB, c *virtualcard.Card) {
	tb.Helper()
	for range virtualcard.DefaultPINTries {
		if err := c.VerifyPIN("0000"); err == nil {
			tb.Fatal("the card takes a wrong PIN")
		}
	}
	if err := c.VerifyPIN("1234"); !errors.Is(err, virtualcard.Blocked) {
		tb.Fatalf("after %d wrong PINs the card answers the right one with %v", virtualcard.DefaultPINTries, err)
	}
}

func adminKeyOf(keyType card.KeyType, serial string) card.AdminKey {
	return card.AdminKey{Master: "master", Version: 1, Scheme: card.LatchkeyV1, Type: keyType, Data: []byte(serial)}
}

// The heart of the product against the real thing at both ends: SoftHSM derives
// and encrypts, a card that knows its own key judges, openssl recomputes.
func TestUnblockWithToken(t *testing.T) {
	fixture := softhsmtest.New(t)
	token := fixture.Open(t)
	importMaster(t, token)
	for _, keyType := range card.KeyTypes() {
		t.Run(string(keyType), func(t *testing.T) {
			serial := "GIDS-" + string(keyType)
			c := issueCard(t, keyType, serial)
			blockCard(t, c)

			// Another card's response is of no use, however right it is there.
			challenge, err := c.Challenge()
			if err != nil {
				t.Fatal(err)
			}
			alg := card.AlgorithmFor(keyType)
			foreign, err := token.Respond(t.Context(), adminKeyOf(keyType, "GIDS-other"), alg, challenge)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Authenticate(foreign); !errors.Is(err, virtualcard.NotAuthenticated) {
				t.Errorf("the card answers the response of another card with %v", err)
			}

			if challenge, err = c.Challenge(); err != nil {
				t.Fatal(err)
			}
			response, err := token.Respond(t.Context(), adminKeyOf(keyType, serial), alg, challenge)
			if err != nil {
				t.Fatal(err)
			}
			if want := Response(t, keyType, AdminKey(t, keyType, serial), challenge); !bytes.Equal(response, want) {
				t.Errorf("the token's response to %X is %X, openssl's %X", challenge, []byte(response), want)
			}
			if err := c.Authenticate(response); err != nil {
				t.Fatal(err)
			}
			if err := c.SetPIN("583920"); err != nil {
				t.Fatal(err)
			}
			if err := c.VerifyPIN("1234"); err == nil {
				t.Error("the card still takes the old PIN")
			}
			if err := c.VerifyPIN("583920"); err != nil {
				t.Errorf("the card does not take the new PIN: %v", err)
			}
		})
	}
}

// Card keys exist in a session for the length of one answer. After hundreds of
// answers, right and failed, none may be left: neither in the token, where
// another program would find it, nor in a session, where only this process can.
func TestNoCardKeyIsLeft(t *testing.T) {
	fixture := softhsmtest.New(t)
	token := fixture.Open(t)
	importMaster(t, token)

	challenge := card.Challenge("0123456789ABCDEF")
	fails := func(change func(*card.AdminKey)) card.AdminKey {
		key := adminKeyOf(card.AES256, "fails")
		change(&key)
		return key
	}
	failing := map[error]card.AdminKey{
		hsm.ErrKeyUnknown: fails(func(k *card.AdminKey) { k.Version = 2 }),
		hsm.ErrKeyUnfit:   fails(func(k *card.AdminKey) { k.Scheme = card.Static }),
		hsm.ErrInput:      fails(func(k *card.AdminKey) { k.Data = nil }),
	}
	const callers, rounds = 8, 50
	var group sync.WaitGroup
	for caller := range callers {
		group.Go(func() {
			for round := range rounds {
				serial := fmt.Sprintf("GIDS-%d-%d", caller, round)
				for _, keyType := range []card.KeyType{card.TDES3, card.AES256} {
					if _, err := token.Respond(t.Context(), adminKeyOf(keyType, serial), card.AlgorithmFor(keyType), challenge); err != nil {
						t.Errorf("%s %s: %v", keyType, serial, err)
					}
				}
				for want, key := range failing {
					if _, err := token.Respond(t.Context(), key, card.AESECB, challenge); !errors.Is(err, want) {
						t.Errorf("an answer that must fail gives %v, want %v", err, want)
					}
				}
			}
		})
	}
	group.Wait()

	if got := fixture.Objects(t); !slices.Equal(got, []string{"master"}) {
		t.Errorf("after the answers this process sees the objects %q; want the master key alone", got)
	}
	listed := fixture.PKCS11Tool(t, "--list-objects")
	if strings.Count(listed, "Object") != 1 || !strings.Contains(listed, "master") {
		t.Errorf("after the answers another process sees\n%s\nwant the master key alone", listed)
	}
}
