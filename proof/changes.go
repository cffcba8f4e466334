package proof

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"latchkey/card"
)

// change is a case that differs from another in one thing.
type change struct {
	is string // in words, as in "with response_algorithm tdes-cbc"
	to Case
}

// changes gives the changes that mistakes come down to, those of the cheapest
// mistakes first.
func (c Case) changes() iter.Seq[change] {
	return func(yield func(change) bool) {
		for _, list := range [][]change{c.algorithms(), c.serials(), c.keyTypes(), c.masters(), c.schemes(), c.counters(), c.wrappings(), c.keyNumbers()} {
			for _, ch := range list {
				if !yield(ch) {
					return
				}
			}
		}
	}
}

// with is the case with its profile changed.
func (c Case) with(is string, alter func(*card.Profile)) change {
	alter(&c.Profile)
	return change{is, c}
}

// algorithms tries the other algorithms with the same block. For one block they
// are equal.
func (c Case) algorithms() (list []change) {
	for _, a := range card.Algorithms() {
		if a != c.Profile.Algorithm && a.Block() == c.Profile.Algorithm.Block() && len(c.Challenge) > a.Block() {
			list = append(list, c.with("with response_algorithm "+string(a), func(p *card.Profile) { p.Algorithm = a }))
		}
	}
	return list
}

// serials tries other ways to write the serial number.
func (c Case) serials() (list []change) {
	if !c.takesSerial() {
		return nil
	}
	bare := card.DropSeparators(c.Card.Serial)
	stripped := strings.TrimLeft(c.Card.Serial, "0")
	seen := []string{c.Card.Serial}
	for _, way := range []struct{ is, serial string }{
		{"in upper case", strings.ToUpper(c.Card.Serial)},
		{"in lower case", strings.ToLower(c.Card.Serial)},
		{"without separators", bare},
		{"without separators, in upper case", strings.ToUpper(bare)},
		{"without separators, in lower case", strings.ToLower(bare)},
		{"without zeros in front", stripped},
		{"in groups of four with spaces", grouped(bare, 4, " ")},
		{"in groups of four with dashes", grouped(bare, 4, "-")},
		{"in groups of two with colons", grouped(bare, 2, ":")},
		{"in groups of two with spaces", grouped(bare, 2, " ")},
	} {
		if way.serial == "" || slices.Contains(seen, way.serial) {
			continue
		}
		seen = append(seen, way.serial)
		to := c
		to.Card.Serial = way.serial
		list = append(list, change{fmt.Sprintf("with the serial %s: %q", way.is, way.serial), to})
	}
	return list
}

// takesSerial tells whether the serial number goes into the key.
func (c Case) takesSerial() bool {
	return c.Profile.Scheme == card.LatchkeyV1 || c.Profile.Scheme.Templated() && strings.Contains(c.Profile.Input.String(), "serial")
}

func grouped(s string, size int, separator string) string {
	var groups []string
	for group := range slices.Chunk([]rune(s), size) {
		groups = append(groups, string(group))
	}
	return strings.Join(groups, separator)
}

// keyTypes tries the other card key types that answer with the algorithm, as two
// keys for three.
func (c Case) keyTypes() (list []change) {
	for _, t := range c.Profile.Scheme.CardKeyTypes() {
		if t != c.Profile.CardKeyType && t.Block() == c.Profile.CardKeyType.Block() {
			list = append(list, c.with("with card_key_type "+string(t), func(p *card.Profile) { p.CardKeyType = t }))
		}
	}
	return list
}

// masters tries the other versions of the master key, then the other keys.
func (c Case) masters() (list []change) {
	version := c.Card.MasterKeyVersion
	if version == 0 {
		version = c.Profile.MasterKeyVersion
	}
	for _, same := range []bool{true, false} {
		for _, m := range c.Masters {
			if (m.Label == c.Profile.MasterKey) != same || m == (Master{c.Profile.MasterKey, version}) {
				continue
			}
			is := fmt.Sprintf("with master_key_version %d", m.Version)
			if !same {
				is = fmt.Sprintf("with master_key %s version %d", m.Label, m.Version)
			}
			ch := c.with(is, func(p *card.Profile) { p.MasterKey = m.Label })
			ch.to.Card.MasterKeyVersion = m.Version
			list = append(list, ch)
		}
	}
	return list
}

// schemes tries the schemes that take the same data.
func (c Case) schemes() (list []change) {
	for _, alike := range [][]card.Scheme{{card.VISA2, card.EMV, card.KDF3}, {card.AESECBKey, card.AESCBCKey}} {
		if !slices.Contains(alike, c.Profile.Scheme) {
			continue
		}
		for _, s := range alike {
			if s != c.Profile.Scheme && slices.Contains(s.CardKeyTypes(), c.Profile.CardKeyType) {
				list = append(list, c.with("with scheme "+string(s), func(p *card.Profile) { p.Scheme = s }))
			}
		}
	}
	return list
}

// counters tries the other forms of the SP 800-108 counter.
func (c Case) counters() (list []change) {
	if c.Profile.Scheme != card.SP800108 {
		return nil
	}
	for _, after := range []bool{c.Profile.Counter.After, !c.Profile.Counter.After} {
		for _, bits := range []int{8, 16, 32} {
			counter := card.Counter{Bits: bits, After: after}
			if counter != c.Profile.Counter {
				list = append(list, c.with(fmt.Sprintf("with counter_bits %d and counter_after %v", bits, after), func(p *card.Profile) { p.Counter = counter }))
			}
		}
	}
	return list
}

// wrappings tries the other wrappings of a wrapped key of this length.
func (c Case) wrappings() (list []change) {
	if c.Profile.Scheme != card.Wrapped {
		return nil
	}
	for _, w := range card.Wrappings() {
		if w != c.Profile.Wrapping && w.Len(c.Profile.CardKeyType) == len(c.Card.WrappedKey) {
			list = append(list, c.with("with wrapping "+string(w), func(p *card.Profile) { p.Wrapping = w }))
		}
	}
	return list
}

// keyNumbers tries the other key numbers.
func (c Case) keyNumbers() (list []change) {
	if !c.Profile.Scheme.FromKDD() {
		return nil
	}
	for n := range 256 {
		if byte(n) != c.Profile.KeyNumber {
			list = append(list, c.with(fmt.Sprintf("with key_number %d", n), func(p *card.Profile) { p.KeyNumber = byte(n) })) //nolint:gosec // n is below 256
		}
	}
	return list
}
