package card_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"latchkey/card"
)

// A challenge can be typed in many ways, all of which mean the same bytes.
func TestParseChallengeAccepts(t *testing.T) {
	const want = "0123456789ABCDEF"
	for name, text := range map[string]string{
		"upper case":            "0123456789ABCDEF",
		"lower case":            "0123456789abcdef",
		"groups of four":        "0123 4567 89AB CDEF",
		"pairs with colons":     "01:23:45:67:89:ab:cd:ef",
		"dashes":                "0123-4567-89AB-CDEF",
		"dots and underscores":  "0123.4567_89ab.cdef",
		"any number of them":    "  0-1 -- 23 4567\t89AB\r\nCDEF. ",
		"prefix":                "0x0123456789abcdef",
		"prefix behind a space": " 0X0123 4567 89ab cdef",
		"O for zero":            "O123456789abcdef",
		"o for zero":            "o123456789abcdef",
		"l for one":             "0l23456789abcdef",
		"L for one":             "0L23456789abcdef",
		"I for one":             "0I23456789abcdef",
		"i for one":             "0i23456789abcdef",
		"bar for one":           "0|23456789abcdef",
		"no-break spaces":       "0123\u00a04567\u202f89ab\u2009cdef",
		"dashes of all lengths": "0123\u20104567\u201389ab\u2014cd\u2212ef",
		"pasted from a page":    "\ufeff0x0123\u200b4567\u200b89ab\u200bcdef",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := card.ParseChallenge(text, 8)
			if err != nil || got.Hex() != want {
				t.Errorf("%q gives %s, %v; want %s", text, got.Hex(), err, want)
			}
		})
	}
}

// What is wrong is named, by its place as it was typed; no digit is guessed.
func TestParseChallengeRefuses(t *testing.T) {
	const (
		notHex    = card.HexNotDigit
		ambiguous = card.HexAmbiguous
		length    = card.HexLength
	)
	for name, test := range map[string]struct {
		text     string
		fault    card.HexFault
		position int
		detail   string
	}{
		"nothing":        {"", length, 0, "the challenge has 0 hex digits; this card's has 16"},
		"separators":     {" -:. ", length, 0, "the challenge has 0 hex digits; this card's has 16"},
		"prefix only":    {"0x", length, 0, "the challenge has 0 hex digits; this card's has 16"},
		"one short":      {"0123456789abcde", length, 0, "the challenge has 15 hex digits; this card's has 16"},
		"one too many":   {"0123456789abcdef0", length, 0, "the challenge has 17 hex digits; this card's has 16"},
		"two challenges": {"0123456789abcdef0123456789abcdef", length, 0, "the challenge has 32 hex digits; this card's has 16"},
		"no end":         {strings.Repeat("0", 529), length, 0, "the challenge must have 16 hex digits; this text is over 528 characters long"},

		"a letter":               {"0123 4567 x9ab cdef", notHex, 11, `character 11, "x", is not a hex digit (0-9, A-F)`},
		"prefix twice":           {"0x0x123456789abcdef", notHex, 4, `character 4, "x", is not a hex digit (0-9, A-F)`},
		"prefix in the middle":   {"01230x4567", notHex, 6, `character 6, "x", is not a hex digit (0-9, A-F)`},
		"behind a prefix":        {" 0x01h", notHex, 6, `character 6, "h", is not a hex digit (0-9, A-F)`},
		"an accent":              {"é123456789abcdef", notHex, 1, `character 1, "é", is not a hex digit (0-9, A-F)`},
		"behind an accented one": {"\u00a0\u00a0y", notHex, 3, `character 3, "y", is not a hex digit (0-9, A-F)`},
		"digits of other kinds":  {"０123456789abcdef", notHex, 1, `character 1, "０", is not a hex digit (0-9, A-F)`},
		"Cyrillic A":             {"\u0410123456789abcdef", notHex, 1, "character 1, \"\u0410\", is not a hex digit (0-9, A-F)"},
		"not UTF-8":              {"01\xff", notHex, 3, "character 3, \"\ufffd\", is not a hex digit (0-9, A-F)"},
		"a zero byte":            {"01\x00", notHex, 3, `character 3, "\x00", is not a hex digit (0-9, A-F)`},

		"S":                                     {"S123456789abcdef", ambiguous, 1, `character 1, "S", is not a hex digit and may stand for 5 or 8: look again`},
		"s":                                     {"0s23456789abcdef", ambiguous, 2, `character 2, "s", is not a hex digit and may stand for 5 or 8: look again`},
		"z":                                     {"01z3456789abcdef", ambiguous, 3, `character 3, "z", is not a hex digit and may stand for 2 or 7: look again`},
		"G":                                     {"0123G56789abcdef", ambiguous, 5, `character 5, "G", is not a hex digit and may stand for 6 or C: look again`},
		"q":                                     {"0123-q56789abcdef", ambiguous, 6, `character 6, "q", is not a hex digit and may stand for 0 or 9: look again`},
		"T":                                     {"0123456789abcdeT", ambiguous, 16, `character 16, "T", is not a hex digit and may stand for 7 or F: look again`},
		"the first is named, whatever its kind": {"0xs", ambiguous, 3, `character 3, "s", is not a hex digit and may stand for 5 or 8: look again`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := card.ParseChallenge(test.text, 8)
			var fault *card.ChallengeError
			if !errors.As(err, &fault) || got != nil {
				t.Fatalf("challenge %v, error %v; want a ChallengeError alone", got, err)
			}
			if fault.Fault != test.fault || fault.Position != test.position || fault.Error() != test.detail {
				t.Errorf("fault %d at %d: %s\nwant %d at %d: %s", fault.Fault, fault.Position, fault, test.fault, test.position, test.detail)
			}
		})
	}
}

