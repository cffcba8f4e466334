// Package virtualcard is a smart card in memory: the other end of an unblock,
// for tests and for the demonstration.
//
// It speaks the part of GIDS (Generic Identity Device Specification, Microsoft)
// that an unblock needs, as ISO 7816-4 command and response APDUs, and behaves
// as the open GidsApplet does, except that the admin key may be of any type and
// may have a retry counter, as other families of cards have. It computes with Go's own
// crypto packages and with no code of the product's, so a response that it
// accepts was right.
//
//	SELECT                00 A4 04 00 09 A000000397425446 59 00
//	MSE SET               00 22 81 A4 03 83 01 80        the admin key is meant
//	GENERAL AUTHENTICATE  00 87 00 00 04 7C 02 81 00 00  gives 7C 0A 81 08 and the challenge
//	GENERAL AUTHENTICATE  00 87 00 00 0C 7C 0A 82 08 and the response
//	RESET RETRY COUNTER   00 2C 02 80 Lc and the new PIN, once after the authentication
//	VERIFY                00 20 00 80 Lc and the PIN; without a PIN it asks for the tries left
//	GET DATA              00 CB 3F FF 04 5C 02 7F 71 00  gives 7F 71 with the tries left (9F 17) and their limit (93)
//
// GET DATA gives the few files too that OpenSC wants to see on a card before it takes
// it for one. ServeVPCD puts the card into a reader of vpcd, and so before pcscd.
//
// A challenge is good for the very next command and no longer. SELECT and a
// reset void it and every authentication.
package virtualcard
