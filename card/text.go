package card

import (
	"encoding/hex"
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

// ChallengeFault is the kind of thing wrong with a challenge's text.
type ChallengeFault int

// The kinds of fault.
const (
	ChallengeNotHex    ChallengeFault = iota + 1 // a character that is no hex digit
	ChallengeAmbiguous                           // a character that may be one of several digits
	ChallengeLength                              // not as long as the profile says
)

// ChallengeError says what is wrong with a challenge as it was typed, in words
// for the person who typed it.
type ChallengeError struct {
	Fault ChallengeFault
	// Position counts the characters from 1, separators included.
	Position int
	detail   string
}

func (e *ChallengeError) Error() string { return e.detail }

// lookAlike tells which digits a letter may stand for that is no hex digit but is
// written or read for one. O, I, L and | can only mean one digit and are taken as
// it; of these here the operator has to say which is meant.
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

// ParseChallenge reads a challenge of want bytes as people type it: hex in
// either case, with spaces, dashes, colons, dots or underscores anywhere, an
// 0x in front, O for 0 and l, I or | for 1. Anything else is named in a
// *ChallengeError; no digit is ever guessed, since a wrong challenge gives a
// plausible response that costs the card a try.
func ParseChallenge(text string, want int) (Challenge, error) {
	// More text than this is no typing error, and need not be looked at.
	if limit := 8*MaxChallenge + 16; len(text) > limit {
		return nil, &ChallengeError{Fault: ChallengeLength, detail: fmt.Sprintf(
			"the challenge must have %d hex digits; this text is over %d characters long", 2*want, limit)}
	}
	digits := make([]byte, 0, 2*want)
	// Kept equal in length, so that positions count what was typed.
	rest := strings.TrimLeftFunc(text, isSeparator)
	position := len([]rune(text)) - len([]rune(rest))
	if len(rest) > 1 && rest[0] == '0' && (rest[1] == 'x' || rest[1] == 'X') {
		rest, position = rest[2:], position+2
	}
	for _, r := range rest {
		position++
		digit, ok := hexDigit(r)
		switch either := lookAlike(r); {
		case isSeparator(r):
		case ok:
			digits = append(digits, digit)
		case either != "":
			return nil, &ChallengeError{ChallengeAmbiguous, position, fmt.Sprintf(
				"character %d, %q, is not a hex digit and may stand for %s: look again", position, string(r), either)}
		default:
			return nil, &ChallengeError{ChallengeNotHex, position, fmt.Sprintf(
				"character %d, %q, is not a hex digit (0-9, A-F)", position, string(r))}
		}
	}
	if len(digits) != 2*want {
		return nil, &ChallengeError{Fault: ChallengeLength, detail: fmt.Sprintf(
			"the challenge has %d hex digits; this card's has %d", len(digits), 2*want)}
	}
	challenge := make(Challenge, want)
	if _, err := hex.Decode(challenge, digits); err != nil {
		return nil, fmt.Errorf("decode challenge: %w", err)
	}
	return challenge, nil
}

// hexDigit reads one character as a hex digit where it can only be one.
func hexDigit(r rune) (byte, bool) {
	switch {
	case r >= '0' && r <= '9', r >= 'A' && r <= 'F', r >= 'a' && r <= 'f':
		return byte(r), true //nolint:gosec // r is ASCII here
	case r == 'O' || r == 'o':
		return '0', true
	case r == 'l' || r == 'L' || r == 'I' || r == 'i' || r == '|':
		return '1', true
	}
	return 0, false
}

// isSeparator tells whether the character only groups digits. Dashes and spaces
// come in many forms when text is pasted from mail or chat.
func isSeparator(r rune) bool {
	return unicode.IsSpace(r) || unicode.Is(unicode.Pd, r) || r == ':' || r == '.' || r == '_' ||
		r == '\u2212' || r == '\u200b' || r == '\ufeff'
}

func dropSeparators(s string) string {
	return strings.Map(func(r rune) rune {
		if isSeparator(r) {
			return -1
		}
		return r
	}, s)
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
func (r Response) Spoken() string {
	spoken := groups(r.Hex())
	for i, group := range spoken {
		words := make([]string, len(group))
		for j := range group {
			words[j] = spokenDigit(group[j])
		}
		spoken[i] = strings.Join(words, " ")
	}
	return strings.Join(spoken, ", ")
}

// Wipe overwrites the response in memory.
func (r Response) Wipe() { clear(r) }

// spokenDigit is an upper-case hex digit in words.
func spokenDigit(digit byte) string {
	const words = "zero one two three four five six seven eight nine Alfa Bravo Charlie Delta Echo Foxtrot"
	return strings.Fields(words)[strings.IndexByte("0123456789ABCDEF", digit)]
}

func groups(s string) []string {
	var out []string
	for len(s) > 4 {
		out, s = append(out, s[:4]), s[4:]
	}
	return append(out, s)
}
