package card

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// Challenge is the bytes that a card issued. It is not secret.
type Challenge []byte

// Hex is the challenge in upper-case hex.
func (c Challenge) Hex() string { return strings.ToUpper(hex.EncodeToString(c)) }

// Grouped is the challenge in upper-case hex, in groups of four digits, to be
// compared with the card's screen.
func (c Challenge) Grouped() string { return strings.Join(groups(c.Hex()), " ") }

// Spoken is the challenge as it is read aloud over the telephone, to have it
// confirmed; see Response.Spoken.
func (c Challenge) Spoken() string { return spoken(c.Hex()) }

// What is regular about a challenge that was made up.
const (
	PatternRepeats = "is one digit over and over"
	PatternCounts  = "counts evenly"
)

// Pattern says what is regular about a challenge, one of the above, or
// nothing: a card draws its challenges at random, and what is regular was made up
// or is a key that slipped. By chance it is one challenge in 2^55.
func (c Challenge) Pattern() string {
	if len(c) == 0 {
		return ""
	}
	equal, up, down := c[0]>>4 == c[0]&15, true, true
	for i := 1; i < len(c); i++ {
		equal = equal && c[i] == c[0]
		up = up && c[i] == c[i-1]+1
		down = down && c[i] == c[i-1]-1
	}
	switch {
	case equal:
		return PatternRepeats
	case len(c) > 1 && (up || down):
		return PatternCounts
	}
	return ""
}

// ChallengeError says what is wrong with a challenge as it was typed, in words
// for the person who typed it.
type ChallengeError struct {
	Fault HexFault
	// Position counts the characters from 1, separators included.
	Position  int
	Character rune
	// Either are the digits that an ambiguous character may stand for.
	Either []string
	// Digits is how many hex digits there were, Want how many there must be; with
	// HexLength. Long tells of a text that is too long to be looked at.
	Digits, Want int
	Long         bool
	detail       string
}

func (e *ChallengeError) Error() string { return e.detail }

// maxChallengeText is how many bytes of text are looked at: more is no typing error.
const maxChallengeText = 8*MaxChallenge + 16

// ParseChallenge reads a challenge of want bytes as ParseHex does. What is wrong
// with it is named in a *ChallengeError; no digit is ever guessed, since a wrong
// challenge gives a plausible response that costs the card a try.
func ParseChallenge(text string, want int) (Challenge, error) {
	if len(text) > maxChallengeText {
		return nil, &ChallengeError{Fault: HexLength, Want: 2 * want, Long: true, detail: fmt.Sprintf(
			"the challenge must have %d hex digits; this text is over %d characters long", 2*want, maxChallengeText)}
	}
	challenge := make(Challenge, want)
	err := ParseHex(challenge, []byte(text))
	var wrong *HexError
	if !errors.As(err, &wrong) {
		return challenge, err
	}
	e := &ChallengeError{
		Fault: wrong.Fault, Position: wrong.Position, Character: wrong.Character, Digits: wrong.Digits, Want: wrong.Want,
	}
	switch wrong.Fault {
	case HexAmbiguous:
		e.Either = strings.Split(lookAlike(wrong.Character), " or ")
		e.detail = fmt.Sprintf("character %d, %q, is not a hex digit and may stand for %s: look again",
			wrong.Position, string(wrong.Character), lookAlike(wrong.Character))
	case HexNotDigit:
		e.detail = fmt.Sprintf("character %d, %q, is not a hex digit (0-9, A-F)", wrong.Position, string(wrong.Character))
	case HexLength:
		e.detail = fmt.Sprintf("the challenge has %d hex digits; this card's has %d", wrong.Digits, wrong.Want)
	}
	return nil, e
}

// AnyChallenge reads a challenge as ParseChallenge does, for whoever does not know yet
// how long it has to be. It is nil where no length makes the text right.
func AnyChallenge(text string) Challenge {
	if len(text) > maxChallengeText {
		return nil
	}
	var wrong *HexError
	err := ParseHex(nil, []byte(text)) // which counts the digits
	if !errors.As(err, &wrong) || wrong.Fault != HexLength || wrong.Digits%2 != 0 || wrong.Digits > 2*MaxChallenge {
		return nil
	}
	challenge := make(Challenge, wrong.Digits/2)
	if ParseHex(challenge, []byte(text)) != nil {
		return nil
	}
	return challenge
}

// DropSeparators takes out what only groups digits: spaces, dashes, colons, dots
// and underscores.
func DropSeparators(s string) string {
	return strings.Map(func(r rune) rune {
		if isSeparator(r) {
			return -1
		}
		return r
	}, s)
}

// Visible replaces what does something to a terminal instead of being seen, and
// keeps a line on its line: text may come from a file, a token or another person.
func Visible(line string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, line)
}

// Response is the answer to a challenge. It unblocks a card, so it prints and
// marshals as a placeholder whatever the verb: only Hex, Grouped and Spoken,
// called by name where the response leaves for its operator, show it.
type Response []byte

const redacted = "[response]"

// String and its kin keep responses out of logs and errors.
func (r Response) String() string { return redacted }

// Format implements fmt.Formatter, so that %x and %v show nothing either.
func (r Response) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText implements encoding.TextMarshaler.
func (r Response) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Hex is the response in upper-case hex.
func (r Response) Hex() string { return strings.ToUpper(hex.EncodeToString(r)) }

// Grouped is the response in upper-case hex, in groups of four digits, as the
// Windows unblock screen shows and takes it.
func (r Response) Grouped() string { return strings.Join(groups(r.Hex()), " ") }

// Spoken is the response as it is read aloud over the telephone: digits and the
// letters of the ICAO spelling alphabet, a comma after each group of four.
func (r Response) Spoken() string { return spoken(r.Hex()) }

// Wipe overwrites the response in memory.
func (r Response) Wipe() { clear(r) }

// spoken is upper-case hex as it is read aloud.
func spoken(hex string) string {
	words := [...]string{
		"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
		"Alfa", "Bravo", "Charlie", "Delta", "Echo", "Foxtrot",
	}
	var b strings.Builder
	b.Grow(8 * len(hex)) // the longest word, and what parts it from the next
	for i := range len(hex) {
		switch {
		case i == 0:
		case i%4 == 0:
			b.WriteString(", ")
		default:
			b.WriteByte(' ')
		}
		b.WriteString(words[strings.IndexByte("0123456789ABCDEF", hex[i])])
	}
	return b.String()
}

func groups(s string) []string {
	var out []string
	for len(s) > 4 {
		out, s = append(out, s[:4]), s[4:]
	}
	return append(out, s)
}
