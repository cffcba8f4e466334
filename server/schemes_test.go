package server

import (
	"bytes"
	"crypto/aes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/hsm"
	"latchkey/server/api"
	"latchkey/softhsm-test/virtualcard"
)

// wrap is RFC 3394, from the RFC's index form of the algorithm: what whoever
// personalised the card did to its key.
func wrap(t testing.TB, kek, key []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(kek)
	if err != nil {
		t.Fatal(err)
	}
	n := len(key) / 8
	a := bytes.Repeat([]byte{0xA6}, 8)
	r := slices.Clone(key)
	for j := range 6 {
		for i := range n {
			b := slices.Concat(a, r[8*i:8*i+8])
			block.Encrypt(b, b)
			binary.BigEndian.PutUint64(a, binary.BigEndian.Uint64(b)^uint64(n*j+i+1))
			copy(r[8*i:], b[8:])
		}
	}
	return append(a, r...)
}

// A virtual card for each scheme whose keys do not come from the serial number
// gets a new PIN through the API. The card keys are known by other means than the
// HSM: the first is the vendor's, the others are published by GlobalPlatformPro and
// by NIST (CAVS).
func TestUnblockByScheme(t *testing.T) {
	w := newWorld(t)
	w.stock()
	kek := []byte("a wrapping key of 32 bytes: 4C4B")
	for _, master := range []struct {
		key   hsm.NewKey
		value []byte
	}{
		{hsm.NewKey{Label: "wrapping", Version: 1, Type: card.AES256, Use: hsm.ForUnwrapping}, kek},
		{hsm.NewKey{Label: "kdf3", Version: 1, Type: card.AES128, Use: hsm.ForMACs}, unhex(t, "404142434445464748494A4B4C4D4E4F")},
		{hsm.NewKey{Label: "counter", Version: 1, Type: card.AES256, Use: hsm.ForMACs}, unhex(t, "746C44C4129858D89E50E09DC44AEC2AB2158C2E0C6BB73B35588E94E33A1958")},
	} {
		if _, err := w.token.Import(t.Context(), master.key, master.value); err != nil {
			t.Fatal(err)
		}
	}
	vendors := unhex(t, "0123456789ABCDEF23456789ABCDEF01456789ABCDEF0123")
	wrapped := aCard("wrapped")
	wrapped.WrappedKey = hex.EncodeToString(wrap(t, kek, vendors))
	kdf3 := aCard("kdf3")
	kdf3.KDD = "00010203040506070809"
	counter := aCard("counter")
	counter.CUID = "EBEED6A0462577B6B4E2FE4697C6AE6E1C6B8B9FD14381247BC2CF2C06D7AFB55B06389612A85D0A69A1486EB399E7F314B234FD44908396B55F6E67"
	for _, test := range []struct {
		serial string
		body   api.Card
		key    card.KeyType
		admin  []byte
	}{
		{"WRAPPED", wrapped, card.TDES3, vendors},
		{"KDF3", kdf3, card.AES128, unhex(t, "808BC985A1069AD2A9AC94E0FE7B8843")},
		{"COUNTER", counter, card.AES128, unhex(t, "85E1CD8CEA5A43F7F5B626FA7666F550")},
	} {
		t.Run(test.serial, func(t *testing.T) {
			w.must(http.StatusCreated, nil, "backend", "PUT", "/v1/cards/"+test.serial, test.body)
			c, err := virtualcard.New(virtualcard.Config{Serial: test.serial, KeyType: test.key, AdminKey: test.admin, PIN: "1234", PINTries: 1})
			if err != nil {
				t.Fatal(err)
			}
			challenge, err := c.Challenge()
			if err != nil {
				t.Fatal(err)
			}
			var answered api.Response
			w.must(http.StatusOK, &answered, "anna", "POST", "/v1/cards/"+test.serial+"/response",
				api.Respond{Challenge: card.Challenge(challenge).Hex(), Reason: "INC-1"})
			if err := c.Authenticate(unhex(t, answered.Response)); err != nil {
				t.Fatalf("the card does not take the response: %v", err)
			}
			if err := c.SetPIN("9876"); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Wrapped keys come in bulk. Only the key of a card that is registered changes,
// and nobody is told it.
func TestImportKeys(t *testing.T) {
	w := newWorld(t)
	w.stock()
	for _, serial := range []string{"W-1", "W-2"} {
		w.must(http.StatusCreated, nil, "backend", "PUT", "/v1/cards/"+serial, aCard("wrapped"))
	}
	one, two := strings.Repeat("A1", 32), strings.Repeat("B2", 32)
	lines := func(keys ...api.WrappedKey) string {
		var text strings.Builder
		for _, k := range keys {
			line, err := json.Marshal(k)
			if err != nil {
				t.Fatal(err)
			}
			text.Write(append(line, '\n'))
		}
		return text.String()
	}
	imported := func(client, body string) ([]api.ImportLine, api.ImportCounts) {
		t.Helper()
		// Past the transport that holds each body against the contract: it takes lines
		// of JSON for one value.
		plain := &http.Transport{TLSClientConfig: w.tlsConfig(client)}
		defer plain.CloseIdleConnections()
		response, err := (&http.Client{Transport: plain}).Post(w.url+"/v1/cards:import-keys", api.NDJSON, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		answer, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("%d %v\n%s", response.StatusCode, err, answer)
		}
		list := strings.Split(strings.TrimSpace(string(answer)), "\n")
		results := make([]api.ImportLine, len(list)-1)
		for i := range results {
			w.contract.valid(t, "ImportLine", []byte(list[i]))
			if err := json.Unmarshal([]byte(list[i]), &results[i]); err != nil {
				t.Fatal(err)
			}
		}
		var summary api.ImportSummary
		if err := json.Unmarshal([]byte(list[len(list)-1]), &summary); err != nil {
			t.Fatal(err)
		}
		return results, summary.Summary
	}
	logged := len(w.entries())
	var before api.Card
	w.must(http.StatusOK, &before, "anna", "GET", "/v1/cards/W-1", nil)

	results, counts := imported("backend", lines(
		api.WrappedKey{Serial: "W-1", WrappedKey: one, MasterKeyVersion: 3},
		api.WrappedKey{Serial: "W-2", WrappedKey: one},
		api.WrappedKey{Serial: "W-2", WrappedKey: two}, // the last one holds
		api.WrappedKey{Serial: "W-2", WrappedKey: two},
		api.WrappedKey{Serial: "NONE", WrappedKey: one},
		api.WrappedKey{Serial: "GOOD", WrappedKey: one},
		api.WrappedKey{Serial: "GONE", WrappedKey: one},
		api.WrappedKey{Serial: "W-1", WrappedKey: one[2:]},
		api.WrappedKey{Serial: "W-1", WrappedKey: "A1G"},
		api.WrappedKey{Serial: "W-1"},
		api.WrappedKey{Serial: "W-1", WrappedKey: one, MasterKeyVersion: 10000},
	)+`{"serial":"W-1","wrapped_key":"`+one+`","state":"lost"}`)
	type result struct{ outcome, code, fault string }
	want := []result{
		{"updated", "", ""}, {"updated", "", ""}, {"updated", "", ""}, {"unchanged", "", ""},
		{"refused", "card-unknown", ""},
		{"refused", "invalid-request", "profile gids has scheme latchkey-v1, which takes no wrapped key; leave it out"},
		{"refused", "profile-unknown", ""},
		{"refused", "invalid-request", "31 bytes; aes-key-wrap of a key of type tdes3, as profile wrapped wants it, has 32"},
		{"refused", "invalid-request", "is not hex, two digits a byte"},
		{"refused", "invalid-request", "is required"},
		{"refused", "invalid-request", "must be from 1 to 9999, or left out"},
		{"refused", "malformed-json", ""},
	}
	if len(results) != len(want) {
		t.Fatalf("%d results, want %d", len(results), len(want))
	}
	for i, l := range results {
		got := result{outcome: l.Result}
		if l.Problem != nil {
			got.code = l.Problem.Code
			for _, f := range l.Problem.Faults {
				got.fault += f.Detail
			}
		}
		if l.Line != i+1 || got != want[i] {
			t.Errorf("line %d: %+v, want %+v", l.Line, got, want[i])
		}
	}
	if wanted := (api.ImportCounts{Lines: 12, Updated: 3, Unchanged: 1, Refused: 8}); counts != wanted {
		t.Errorf("summary %+v, want %+v", counts, wanted)
	}

	// What is kept, and what is told of it.
	for serial, want := range map[string]struct {
		key     string
		version int
	}{"W-1": {one, 3}, "W-2": {two, 1}} {
		kept, err := w.store.Card(t.Context(), serial)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.ToUpper(hex.EncodeToString(kept.WrappedKey)); got != want.key || kept.MasterKeyVersion != want.version {
			t.Errorf("card %s has key %s of version %d, want %s of %d", serial, got, kept.MasterKeyVersion, want.key, want.version)
		}
	}
	var after api.Card
	w.must(http.StatusOK, &after, "anna", "GET", "/v1/cards/W-1", nil)
	before.HasWrappedKey, before.MasterKeyVersion = true, 3
	if plain(t, after) != plain(t, before) {
		t.Errorf("the card is now\n%s, want\n%s", plain(t, after), plain(t, before))
	}
	entries := w.entries()[logged:]
	if len(entries) != 3 {
		t.Fatalf("%d audit entries for 3 keys", len(entries))
	}
	for _, e := range entries {
		if e.Action != audit.CardKeyPut || e.Outcome != audit.Permit || e.Client != "backend" || e.Profile != "wrapped" ||
			!strings.HasPrefix(e.Detail, "wrapped key with SHA-256 ") || strings.Contains(plain(t, e), one) {
			t.Errorf("audit entry: %+v", e)
		}
	}

	// Synchronising the card's data keeps its key; what was read can be sent back.
	w.must(http.StatusOK, &after, "admin", "PUT", "/v1/cards/W-1", after)
	if !after.HasWrappedKey || after.WrappedKey != "" {
		t.Errorf("after a synchronisation: %+v", after)
	}
	if kept, err := w.store.Card(t.Context(), "W-1"); err != nil || len(kept.WrappedKey) != 32 {
		t.Errorf("a key of %d bytes is left, error %v", len(kept.WrappedKey), err)
	}
	if a := w.call("anna", "POST", "/v1/cards:import-keys", lines(api.WrappedKey{Serial: "W-1", WrappedKey: two}), "Content-Type", api.NDJSON); a.problem(t).Code != codeRole {
		t.Errorf("an operator's import: %d %s", a.status, a.body)
	}
	bad := aCard("gids")
	bad.WrappedKey = one
	if a := w.call("backend", "PUT", "/v1/cards/W-3", bad); a.problem(t).Code != codeInvalid {
		t.Errorf("a wrapped key of a card that has none: %d %s", a.status, a.body)
	}
}