func TestParseChallengeLengths(t *testing.T) {
	for _, want := range []int{8, 16, 24, card.MaxChallenge} {
		text := strings.Repeat("a5", want)
		for digits, ok := range map[string]bool{text: true, text + "a": false, text + "a5": false, text[1:]: false, text[2:]: false} {
			got, err := card.ParseChallenge(digits, want)
			if (err == nil) != ok || ok && !bytes.Equal(got, bytes.Repeat([]byte{0xA5}, want)) {
				t.Errorf("%d digits for %d bytes: %s, %v", len(digits), want, got.Hex(), err)
			}
		}
	}
	// The longest challenge, in the loosest form that a screen would show.
	loose := strings.Repeat("a 5 : ", card.MaxChallenge)
	if _, err := card.ParseChallenge(loose, card.MaxChallenge); err != nil {
		t.Error(err)
	}
}

func TestText(t *testing.T) {
	bytes := []byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF}
	const (
		hex     = "0123456789ABCDEF"
		grouped = "0123 4567 89AB CDEF"
		spoken  = "zero one two three, four five six seven, eight nine Alfa Bravo, Charlie Delta Echo Foxtrot"
	)
	c, r := card.Challenge(bytes), card.Response(bytes)
	for what, pair := range map[string][2]string{
		"challenge":            {c.Hex(), hex},
		"grouped challenge":    {c.Grouped(), grouped},
		"response":             {r.Hex(), hex},
		"grouped response":     {r.Grouped(), grouped},
		"spoken response":      {r.Spoken(), spoken},
		"group not full":       {r[:3].Grouped(), "0123 45"},
		"spoken, not full":     {r[:3].Spoken(), "zero one two three, four five"},
		"no response":          {card.Response(nil).Hex(), ""},
		"no response, grouped": {card.Response(nil).Grouped(), ""},
		"no response, spoken":  {card.Response(nil).Spoken(), ""},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %q, want %q", what, pair[0], pair[1])
		}
	}
}

