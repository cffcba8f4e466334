package card_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"latchkey/card"
)

func TestTemplate(t *testing.T) {
	c := card.Card{
		Serial: "AB 12:34", CUID: []byte{0xC0, 0xC1, 0xC2, 0xC3}, KDD: []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9},
	}
	for text, want := range map[string]string{
		"serial":                       "41422031323a3334",
		"serial.hex":                   "ab1234",
		"cuid":                         "c0c1c2c3",
		"kdd":                          "00010203040506070809",
		"0x4C4b + cuid":                "4c4bc0c1c2c3",
		"0X00+cuid[1:3]+0xff":          "00c1c2ff",
		"kdd[0:10]":                    "00010203040506070809",
		"kdd[9:10] + kdd[0:1]":         "0900",
		"  serial.hex [ 1 : 3 ] +cuid": "1234c0c1c2c3",
		"cuid + cuid":                  "c0c1c2c3c0c1c2c3",
	} {
		t.Run(text, func(t *testing.T) {
			template, err := card.ParseTemplate(text)
			if err != nil {
				t.Fatal(err)
			}
			if template.Empty() || template.String() != strings.TrimSpace(text) {
				t.Errorf("template is %q, empty: %v", template, template.Empty())
			}
			got, err := template.Eval(c)
			if err != nil || hex.EncodeToString(got) != want {
				t.Errorf("data %x, %v; want %s", got, err, want)
			}
		})
	}
	if !(card.Template{}).Empty() {
		t.Error("the zero value is a template")
	}
}

func TestParseTemplateRefuses(t *testing.T) {
	long := "0x" + strings.Repeat("00", 257)
	for text, want := range map[string]string{
		"":                            "a term is empty",
		" ":                           "a term is empty",
		"serial +":                    "a term is empty",
		"+ serial":                    "a term is empty",
		"serial ++ cuid":              "a term is empty",
		"[0:1]":                       "a term is empty",
		"0x":                          `constant "0x" is not whole bytes in hex`,
		"0x4":                         `constant "0x4" is not whole bytes in hex`,
		"0x4G + serial":               `constant "0x4G" is not whole bytes in hex`,
		"0x00[0:1] + serial":          `constant "0x00[0:1]" is not whole bytes in hex`,
		long + " + serial":            "constant is longer than 256 bytes",
		"0x00":                        "has only constants",
		"0x00 + 0x01":                 "has only constants",
		"Serial":                      `unknown field "Serial"`,
		"serial.HEX":                  `unknown field "serial.HEX"`,
		"pan":                         `unknown field "pan"`,
		"4C":                          `unknown field "4C"`,
		"kdd[":                        `cut of "kdd" must be [from:to]`,
		"kdd[]":                       `cut of "kdd" must be [from:to]`,
		"kdd[1]":                      `cut of "kdd" must be [from:to]`,
		"kdd[:]":                      `cut of "kdd" must be [from:to]`,
		"kdd[0:2":                     `cut of "kdd" must be [from:to]`,
		"kdd[0:2]]":                   `cut of "kdd" must be [from:to]`,
		"kdd[0:2] kdd":                `cut of "kdd" must be [from:to]`,
		"kdd[0:2:4]":                  `cut of "kdd" must be [from:to]`,
		"kdd[-1:2]":                   `cut of "kdd" must be [from:to]`,
		"kdd[2:2]":                    `cut of "kdd" must be [from:to]`,
		"kdd[2:1]":                    `cut of "kdd" must be [from:to]`,
		"kdd[0:257]":                  `cut of "kdd" must be [from:to]`,
		"kdd[0:0x2]":                  `cut of "kdd" must be [from:to]`,
		"kdd[0:99999999999999999999]": `cut of "kdd" must be [from:to]`,
	} {
		t.Run(text, func(t *testing.T) {
			template, err := card.ParseTemplate(text)
			if err == nil || !strings.Contains(err.Error(), want) || !template.Empty() {
				t.Errorf("template %q, error %v; want %s", template, err, want)
			}
		})
	}
}

