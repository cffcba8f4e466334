package card

import (
	"bytes"
	"fmt"
	"unicode"
	"unicode/utf8"
)

// HexFault is the kind of thing wrong with hex that was typed.
type HexFault int

// The kinds of fault.
const (
	HexNotDigit  HexFault = iota + 1 // a character that is no hex digit
	HexAmbiguous                     // a character that may be one of several digits
	HexLength                        // not as many digits as there must be
)

// HexError says what is wrong with hex that was typed. Its words show nothing of
// the text, which may be a secret; whoever may show it has Character.
type HexError struct {
	Fault HexFault
	// Position counts the characters from 1, separators included; 0 with HexLength.
	Position  int
	Character rune
	// Digits is how many hex digits there were, Want how many there must be. Both
	// are counted with HexLength alone.
	Digits, Want int
}

func (e *HexError) Error() string {
	switch e.Fault {
	case HexAmbiguous:
		return fmt.Sprintf("character %d is not a hex digit and may stand for more than one: look again", e.Position)
	case HexNotDigit:
		return fmt.Sprintf("character %d is not a hex digit (0-9, A-F)", e.Position)
	case HexLength:
	}
	return fmt.Sprintf("%d hex digits; %d are needed", e.Digits, e.Want)
}

// lookAlike tells which digits a letter may stand for that is no hex digit but is
// written or read for one. O, I, L and | can only mean one digit and are taken as
// it; of these here the person who typed has to say which is meant.
func lookAlike(r rune) string {
	switch unicode.ToUpper(r) {
	case 'S':
		return "5 or 8"
	case 'Z':
		return "2 or 7"
	case 'G':
		return "6 or C"
	case 'Q':
		return "0 or 9"
	case 'T':
		return "7 or F"
	}
	return ""
}

// ParseHex reads exactly as many bytes as into has from hex as people type it: in
// either case, with spaces, dashes, colons, dots or underscores anywhere, an 0x
// in front, O for 0 and l, I or | for 1. Anything else is named in a *HexError,
// and into is zero then: no digit is ever guessed. It keeps no copy of the text.
func ParseHex(into, text []byte) error {
	clear(into)
	digits := 0
	rest := bytes.TrimLeftFunc(text, isSeparator)
	position := utf8.RuneCount(text[:len(text)-len(rest)])
	if len(rest) > 1 && rest[0] == '0' && (rest[1] == 'x' || rest[1] == 'X') {
		rest, position = rest[2:], position+2
	}
	for len(rest) > 0 {
		r, size := utf8.DecodeRune(rest)
		rest, position = rest[size:], position+1
		if isSeparator(r) {
			continue
		}
		value, ok := hexDigit(r)
		if !ok {
			clear(into)
			fault := HexNotDigit
			if lookAlike(r) != "" {
				fault = HexAmbiguous
			}
			return &HexError{Fault: fault, Position: position, Character: r}
		}
		if i := digits / 2; i < len(into) {
			into[i] = into[i]<<4 | value
		}
		digits++
	}
	if digits != 2*len(into) {
		clear(into)
		return &HexError{Fault: HexLength, Digits: digits, Want: 2 * len(into)}
	}
	return nil
}

// hexDigit reads one character as a hex digit where it can only be one.
func hexDigit(r rune) (byte, bool) {
	switch {
	case r >= '0' && r <= '9':
		return byte(r - '0'), true
	case r >= 'A' && r <= 'F':
		return byte(r-'A') + 10, true
	case r >= 'a' && r <= 'f':
		return byte(r-'a') + 10, true
	case r == 'O' || r == 'o':
		return 0, true
	case r == 'l' || r == 'L' || r == 'I' || r == 'i' || r == '|':
		return 1, true
	}
	return 0, false
}

// isSeparator tells whether the character only groups digits. Dashes and spaces
// come in many forms when text is pasted from mail or chat.
func isSeparator(r rune) bool {
	return unicode.IsSpace(r) || unicode.Is(unicode.Pd, r) || r == ':' || r == '.' || r == '_' ||
		r == '\u2212' || r == '\u200b' || r == '\ufeff'
}
