package card_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"latchkey/card"
)

func TestTemplateLength(t *testing.T) {
	for text, want := range map[string][2]int{
		"0x4C4B + kdd":                {12, 12},
		"cuid[2:8] + serial.hex[0:2]": {8, 8},
		"serial":                      {1, 128},
		"0x00 + serial.hex":           {2, 65},
		"cuid + cuid":                 {2, 256},
		"serial + kdd[9:10]":          {2, 129},
		"serial[0:128]":               {128, 128},
	} {
		least, most := input(t, text).Length()
		if got := [2]int{least, most}; got != want {
			t.Errorf("%s makes %v bytes, want %v", text, got, want)
		}
	}
	for _, text := range []string{"kdd[0:11]", "serial[0:129]", "serial.hex[0:65]", "cuid + cuid[0:256]"} {
		if least, most := input(t, text).Length(); most >= least {
			t.Errorf("%s makes %d to %d bytes, which no card gives", text, least, most)
		}
	}
}

// templated is a profile with a template that is judged.
func templated(t *testing.T, scheme card.Scheme, key card.KeyType, text string) card.Profile {
	p := profile()
	p.Scheme, p.CardKeyType, p.Input = scheme, key, input(t, text)
	p.Algorithm = card.AlgorithmFor(key)
	p.ChallengeLen = p.Algorithm.Block()
	if scheme == card.SP800108 {
		p.Counter = card.Counter{Bits: 8}
	}
	return p
}

func TestInputFaults(t *testing.T) {
	const eight = "0x0102030405060708"
	for _, test := range []struct {
		scheme   card.Scheme
		key      card.KeyType
		template string
		want     string // empty for none
	}{
		// Length.
		{card.TDESECBKey, card.TDES3, "cuid[0:24]", ""},
		{card.TDESECBKey, card.TDES3, "cuid[0:16] + " + eight, ""},
		{card.TDESECBKey, card.TDES3, "cuid[0:23]", "makes 23 bytes; scheme tdes-ecb needs a multiple of 8 bytes, 24 or more for a key of type tdes3"},
		{card.TDESECBKey, card.TDES3, "cuid[0:16]", "makes 16 bytes"},
		{card.TDESECBKey, card.AES256, "cuid[0:24]", "needs a multiple of 8 bytes, 32 or more"},
		{card.AESECBKey, card.TDES3, "cuid[0:24]", "needs a multiple of 16 bytes, 32 or more"},
		{card.AESCBCKey, card.AES128, "cuid[0:16]", ""},
		{card.AESCBCKey, card.AES192, "cuid[0:16]", "needs a multiple of 16 bytes, 32 or more"},
		{card.AESCBCKey, card.AES128, "serial", ""}, // some serials fit
		{card.AESCBCKey, card.AES256, "kdd[0:4] + serial.hex[0:4]", "makes 8 bytes"},
		{card.AN10922AES128, card.AES128, "serial[0:31]", ""},
		{card.AN10922AES128, card.AES128, "serial[0:32]", "makes 32 bytes; scheme an10922-aes128 needs 1 to 31 bytes"},
		{card.AN109223TDEA, card.TDES3, "kdd + cuid[0:5]", ""},
		{card.AN109223TDEA, card.TDES3, "kdd + cuid[0:6]", "needs 1 to 15 bytes"},
		{card.SP800108, card.AES256, "serial", ""},
		{card.TDESECBKey, card.TDES3, "kdd[0:11] + cuid[0:13]", "no card has so many bytes"},
		{card.SP800108, card.AES256, "serial[0:128] + cuid[0:129]", "no card has so many bytes"},

		// Blocks that are the same.
		{card.TDESECBKey, card.TDES3, "cuid[0:8] + cuid[0:8] + kdd[0:8]", "blocks 1 and 2 of 8 bytes are the same in every card"},
		{card.TDESECBKey, card.TDES3, "cuid[0:8] + kdd[0:8] + cuid[0:8]", "blocks 1 and 3"},
		{card.TDESECBKey, card.TDES3, "cuid[0:4] + cuid[4:8] + kdd[0:8] + cuid[0:8]", "blocks 1 and 3"},
		{card.TDESECBKey, card.TDES3, "kdd[0:8] + " + eight + "+" + eight, "blocks 2 and 3"},
		{card.TDESECBKey, card.TDES3, "kdd[0:8] + 0x0102030405 + 0x060708 + " + eight, "blocks 2 and 3"},
		{card.TDESECBKey, card.TDES3, "cuid[0:8] + cuid[1:9] + cuid[2:10]", ""},
		{card.TDESECBKey, card.TDES2, "cuid[0:8] + kdd[0:8] + cuid[0:8]", ""}, // the third is dropped
		{card.TDESECBKey, card.TDES3, "cuid[0:8] + serial[0:8] + serial.hex[0:8]", ""},
		{card.AESECBKey, card.AES256, "cuid[0:16] + cuid[0:16]", "blocks 1 and 2 of 16 bytes"},
		{card.AESCBCKey, card.AES256, "cuid[0:16] + cuid[0:16]", ""}, // chained
		{card.SP800108, card.AES256, "cuid[0:16] + cuid[0:16]", ""},
		{card.TDESECBKey, card.TDES3, "serial + cuid[0:8] + cuid[0:8]", ""}, // where they begin depends on the card

		// A key that is the same in every card.
		{card.TDESECBKey, card.TDES2, eight + "+ 0x0807060504030201 + cuid[0:8]", "only its first 16 bytes go into the key, and they are constants"},
		{card.AESCBCKey, card.AES128, eight + "+ 0x0807060504030201 + cuid[0:16]", "only its first 16 bytes go into the key"},
		{card.AESCBCKey, card.AES256, eight + "+ 0x0807060504030201 + cuid[0:16]", ""},
	} {
		p := templated(t, test.scheme, test.key, test.template)
		faults := p.Faults()
		if test.want == "" && len(faults) != 0 {
			t.Errorf("%s %s %q: %v", test.scheme, test.key, test.template, faults)
		}
		if test.want != "" && (len(faults) == 0 || faults[0].Field != "input" || !strings.Contains(faults[0].Detail, test.want)) {
			t.Errorf("%s %s %q: faults %v, want input: %s", test.scheme, test.key, test.template, faults, test.want)
		}
	}
}

