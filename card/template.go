package card

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// maxData bounds derivation data, in bytes.
const maxData = 256

// Template makes derivation data from a card: terms joined with "+", each a
// constant in hex or a field of the card, the latter cut where wanted:
//
//	0x4C4B + cuid[0:6] + kdd + serial
//
// The fields are serial (its UTF-8 bytes), serial.hex (the serial read as hex,
// separators dropped), cuid and kdd. A cut [a:b] takes bytes a to b-1 and fails
// on a card whose field is shorter: padding in silence would make two cards
// share a key.
//
// The zero value is no template.
type Template struct {
	text  string
	terms []term
}

type term struct {
	constant []byte
	field    string
	from, to int
	cut      bool
}

// ParseTemplate reads a template from text.
func ParseTemplate(text string) (Template, error) {
	t := Template{text: strings.TrimSpace(text)}
	variable := false
	for part := range strings.SplitSeq(t.text, "+") {
		term, err := parseTerm(strings.TrimSpace(part))
		if err != nil {
			return Template{}, fmt.Errorf("template %q: %w", t.text, err)
		}
		variable = variable || term.field != ""
		t.terms = append(t.terms, term)
	}
	if !variable {
		return Template{}, fmt.Errorf("template %q has only constants: every card would have the same key (that is scheme %s)", t.text, Static)
	}
	return t, nil
}

func parseTerm(s string) (term, error) {
	if digits, ok := strings.CutPrefix(strings.ToLower(s), "0x"); ok {
		b, err := hex.DecodeString(digits)
		if err != nil || len(b) == 0 {
			return term{}, fmt.Errorf("constant %q is not whole bytes in hex", s)
		}
		if len(b) > maxData {
			return term{}, fmt.Errorf("constant is longer than %d bytes", maxData)
		}
		return term{constant: b}, nil
	}
	field, cut, hasCut := strings.Cut(s, "[")
	t := term{field: strings.TrimSpace(field), cut: hasCut}
	switch t.field {
	case "serial", "serial.hex", "cuid", "kdd":
	case "":
		return term{}, errors.New("a term is empty")
	default:
		return term{}, fmt.Errorf("unknown field %q: use serial, serial.hex, cuid, kdd or 0x and hex", t.field)
	}
	if !hasCut {
		return t, nil
	}
	from, to, ok := strings.Cut(strings.TrimSuffix(cut, "]"), ":")
	var err1, err2 error
	t.from, err1 = strconv.Atoi(strings.TrimSpace(from))
	t.to, err2 = strconv.Atoi(strings.TrimSpace(to))
	if !ok || !strings.HasSuffix(cut, "]") || err1 != nil || err2 != nil || t.from < 0 || t.to <= t.from || t.to > maxData {
		return term{}, fmt.Errorf("cut of %q must be [from:to] with 0 <= from < to <= %d", t.field, maxData)
	}
	return t, nil
}

// Empty tells whether there is no template.
func (t Template) Empty() bool { return len(t.terms) == 0 }

// String is the text that the template was parsed from.
func (t Template) String() string { return t.text }

// Eval makes the derivation data of one card, 1 to 256 bytes.
func (t Template) Eval(c Card) ([]byte, error) {
	var data []byte
	for _, term := range t.terms {
		b := term.constant
		switch term.field {
		case "serial":
			b = []byte(c.Serial)
		case "serial.hex":
			var err error
			if b, err = hex.DecodeString(DropSeparators(c.Serial)); err != nil {
				return nil, errors.New("template: the card's serial is not hex")
			}
		case "cuid":
			b = c.CUID
		case "kdd":
			b = c.KDD
		}
		if len(b) == 0 {
			return nil, fmt.Errorf("template: the card has no %s", term.field)
		}
		if term.cut {
			if term.to > len(b) {
				return nil, fmt.Errorf("template: the card's %s has %d bytes, the cut needs %d", term.field, len(b), term.to)
			}
			b = b[term.from:term.to]
		}
		data = append(data, b...)
	}
	if len(data) == 0 || len(data) > maxData {
		return nil, fmt.Errorf("template: %d bytes of derivation data; the limit is %d", len(data), maxData)
	}
	return data, nil
}
