// Package smartcard talks to the card itself: it asks for the PIN's state and for
// a challenge, hands over the response, and sets a new PIN.
//
// It speaks ISO 7816-4 APDUs to two applications, and to no other:
//
//   - GIDS (Generic Identity Device Specification 2.0, Microsoft): the holder's PIN
//     is set by whoever answers a challenge under the card admin key.
//   - PIV (NIST SP 800-73-4): the holder's PIN is set by whoever knows the PUK. Its
//     challenge under the management key 9B does not open the PIN, so none is asked for.
//
// It knows no reader: Transmit is all that it needs of one. smartcard/pcsc has one
// over PC/SC. PINs, PUKs and responses are bytes that the caller owns and wipes; the
// copies that commands are made of are wiped here.
package smartcard
