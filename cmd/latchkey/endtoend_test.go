package main

import (
	"encoding/hex"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/card"
	"latchkey/server/api"
	"latchkey/softhsm-test/softtoken"
	"latchkey/softhsm-test/virtualcard"
)

// benchMaster is the master key of the cards below, which openssl and the token
// both work with.
const benchMaster = "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F"

// benchProfiles goes behind the demonstration's profiles.
const benchProfiles = `
  - {id: bench-tdes, card_key_type: tdes3, scheme: latchkey-v1, master_key: bench, wrong_responses_survived: unlimited}
  - {id: bench-aes, card_key_type: aes256, scheme: latchkey-v1, master_key: bench, wrong_responses_survived: 5}
`

// A card from a blocked PIN to a new one, through the binary over mutual TLS and
// the HSM. openssl personalises the card and computes its response once more, so
// what the token does is held against code that is not ours.
func TestUnblockEndToEnd(t *testing.T) {
	server := newInstance(t, benchProfiles)
	softHSM, conf, _ := strings.Cut(server.softHSM(), "=")
	t.Setenv(softHSM, conf)
	t.Setenv("LATCHKEY_SERVER", server.url)
	administrator := "--client=" + filepath.Join(server.dir, "clients", "administrator.yaml")
	operator := "--client=" + filepath.Join(server.dir, "clients", "anna.yaml")
	// The server runs already and has to find the key when it is asked for.
	output(t, []byte(benchMaster), "latchkey", "key", "import", "bench", "--config", filepath.Join(server.dir, "latchkey.yaml"))

	for _, family := range []struct {
		keyType card.KeyType
		profile string
		cipher  string // openssl's
	}{
		{card.TDES3, "bench-tdes", "-des-ede3"},
		{card.AES256, "bench-aes", "-aes-256-ecb"},
	} {
		t.Run(family.profile, func(t *testing.T) {
			serial := "BENCH-" + string(family.keyType)
			key := opensslCardKey(t, family.keyType, serial)
			c, err := virtualcard.New(virtualcard.Config{Serial: serial, KeyType: family.keyType, AdminKey: key, PIN: "12345678"})
			if err != nil {
				t.Fatal(err)
			}
			for !c.Blocked() {
				if err := c.VerifyPIN("00000000"); err == nil {
					t.Fatal("the card takes a wrong PIN")
				}
			}
			output(t, marshal(t, api.CardType{
				ID: family.profile, Name: family.profile, Profile: family.profile, UnblockRemote: map[string]bool{"blocked": true},
			}), "latchkey", "card-type", "put", "-", administrator)
			output(t, marshal(t, api.Card{
				Serial: serial, Type: family.profile, State: "blocked", Holder: api.Holder{ID: "b", Name: "Bench", State: "active"},
			}), "latchkey", "card", "put", "-", administrator)

			challenge, err := c.Challenge()
			if err != nil {
				t.Fatal(err)
			}
			var answer api.Response
			out := output(t, nil, "latchkey", "unblock", serial, "--challenge", card.Challenge(challenge).Grouped(), "--reason", "end to end", "--json", operator)
			if err := json.Unmarshal(out, &answer); err != nil {
				t.Fatal(err)
			}
			want := output(t, challenge, "openssl", "enc", family.cipher, "-K", hex.EncodeToString(key), "-nopad")
			if got := answer.Response; got != strings.ToUpper(hex.EncodeToString(want)) {
				t.Fatal("the token's response is not openssl's")
			}
			if err := c.Authenticate(want); err != nil {
				t.Fatalf("the card does not take the response: %v", err)
			}
			if err := c.SetPIN("87654321"); err != nil {
				t.Fatal(err)
			}
			if err := c.VerifyPIN("87654321"); err != nil {
				t.Errorf("the new PIN does not work: %v", err)
			}
			output(t, nil, "latchkey", "process", "complete", answer.Unblock, "pin-changed", operator)
		})
	}

	// What the token holds is the three master keys: no card's key stayed.
	token, err := softtoken.Existing(filepath.Join(server.dir, "token"), "latchkey-demo")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("LATCHKEY_TEST_PIN", token.PIN)
	objects := string(output(t, nil, "pkcs11-tool", "--module", token.Module, "--login", "--pin", "env:LATCHKEY_TEST_PIN", "--list-objects"))
	if strings.Count(objects, "Object; ") != 3 || strings.Count(objects, "label:") != 3 {
		t.Errorf("the token holds other objects than the keys fleet, virtual-cards and bench:\n%s", objects)
	}
}

// opensslCardKey derives a card's admin key by scheme latchkey-v1.
func opensslCardKey(t *testing.T, keyType card.KeyType, serial string) []byte {
	t.Helper()
	data := strings.Join([]string{"latchkey-v1", string(keyType), serial}, "\x00")
	hash := output(t, []byte(data), "openssl", "dgst", "-sha256", "-binary")
	return output(t, hash, "openssl", "enc", "-aes-256-cbc", "-K", benchMaster, "-iv", strings.Repeat("00", 16), "-nopad")[:keyType.Len()]
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
