package main

import (
	"bytes"

	"latchkey/smartcard"
)

// defaultMinPIN is what NIST SP 800-63B asks of a memorised secret of digits. A card
// may want more, and an organisation by --min-pin.
const defaultMinPIN = 6

// checkPIN says what is wrong with a new PIN, before the card is asked: a
// *policyError, or nothing.
func checkPIN(pin []byte, limits smartcard.PINLimits, atLeast int) error {
	atLeast = max(atLeast, limits.Min)
	fault := func(p phrase, args ...any) error { return &policyError{p, args} }
	switch {
	case len(pin) < atLeast:
		return fault(sayPINShort, atLeast)
	case len(pin) > limits.Max:
		return fault(sayPINLong, limits.Max)
	case limits.DigitsOnly && bytes.ContainsFunc(pin, func(r rune) bool { return r < '0' || r > '9' }):
		return fault(sayPINDigits)
	// What every keyboard and every logon screen can type.
	case bytes.ContainsFunc(pin, func(r rune) bool { return r <= ' ' || r > '~' }):
		return fault(sayPINCharacters)
	case counts(pin, 0), repeats(pin):
		return fault(sayPINRepeats)
	case counts(pin, 1), counts(pin, 0xFF):
		return fault(sayPINCounts)
	case distinct(pin) < 3:
		return fault(sayPINFew)
	}
	return nil
}

// counts tells whether each character is the one before and a step.
func counts(pin []byte, step byte) bool {
	for i := 1; i < len(pin); i++ {
		if pin[i] != pin[i-1]+step {
			return false
		}
	}
	return true
}

// repeats tells whether the PIN is a shorter one over and over, as 123123.
func repeats(pin []byte) bool {
	for n := 1; n <= len(pin)/2; n++ {
		if len(pin)%n == 0 && bytes.Equal(pin[n:], pin[:len(pin)-n]) {
			return true
		}
	}
	return false
}

func distinct(pin []byte) int {
	var seen [256]bool
	n := 0
	for _, b := range pin {
		if !seen[b] {
			seen[b] = true
			n++
		}
	}
	return n
}
