package ceremony

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"latchkey/card"
	"latchkey/hsm"
)

// defaultConvention is the one that key check values are of where nothing else is
// said.
func defaultConvention(t card.KeyType) hsm.Convention { return hsm.Conventions(t)[0] }

// parseKCV reads a key check value as it is printed, "08D7B4 (aes-ecb-zero)", or
// without its convention, which is then empty.
func parseKCV(text string) (hsm.KCV, error) {
	value, rest, named := strings.Cut(text, " (")
	var b [3]byte
	if err := card.ParseHex(b[:], []byte(value)); err != nil {
		return hsm.KCV{}, err
	}
	k := hsm.KCV{Value: strings.ToUpper(hex.EncodeToString(b[:]))}
	if !named {
		return k, nil
	}
	convention, ok := strings.CutSuffix(rest, ")")
	all := slices.Concat(hsm.Conventions(card.TDES3), hsm.Conventions(card.AES256))
	if !ok || !slices.Contains(all, hsm.Convention(convention)) {
		return hsm.KCV{}, fmt.Errorf("the convention in parentheses is not one of %s", card.Join(all))
	}
	k.Convention = hsm.Convention(convention)
	return k, nil
}

// kcv reads the check value that a key of type t must have; the zero KCV is any.
func (c *checker) kcv(field, text string, t card.KeyType) hsm.KCV {
	if text == "" {
		return hsm.KCV{}
	}
	k := c.anyKCV(field, text)
	if k.Convention == "" {
		k.Convention = defaultConvention(t)
	}
	if t.Len() != 0 && !slices.Contains(hsm.Conventions(t), k.Convention) {
		c.report(c.place+"."+field, "convention %s does not go with a key of type %s", k.Convention, t)
	}
	return k
}

// anyKCV reads a check value that has to be there.
func (c *checker) anyKCV(field, text string) hsm.KCV {
	k, err := parseKCV(text)
	if err != nil {
		c.report(c.place+"."+field, "is not a key check value such as 08D7B4 or 08D7B4 (aes-ecb-zero): %v", err)
	}
	return k
}

// hasKCV refuses a key in the token that has another check value than the text
// says.
func hasKCV(k *hsm.Key, text string) error {
	want, err := parseKCV(text)
	if err != nil {
		return err
	}
	if want.Convention == "" {
		want.Convention = defaultConvention(k.Type)
	}
	if !slices.Contains(k.KCV, want) {
		return refuse("its key check value is %s, not %s", join(k.KCV), want)
	}
	return nil
}

func join(values []hsm.KCV) string {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = v.String()
	}
	return strings.Join(words, " or ")
}

// grouped parts a fingerprint in hex for reading aloud.
func grouped(fingerprint string) string {
	var groups []string
	for rest := strings.ToUpper(fingerprint); rest != ""; {
		n := min(4, len(rest))
		groups, rest = append(groups, rest[:n]), rest[n:]
	}
	return strings.Join(groups, " ")
}

// sameName compares names as people type them: case and the spaces between words
// do not count.
func sameName(a, b string) bool {
	return strings.EqualFold(strings.Join(strings.Fields(a), " "), strings.Join(strings.Fields(b), " "))
}

// stop is what is typed to break a ceremony off.
const stop = "stop"

func isStop(text string) bool { return sameName(text, stop) }
