// Package card is the ground floor of Latchkey: cards, their holders, their
// states, how a family of cards works (the profile), and the text that people
// type and read (challenge and response). It imports nothing of ours and does
// no input or output.
//
// Words, as in docs/architecture.md: the card admin key proves an administrator
// to the card; a challenge is the bytes that the card issued; the response is
// that challenge encrypted under the card admin key. This package knows how a
// card admin key is *named* (AdminKey), never what it is: the bytes exist only
// inside the PKCS#11 HSM.
package card
