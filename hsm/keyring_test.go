package hsm_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"

	"latchkey/card"
	"latchkey/hsm"
	softhsmtest "latchkey/softhsm-test"
)

// To be named in AllowExtractable makes up for one thing only: being extractable.
func TestAllowExtractable(t *testing.T) {
	fixture := softhsmtest.New(t)
	keys := map[string]struct {
		traits []string
		fault  string // of the key that is named, "" where it answers
	}{
		"good":                     {nil, ""},
		"extractable":              {[]string{"extractable"}, ""},
		"insensitive":              {[]string{"insensitive"}, "not sensitive"},
		"extractable, insensitive": {[]string{"extractable", "insensitive"}, "not sensitive"},
		"extractable, useless":     {[]string{"extractable", "useless"}, "none of CKA_DERIVE"},
	}
	var named []string
	for label, k := range keys {
		named = append(named, label)
		fixture.Plant(t, label, k.traits...)
	}
	respond := func(token *hsm.Token, label string) error {
		key := card.AdminKey{Master: label, Version: 1, Scheme: card.LatchkeyV1, Type: card.AES256, Data: []byte("SN-0001")}
		_, err := token.Respond(t.Context(), key, card.AESECB, challenge)
		return err
	}
	t.Run("named", func(t *testing.T) {
		token := fixture.Open(t, func(c *hsm.Config) { c.AllowExtractable = named })
		for label, k := range keys {
			err := respond(token, label)
			if k.fault == "" && err != nil || k.fault != "" && (!errors.Is(err, hsm.ErrKeyUnfit) || !strings.Contains(err.Error(), k.fault)) {
				t.Errorf("%s: %v, want %q", label, err, k.fault)
			}
		}
	})
	t.Run("not named", func(t *testing.T) {
		token := fixture.Open(t, func(c *hsm.Config) { c.AllowExtractable = []string{"another"} })
		for label := range keys {
			if err := respond(token, label); (err == nil) != (label == "good") {
				t.Errorf("%s: %v", label, err)
			}
		}
	})
}

// A token that knows no CKA_ALLOWED_MECHANISMS gets its keys without, and they say so.
// One that fails by another code is not asked twice.
func TestTokenWithoutAllowedMechanisms(t *testing.T) {
	f := openFaulty(t)
	keys := func() map[string]hsm.Key {
		list, err := f.token.Keys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		byLabel := make(map[string]hsm.Key)
		for _, k := range list {
			byLabel[k.Label] = k
		}
		return byLabel
	}
	f.fault.Fail("C_GenerateKey", pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, 1)
	if _, err := f.token.Generate(t.Context(), master("generated", card.AES256, hsm.ForDeriving)); err != nil {
		t.Fatal(err)
	}
	f.fault.Fail("C_CreateObject", pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, 1)
	value := slices.Repeat([]byte{1, 2, 3, 4, 5, 6, 7, 8}, 4)
	if _, err := f.token.Import(t.Context(), master("imported", card.AES256, hsm.ForDeriving), value); err != nil {
		t.Fatal(err)
	}
	f.fault.Fail("C_GenerateKey", pkcs11.CKR_TEMPLATE_INCONSISTENT, 1)
	if _, err := f.token.Generate(t.Context(), master("refused", card.AES256, hsm.ForDeriving)); err == nil {
		t.Error("a template that the token finds inconsistent was tried again")
	}
	got := keys()
	want, err := f.token.CheckValue(t.Context(), card.AES256, value, hsm.AESCMACZero)
	if err != nil {
		t.Fatal(err)
	}
	if kcv := got["imported"].KCV; !slices.Contains(kcv, want) {
		t.Errorf("the imported key's check values are %v, not %v: another key was imported", kcv, want)
	}
	for label, bound := range map[string]bool{"north": true, "generated": false, "imported": false} {
		k := got[label]
		if k.Fault != "" || (len(k.Mechanisms) != 0) != bound || strings.Contains(k.Weakness, "does not bind") == bound {
			t.Errorf("%s: fault %q, mechanisms %v, weakness %q; want bound %v", label, k.Fault, k.Mechanisms, k.Weakness, bound)
		}
	}
	if _, ok := got["refused"]; ok {
		t.Error("a key stayed that could not be made")
	}
}
