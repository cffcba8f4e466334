package proof_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"latchkey/card"
	"latchkey/hsm"
	"latchkey/proof"
	softhsmtest "latchkey/softhsm-test"
)

// masters are the keys in the token, each with a value of its own.
var masters = []hsm.NewKey{
	{Label: "cards", Version: 1, Type: card.AES256, Use: hsm.ForDeriving},
	{Label: "cards", Version: 2, Type: card.AES256, Use: hsm.ForDeriving},
	{Label: "others", Version: 1, Type: card.AES256, Use: hsm.ForDeriving},
	{Label: "gp", Version: 1, Type: card.TDES2, Use: hsm.ForDeriving},
	{Label: "kdf", Version: 1, Type: card.AES256, Use: hsm.ForMACs},
	{Label: "kek", Version: 1, Type: card.AES256, Use: hsm.ForUnwrapping},
}

func stocked(t *testing.T) *hsm.Token {
	t.Helper()
	token := softhsmtest.New(t).Open(t)
	for i, n := range masters {
		value := make([]byte, n.Type.Len())
		for j := range value {
			value[j] = byte(17*i + 29*j + 1)
		}
		if _, err := token.Import(t.Context(), n, value); err != nil {
			t.Fatal(err)
		}
	}
	return token
}

func input(t *testing.T, text string) card.Template {
	t.Helper()
	template, err := card.ParseTemplate(text)
	if err != nil {
		t.Fatal(err)
	}
	return template
}

// base is a case in order, but for its response.
func base() proof.Case {
	c := proof.Case{
		Profile: card.Profile{
			ID: "p", Name: "p", Algorithm: card.TDESECB, ChallengeLen: 8, CardKeyType: card.TDES3,
			Scheme: card.LatchkeyV1, MasterKey: "cards", MasterKeyVersion: 1, KeyNumber: 1,
		},
		Card: card.Card{Serial: "ab12-cd34", KDD: []byte("0123456789"), CUID: []byte("0123456789abcdef0123456789ABCDEF")},
	}
	for _, m := range masters {
		c.Masters = append(c.Masters, proof.Master{Label: m.Label, Version: m.Version})
	}
	return c
}