// A response shows itself by no way of printing or marshalling, alone or inside
// something else. Package fmt lets no type say what %w does to it; go vet refuses
// %w for anything but an error.
func TestResponseNeverPrints(t *testing.T) {
	type envelope struct {
		Response card.Response
		Pointer  *card.Response
	}
	r := card.Response("SECRETS!")
	holder := envelope{r, &r}
	shown := make(map[string]string)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%#x", "%d", "%o", "%b", "%c", "%U", "%t", "%T", "%10s", "%-30x", "%.2s"} {
		shown[verb] = fmt.Sprintf(verb, r) + fmt.Sprintf(verb, &r) + fmt.Sprintf(verb, holder) + fmt.Sprintf(verb, []card.Response{r})
	}
	shown["print"] = fmt.Sprint(r) + fmt.Sprintln(r, &r)
	shown["error"] = fmt.Errorf("answer %v: %w", r, errors.New("failed")).Error()
	shown["String"] = r.String()
	for name, marshal := range map[string]func(any) ([]byte, error){"json": json.Marshal, "xml": xml.Marshal, "yaml": yaml.Marshal} {
		text, err := marshal(holder)
		if err != nil {
			t.Fatal(err)
		}
		shown[name] = string(text)
	}
	// The bytes in the forms that such text would have them in.
	secrets := []string{"secrets", "s e c", "53454352", "53 45", "0x53", "83 69 67", "83, 69", "- 83", "123 105 103", "1010011", "u+0053", "u0vdukvuuye"}
	for how, text := range shown {
		for _, secret := range secrets {
			if strings.Contains(strings.ToLower(text), secret) {
				t.Errorf("%s shows the response: %s", how, text)
			}
		}
		if how != "%T" && !strings.Contains(text, "[response]") {
			t.Errorf("%s shows %q and no placeholder", how, text)
		}
	}
}

func TestWipe(t *testing.T) {
	r := card.Response{1, 2, 3}
	same := r
	r.Wipe()
	if !bytes.Equal(same, []byte{0, 0, 0}) {
		t.Error("the response is still there")
	}
}

// Any text is a challenge of the length asked for, or a fault. What is taken reads
// the same when its own hex is typed in.
func FuzzParseChallenge(f *testing.F) {
	for _, seed := range []string{"", "0123456789abcdef", "0x0123 4567 89AB CDEF", "OIl|-0123:4567.89", "S", "\ufeff0x", "\xff", "0123456789abcdef0123456789abcdef"} {
		f.Add(seed, 8)
		f.Add(seed, 16)
	}
	f.Fuzz(func(t *testing.T, text string, want int) {
		if want < 1 || want > card.MaxChallenge {
			return // no profile has such a length
		}
		got, err := card.ParseChallenge(text, want)
		if err != nil {
			var fault *card.ChallengeError
			if !errors.As(err, &fault) || got != nil {
				t.Fatalf("challenge %v, error %v (%T)", got, err, err)
			}
			if characters := len([]rune(text)); fault.Position > characters || (fault.Fault == card.HexLength) != (fault.Position == 0) {
				t.Errorf("fault %d at position %d of %d", fault.Fault, fault.Position, characters)
			}
			return
		}
		if len(got) != want {
			t.Errorf("%d bytes, want %d", len(got), want)
		}
		if unasked := card.AnyChallenge(text); !bytes.Equal(unasked, got) {
			t.Errorf("%q reads as %s where its length is asked for, else as %s", text, got.Hex(), unasked.Hex())
		}
		for _, again := range []string{got.Hex(), got.Grouped(), strings.ToLower(got.Hex()), "0x" + got.Hex()} {
			second, err := card.ParseChallenge(again, want)
			if err != nil || !bytes.Equal(second, got) {
				t.Errorf("%q reads as %s, and %q as %s, %v", text, got.Hex(), again, second.Hex(), err)
			}
		}
	})
}
