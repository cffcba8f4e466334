package smartcard

import "bytes"

// pivAID is the application's name without the version at its end.
const pivAID = "\xA0\x00\x00\x03\x08\x00\x00\x10\x00"

// pivReference is the length of a PIN or PUK in bytes, what is missing filled up
// with FF.
const pivReference = 8

// PIV is a card whose PIN is set by whoever knows the PUK: SP 800-73-4, part 2,
// 3.2.3. Neither there nor on a YubiKey or OpenFIPS201 does the management key 9B
// open the PIN.
type PIV struct{ card Transmitter }

// Name is "PIV".
func (*PIV) Name() string { return "PIV" }

// Limits are those of SP 800-73-4, part 2, 2.4.3: six to eight digits.
func (*PIV) Limits() PINLimits { return PINLimits{Min: 6, Max: pivReference, DigitsOnly: true} }

// PIN asks by a VERIFY without a PIN.
func (p *PIV) PIN() (PINState, error) { return askTries(p.card) }

// Unblock sets a new PIN with all its tries by the PUK. A wrong PUK costs a try:
// *WrongError, ErrDead where it was the last. A PUK or PIN that is longer than 8
// bytes never reaches the card.
func (p *PIV) Unblock(puk, pin []byte) error {
	if len(pin) > pivReference {
		return ErrPINRefused
	}
	if len(puk) > pivReference {
		return &WrongError{Unknown}
	}
	data := padded(puk, pin)
	defer clear(data)
	_, err := send(p.card, command{ins: insResetRetryCounter, p2: holderPIN, data: data})
	return judged(setting(err))
}

// Verify presents the PIN.
func (p *PIV) Verify(pin []byte) error {
	if len(pin) > pivReference {
		return &WrongError{Unknown}
	}
	data := padded(pin)
	defer clear(data)
	return verify(p.card, data)
}

// padded lays out PINs and PUKs in 8 bytes each. The caller wipes it.
func padded(references ...[]byte) []byte {
	out := bytes.Repeat([]byte{0xFF}, len(references)*pivReference)
	for i, r := range references {
		copy(out[i*pivReference:], r)
	}
	return out
}