// The right response is that of the case as it was meant. What was written
// instead is found, and only that.
func TestProve(t *testing.T) {
	token := stocked(t)
	for _, test := range []struct {
		name    string
		both    func(*proof.Case) // what the case is
		meant   func(*proof.Case) // and what it should have been
		matches []string
	}{
		{"right", nil, nil, nil},
		{"mode", func(c *proof.Case) { c.Profile.ChallengeLen = 16 }, func(c *proof.Case) { c.Profile.Algorithm = card.TDESCBC }, []string{"with response_algorithm tdes-cbc"}},
		{"version", nil, func(c *proof.Case) { c.Profile.MasterKeyVersion = 2 }, []string{"with master_key_version 2"}},
		{"version of the card", func(c *proof.Case) { c.Card.MasterKeyVersion = 2 }, func(c *proof.Case) { c.Card.MasterKeyVersion = 1 }, []string{"with master_key_version 1"}},
		{"key", nil, func(c *proof.Case) { c.Profile.MasterKey = "others" }, []string{"with master_key others version 1"}},
		{"two keys for three", nil, func(c *proof.Case) { c.Profile.CardKeyType = card.TDES2 }, []string{"with card_key_type tdes2"}},
		{"serial in upper case", nil, func(c *proof.Case) { c.Card.Serial = "AB12-CD34" }, []string{`with the serial in upper case: "AB12-CD34"`}},
		{"serial without separators", nil, func(c *proof.Case) { c.Card.Serial = "ab12cd34" }, []string{`with the serial without separators: "ab12cd34"`}},
		{"serial in groups", func(c *proof.Case) { c.Card.Serial = "ab12cd34" }, func(c *proof.Case) { c.Card.Serial = "ab12 cd34" }, []string{`with the serial in groups of four with spaces: "ab12 cd34"`}},
		{"key number", gp, func(c *proof.Case) { c.Profile.KeyNumber = 3 }, []string{"with key_number 3"}},
		{"layout", gp, func(c *proof.Case) { c.Profile.Scheme = card.EMV }, []string{"with scheme emv"}},
		{"counter", counter(t), func(c *proof.Case) { c.Profile.Counter = card.Counter{Bits: 16, After: true} }, []string{"with counter_bits 16 and counter_after true"}},
		{"chaining", func(c *proof.Case) { c.Profile.Scheme, c.Profile.Input = card.AESECBKey, input(t, "cuid[0:32]") }, func(c *proof.Case) { c.Profile.Scheme = card.AESCBCKey }, []string{"with scheme aes-cbc"}},
		{"two things at once", nil, func(c *proof.Case) { c.Profile.MasterKeyVersion, c.Card.Serial = 2, "AB12-CD34" }, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := base()
			if test.both != nil {
				test.both(&c)
			}
			c.Challenge = make(card.Challenge, c.Profile.ChallengeLen)
			for i := range c.Challenge {
				c.Challenge[i] = byte(i)
			}
			meant := c
			if test.meant != nil {
				test.meant(&meant)
			}
			key, err := meant.Profile.AdminKey(meant.Card)
			if err != nil {
				t.Fatal(err)
			}
			right, err := token.Respond(t.Context(), key, meant.Profile.Algorithm, c.Challenge)
			if err != nil {
				t.Fatal(err)
			}
			c.Response = right
			v, err := proof.Prove(t.Context(), token, c)
			if err != nil {
				t.Fatal(err)
			}
			if v.Match != (test.meant == nil) || !slices.Equal(v.Matches, test.matches) || v.Match != (v.Tried == 0) {
				t.Errorf("verdict %+v, want matches %q", v, test.matches)
			}
			if strings.Contains(fmt.Sprintf("%+v", v), right.Hex()) {
				t.Error("the verdict shows the response")
			}
		})
	}
}

// gp makes the case that of a GlobalPlatform card.
func gp(c *proof.Case) {
	c.Profile.Scheme, c.Profile.MasterKey, c.Profile.CardKeyType = card.VISA2, "gp", card.TDES2
}

// counter makes the case that of keys by SP 800-108.
func counter(t *testing.T) func(*proof.Case) {
	return func(c *proof.Case) {
		c.Profile.Scheme, c.Profile.MasterKey, c.Profile.Input = card.SP800108, "kdf", input(t, "cuid")
		c.Profile.CardKeyType, c.Profile.Algorithm, c.Profile.ChallengeLen = card.AES256, card.AESECB, 16
		c.Profile.Counter = card.Counter{Bits: 8}
	}
}

// Where the token cannot answer as the profile says, that is the error, unless a
// change helps.
func TestProveWithoutAnAnswer(t *testing.T) {
	token := stocked(t)
	c := base()
	c.Challenge = card.Challenge("01234567")
	key, err := c.Profile.AdminKey(c.Card)
	if err != nil {
		t.Fatal(err)
	}
	if c.Response, err = token.Respond(t.Context(), key, c.Profile.Algorithm, c.Challenge); err != nil {
		t.Fatal(err)
	}
	c.Profile.MasterKeyVersion = 9
	v, err := proof.Prove(t.Context(), token, c)
	if err != nil || v.Match || !slices.Equal(v.Matches, []string{"with master_key_version 1"}) || !strings.Contains(v.Fault, "cards version 9 is not in token") {
		t.Errorf("verdict %+v, error %v", v, err)
	}
	c.Response[0] ^= 1
	if v, err := proof.Prove(t.Context(), token, c); !errors.Is(err, hsm.ErrKeyUnknown) {
		t.Errorf("verdict %+v, error %v; want ErrKeyUnknown", v, err)
	}
	c.Response = c.Response[1:]
	if _, err := proof.Prove(t.Context(), token, c); err == nil {
		t.Error("a response of another length was compared")
	}
}
