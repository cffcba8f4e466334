package hsm_test

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"latchkey/card"
	"latchkey/hsm"
	softhsmtest "latchkey/softhsm-test"
)

func TestWeakKeysAreNotImported(t *testing.T) {
	token := softhsmtest.New(t).Open(t)
	for _, test := range []struct {
		t    card.KeyType
		hex  string
		want string
	}{
		{card.TDES3, strings.Repeat("00", 24), "weak"},
		{card.TDES3, "0123456789abcdef" + "0123456789abcdef" + "fedcba9876543210", "equal"},
		{card.TDES3, "0123456789abcdef" + "fedcba9876543210" + "0022446688aaccee", "equal"}, // the first but for parity
		{card.TDES2, "0123456789abcdef" + "1fe01fe00ef10ef1", "weak"},
		{card.TDES2, "0123456789abcdef" + "fedcba9876543210", ""},
		{card.TDES3, "62ae9bfea8b52367b6fb4fcba2ece5a7c707683715ec8943", ""},
		{card.AES256, strings.Repeat("ff", 32), "over and over"},
		{card.AES128, "404142434445464748494a4b4c4d4e4f", ""},
	} {
		value, err := hex.DecodeString(test.hex)
		if err != nil {
			t.Fatal(err)
		}
		_, err = token.Import(t.Context(), master("m-"+test.hex[:8]+string(test.t), test.t, hsm.ForEncrypting), value)
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", test.hex, err)
		case test.want != "" && (!errors.Is(err, hsm.ErrKeyUnfit) || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: %v, want it refused for %q", test.hex, err, test.want)
		}
	}
}