func TestRemarks(t *testing.T) {
	for _, test := range []struct {
		scheme   card.Scheme
		key      card.KeyType
		template string
		want     []string
	}{
		{card.TDESECBKey, card.TDES3, "cuid[0:24]", nil},
		{card.AN10922AES128, card.AES128, "serial", []string{"makes 1 to 128 bytes, by the card, and the scheme needs 1 to 31 bytes"}},
		{card.SP800108, card.AES128, "serial", nil},
		{card.SP800108, card.AES128, "serial + 0x00 + cuid", []string{"several fields of varying length"}},
		{card.TDESECBKey, card.TDES3, "0x0102030405060708 + cuid[0:16]", []string{"block 1 of the template is constant"}},
		{card.AESCBCKey, card.AES256, "0x01020304050607080910111213141516 + cuid[0:16]", nil},
	} {
		got := templated(t, test.scheme, test.key, test.template).Remarks()
		if !slices.EqualFunc(got, test.want, strings.Contains) {
			t.Errorf("%s %q: remarks %q, want %q", test.scheme, test.template, got, test.want)
		}
	}
	if got := profile().Remarks(); got != nil {
		t.Errorf("a profile without a template: %q", got)
	}
}

// What is said of a template before any card is seen is true of every card.
func FuzzInputFaults(f *testing.F) {
	for _, seed := range []string{
		"cuid[0:8] + cuid[0:8] + kdd[0:8]", "kdd[0:8] + 0x0102030405060708 + 0x0102030405060708", "serial", "kdd[0:11]", "0x0102030405060708 + 0x0807060504030201 + cuid",
		"cuid + serial.hex[1:3]", "serial + cuid[0:8]",
	} {
		f.Add(seed, "4C4B4C4B", []byte("0123456789abcdefghijklmnopqrstuv"), []byte("0123456789"), uint8(0))
	}
	keys := []card.KeyType{card.TDES2, card.TDES3, card.AES256}
	schemes := []card.Scheme{card.TDESECBKey, card.AESECBKey, card.AESCBCKey}
	f.Fuzz(func(t *testing.T, text, serial string, cuid, kdd []byte, choice uint8) {
		template, err := card.ParseTemplate(text)
		c := card.Card{Serial: serial, CUID: cuid, KDD: kdd}
		if err != nil || len(serial) > card.MaxSerial || len(cuid) > card.MaxText || len(kdd) != card.KDDLen {
			return
		}
		data, err := template.Eval(c)
		if err != nil {
			return
		}
		least, most := template.Length()
		if len(data) < least || len(data) > most {
			t.Errorf("%q makes %d bytes of a card; it was said to make %d to %d", text, len(data), least, most)
		}
		p := templated(t, schemes[int(choice)%3], keys[int(choice)/3%3], text)
		block := 8
		if p.Scheme != card.TDESECBKey {
			block = 16
		}
		used := (p.CardKeyType.Len() + block - 1) / block * block
		fits := len(data)%block == 0 && len(data) >= used
		for _, fault := range p.Faults() {
			switch {
			case fault.Field != "input":
				t.Errorf("%q: fault %v", text, fault)
			case !strings.Contains(fault.Detail, "the same"):
				if fits {
					t.Errorf("%q makes %d bytes, which fit: %s", text, len(data), fault)
				}
			case !fits: // this card would be refused for its length
			case strings.Contains(fault.Detail, "blocks"):
				if !repeats(data[:used], block) {
					t.Errorf("%q: %x has no equal blocks: %s", text, data, fault)
				}
			default:
				other := card.Card{Serial: serial, CUID: bytes.Repeat([]byte{0xFF}, len(cuid)), KDD: bytes.Repeat([]byte{0xFF}, len(kdd))}
				if again, err := template.Eval(other); err != nil || !bytes.Equal(again[:used], data[:used]) {
					t.Errorf("%q: %x and %x differ, %v: %s", text, data, again, err, fault)
				}
			}
		}
	})
}

func repeats(data []byte, block int) bool {
	seen := map[string]bool{}
	for part := range slices.Chunk(data, block) {
		if seen[string(part)] {
			return true
		}
		seen[string(part)] = true
	}
	return false
}
