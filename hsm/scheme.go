package hsm

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/miekg/pkcs11"

	"latchkey/card"
)

// derivation is what the token has to do to make a card admin key: encrypt data
// under the master key, and take the first bytes of that for the key.
type derivation struct {
	mechanism uint
	data      []byte
	cbc       bool // CBC with an IV of zeros, else ECB
}

// derivationOf lays out the diversification data of a scheme for a master key
// of the given type. The layouts are in docs/schemes.md with their sources.
func derivationOf(master card.KeyType, key card.AdminKey) (derivation, error) {
	d, err := layOut(master, key)
	if err != nil {
		return derivation{}, err
	}
	block := master.Block()
	switch {
	case len(d.data)%block != 0:
		return derivation{}, unfitInput("scheme %s: %d bytes of derivation data are not a multiple of %d", key.Scheme, len(d.data), block)
	case len(d.data) < key.Type.Len():
		return derivation{}, unfitInput("scheme %s: %d bytes of derivation data are too few for a key of %d", key.Scheme, len(d.data), key.Type.Len())
	case !d.cbc && repeats(d.data[:roundUp(key.Type.Len(), block)], block):
		// Equal blocks encrypt to equal parts of the key: a TDES key collapses to
		// single DES, an AES key to half its length.
		return derivation{}, &UnsupportedError{fmt.Sprintf("scheme %s: two blocks of the derivation data are equal, which would halve the key; such a key is refused", key.Scheme)}
	}
	return d, nil
}

func layOut(master card.KeyType, key card.AdminKey) (derivation, error) {
	if key.Type.Len() == 0 {
		return derivation{}, unfitInput("%q is not a key type", key.Type)
	}
	needs := func(types ...card.KeyType) error {
		if slices.Contains(types, master) {
			return nil
		}
		return unfit("scheme %s works with a master key of type %v, this one is %s", key.Scheme, types, master)
	}
	switch key.Scheme {
	case card.LatchkeyV1:
		if len(key.Data) == 0 {
			return derivation{}, unfitInput("scheme %s: the card's serial number is empty", key.Scheme)
		}
		return derivation{pkcs11.CKM_AES_CBC_ENCRYPT_DATA, latchkeyV1(key.Type, key.Data), true}, needs(card.AES256)
	case card.TDESECBKey:
		return derivation{pkcs11.CKM_DES3_ECB_ENCRYPT_DATA, key.Data, false}, needs(card.TDES2, card.TDES3)
	case card.AESECBKey:
		return derivation{pkcs11.CKM_AES_ECB_ENCRYPT_DATA, key.Data, false}, needs(card.AES128, card.AES192, card.AES256)
	case card.AESCBCKey:
		return derivation{pkcs11.CKM_AES_CBC_ENCRYPT_DATA, key.Data, true}, needs(card.AES128, card.AES192, card.AES256)
	case card.VISA2, card.EMV:
		if len(key.Data) != card.KDDLen {
			return derivation{}, unfitInput("scheme %s: the KDD has %d bytes, not %d", key.Scheme, len(key.Data), card.KDDLen)
		}
		if key.Type != card.TDES2 {
			return derivation{}, unfitInput("scheme %s derives a key of type %s, not %s", key.Scheme, card.TDES2, key.Type)
		}
		return derivation{pkcs11.CKM_DES3_ECB_ENCRYPT_DATA, globalPlatform(key), false}, needs(card.TDES2, card.TDES3)
	case card.Static: // nothing is derived; see session.answer
	}
	return derivation{}, unsupportedScheme(key.Scheme)
}

// latchkeyV1 is SHA-256 over the scheme's name, the card key's type and the
// serial number, parted by zero bytes: 32 bytes that no two cards and no two
// key types share.
func latchkeyV1(t card.KeyType, serial []byte) []byte {
	sum := sha256.Sum256(bytes.Join([][]byte{[]byte(card.LatchkeyV1), []byte(t), serial}, []byte{0}))
	return sum[:]
}

// globalPlatform lays out VISA2 and EMV CPS data from the 10 bytes of KDD: six
// of them with F0 and the key number, then the same with 0F.
func globalPlatform(key card.AdminKey) []byte {
	part := key.Data[4:10] // EMV: the last six
	if key.Scheme == card.VISA2 {
		part = slices.Concat(key.Data[0:2], key.Data[4:8])
	}
	return slices.Concat(part, []byte{0xF0, key.KeyNumber}, part, []byte{0x0F, key.KeyNumber})
}

// unsupportedScheme says why a scheme that others know is not carried out here.
func unsupportedScheme(s card.Scheme) error {
	if s == "an10922-aes192" {
		return &UnsupportedError{"scheme an10922-aes192 xors two CMACs, which no PKCS#11 mechanism does inside the token; the key would have to be put together in memory"}
	}
	return &UnsupportedError{"scheme " + string(s) + " is not in this version"}
}

func repeats(data []byte, block int) bool {
	seen := make(map[string]bool)
	for part := range slices.Chunk(data, block) {
		if seen[string(part)] {
			return true
		}
		seen[string(part)] = true
	}
	return false
}

func roundUp(n, block int) int { return (n + block - 1) / block * block }