// A card that lacks what the template asks for gets no data: padding would let two
// cards share a key.
func TestTemplateNeedsTheCardsData(t *testing.T) {
	for name, test := range map[string]struct {
		template string
		card     card.Card
		want     string
	}{
		"no CUID":             {"0x00 + cuid", card.Card{}, "template: the card has no cuid"},
		"no KDD":              {"kdd[0:1]", card.Card{}, "template: the card has no kdd"},
		"no serial":           {"serial", card.Card{}, "template: the card has no serial"},
		"no serial for hex":   {"serial.hex", card.Card{Serial: " - "}, "template: the card has no serial.hex"},
		"cut one too long":    {"cuid[0:5]", card.Card{CUID: make([]byte, 4)}, "template: the card's cuid has 4 bytes, the cut needs 5"},
		"serial is not hex":   {"serial.hex", card.Card{Serial: "4711X"}, "template: the card's serial is not hex"},
		"half a byte":         {"serial.hex", card.Card{Serial: "471"}, "template: the card's serial is not hex"},
		"no O for 0":          {"serial.hex", card.Card{Serial: "4O"}, "template: the card's serial is not hex"},
		"more than any limit": {"cuid + cuid + 0x00", card.Card{CUID: make([]byte, 128)}, "template: 257 bytes of derivation data; the limit is 256"},
	} {
		t.Run(name, func(t *testing.T) {
			template, err := card.ParseTemplate(test.template)
			if err != nil {
				t.Fatal(err)
			}
			if data, err := template.Eval(test.card); err == nil || err.Error() != test.want || data != nil {
				t.Errorf("data %x, error %v; want %s", data, err, test.want)
			}
		})
	}
}

// The data is the caller's: writing to it changes neither the card nor the template.
func TestTemplateDataIsACopy(t *testing.T) {
	c := card.Card{CUID: []byte{1, 2}}
	for _, text := range []string{"cuid", "cuid[0:1]", "0x00 + cuid"} {
		template, err := card.ParseTemplate(text)
		if err != nil {
			t.Fatal(err)
		}
		first, err := template.Eval(c)
		if err != nil {
			t.Fatal(err)
		}
		want := bytes.Clone(first)
		clear(first)
		if again, err := template.Eval(c); err != nil || !bytes.Equal(again, want) {
			t.Errorf("%s: data %x, %v after the first was cleared; want %x", text, again, err, want)
		}
	}
}

// Any text is a template or a fault, and any card gives it 1 to 256 bytes or an
// error. A template's own text is the same template.
func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{"", "serial", "0x4C4B + cuid[0:6] + kdd + serial.hex[1:3]", "0x00", "kdd[0:257]", "serial[0:1]+serial", "\xff[0:1]"} {
		f.Add(seed, "AB:12", []byte{1, 2, 3, 4, 5, 6}, []byte("0123456789"))
	}
	f.Fuzz(func(t *testing.T, text, serial string, cuid, kdd []byte) {
		template, err := card.ParseTemplate(text)
		if err != nil {
			if !template.Empty() {
				t.Errorf("template %q with error %v", template, err)
			}
			return
		}
		c := card.Card{Serial: serial, CUID: cuid, KDD: kdd}
		data, err := template.Eval(c)
		if err == nil && (len(data) == 0 || len(data) > 256) || err != nil && data != nil {
			t.Errorf("%d bytes of data, error %v", len(data), err)
		}
		second, parseErr := card.ParseTemplate(template.String())
		if parseErr != nil {
			t.Fatalf("%q is taken, its own text %q is not: %v", text, template, parseErr)
		}
		if again, secondErr := second.Eval(c); !bytes.Equal(again, data) || (secondErr == nil) != (err == nil) {
			t.Errorf("%q gives %x, %v; its own text %q gives %x, %v", text, data, err, template, again, secondErr)
		}
	})
}
