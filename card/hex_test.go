package card_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"latchkey/card"
)

func TestParseHex(t *testing.T) {
	for text, want := range map[string]string{
		"0123ABCDEF456789":              "0123abcdef456789",
		"0x0123 abcd-EF45:67.89":        "0123abcdef456789",
		"\t 0123_ABCD\u2014EF45 6789\r": "0123abcdef456789",
		"O1o2 l3I4 |5i6 L7E8":           "0102131415161 7e8",
		"0":                             "",
		"0123ABCDEF4567890":             "",
		"":                              "",
	} {
		got := bytes.Repeat([]byte{0xAA}, 8)
		err := card.ParseHex(got, []byte(text))
		var wrong *card.HexError
		switch want = strings.ReplaceAll(want, " ", ""); {
		case want != "" && (err != nil || hex.EncodeToString(got) != want):
			t.Errorf("%q: %x, %v; want %s", text, got, err, want)
		case want == "" && (!errors.As(err, &wrong) || wrong.Fault != card.HexLength || wrong.Want != 16):
			t.Errorf("%q: %v, want it to have the wrong length", text, err)
		case want == "" && !bytes.Equal(got, make([]byte, 8)):
			t.Errorf("%q: %x is left of it", text, got)
		}
	}
}

// The words for a fault show nothing of what was typed: it may be a secret.
func TestHexErrors(t *testing.T) {
	for text, want := range map[string]card.HexError{
		"01 2S":      {Fault: card.HexAmbiguous, Position: 5, Character: 'S'},
		" 0x01 2q":   {Fault: card.HexAmbiguous, Position: 8, Character: 'q'},
		"012\u00fc":  {Fault: card.HexNotDigit, Position: 4, Character: '\u00fc'},
		"0120x1":     {Fault: card.HexNotDigit, Position: 5, Character: 'x'},
		"01\xff":     {Fault: card.HexNotDigit, Position: 3, Character: '\ufffd'},
		"0123456789": {Fault: card.HexLength, Digits: 10, Want: 8},
	} {
		got := make([]byte, 4)
		err := card.ParseHex(got, []byte(text))
		var wrong *card.HexError
		if !errors.As(err, &wrong) || *wrong != want {
			t.Errorf("%q: %+v, want %+v", text, wrong, want)
			continue
		}
		blank := *wrong
		blank.Character = 0
		if wrong.Error() != blank.Error() {
			t.Errorf("%q: %s shows what was typed", text, wrong)
		}
		if !bytes.Equal(got, make([]byte, 4)) {
			t.Errorf("%q: %x is left of it", text, got)
		}
	}
}

// Component entry: whatever is typed, the bytes are those that its digits say, or
// none.
func FuzzParseHex(f *testing.F) {
	for _, seed := range []string{"0123 ABCD", "0xo1l2-I3|4", "01 2S", "\xff", "0x", "0X0x", "\u200b01"} {
		f.Add([]byte(seed), 4)
	}
	f.Fuzz(func(t *testing.T, text []byte, want int) {
		if want < 0 || want > 64 {
			return
		}
		before := bytes.Clone(text)
		got := make([]byte, want)
		err := card.ParseHex(got, text)
		if !bytes.Equal(text, before) {
			t.Fatal("the text was changed")
		}
		if err != nil {
			if !bytes.Equal(got, make([]byte, want)) {
				t.Fatalf("%x is left of %q: %v", got, text, err)
			}
			return
		}
		again := make([]byte, want)
		if err := card.ParseHex(again, []byte(strings.ToUpper(hex.EncodeToString(got)))); err != nil || !bytes.Equal(again, got) {
			t.Fatalf("%q is %x, which read again is %x, %v", text, got, again, err)
		}
		if len(text) < 2*want {
			t.Fatalf("%d bytes came out of %q", want, text)
		}
	})
}
