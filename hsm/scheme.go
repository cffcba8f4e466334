package hsm

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/miekg/pkcs11"

	"latchkey/card"
)

// plan is what the token has to do to make a card admin key out of a master key.
// Exactly one of its parts is set. The layouts behind it are in docs/schemes.md
// with their sources.
type plan struct {
	// encrypt: encrypt this under the master key inside the token, and take the
	// first bytes for the key (CKM_*_ENCRYPT_DATA).
	encrypt []byte
	// cbc tells that encrypt goes by CBC with an IV of zeros, not by ECB.
	cbc bool
	// macs: the key is the CMACs of these, one after the other.
	macs []macInput
	// counter: the same as macs, for tokens that have SP 800-108 themselves.
	counter *counterKDF
	// unwrap: the key itself, wrapped under the master key.
	unwrap []byte
}

// counterKDF is the input of NIST SP 800-108 in counter mode.
type counterKDF struct {
	format card.Counter
	fixed  []byte
}

// needs tells which use the master key must have been made for.
func (p plan) needs() Use {
	switch {
	case p.unwrap != nil:
		return ForUnwrapping
	case p.macs != nil:
		return ForMACs
	}
	return ForDeriving
}

// masterTypes lists the types of master key that a scheme works with.
func masterTypes(s card.Scheme, cardKey card.KeyType) []card.KeyType {
	switch s {
	case card.LatchkeyV1:
		return []card.KeyType{card.AES256}
	case card.AESECBKey, card.AESCBCKey, card.Wrapped:
		return []card.KeyType{card.AES128, card.AES192, card.AES256}
	case card.TDESECBKey, card.VISA2, card.EMV:
		return []card.KeyType{card.TDES2, card.TDES3}
	case card.SP800108:
		return card.KeyTypes()
	case card.KDF3, card.AN10922AES128, card.AN10922AES192, card.AN10922AES256,
		card.AN109222TDEA, card.AN109223TDEA, card.Static:
		// The key that comes out is of the master's own type.
		return []card.KeyType{cardKey}
	}
	return nil
}

// planFor lays out how a card admin key is made from a master key of the type.
func planFor(master card.KeyType, key card.AdminKey) (plan, error) {
	if why := key.Scheme.Refusal(); why != "" {
		return plan{}, &UnsupportedError{why}
	}
	if key.Scheme == card.Static || !slices.Contains(card.Schemes(), key.Scheme) {
		return plan{}, &UnsupportedError{"scheme " + string(key.Scheme) + " is not in this version"}
	}
	if key.Type.Len() == 0 {
		return plan{}, unfitInput("%q is not a key type", key.Type)
	}
	if !slices.Contains(key.Scheme.CardKeyTypes(), key.Type) {
		return plan{}, unfitInput("scheme %s makes keys of type %v, not %s", key.Scheme, key.Scheme.CardKeyTypes(), key.Type)
	}
	if types := masterTypes(key.Scheme, key.Type); !slices.Contains(types, master) {
		return plan{}, unfit("scheme %s works with a master key of type %v, this one is %s", key.Scheme, types, master)
	}
	p, err := layOut(master, key)
	if err != nil {
		return plan{}, err
	}
	return p, p.check(master, key)
}

// check refuses data that makes no whole key, or half a one.
func (p plan) check(master card.KeyType, key card.AdminKey) error {
	if p.encrypt == nil {
		return nil
	}
	block := master.Block()
	switch {
	case len(p.encrypt)%block != 0:
		return unfitInput("scheme %s: %d bytes of derivation data are not a multiple of %d", key.Scheme, len(p.encrypt), block)
	case len(p.encrypt) < key.Type.Len():
		return unfitInput("scheme %s: %d bytes of derivation data are too few for a key of %d", key.Scheme, len(p.encrypt), key.Type.Len())
	case !p.cbc && repeats(p.encrypt[:roundUp(key.Type.Len(), block)], block):
		// Equal blocks encrypt to equal parts of the key: a TDES key collapses to
		// single DES, an AES key to half its length.
		return &UnsupportedError{fmt.Sprintf("scheme %s: two blocks of the derivation data are equal, which would halve the key; such a key is refused", key.Scheme)}
	}
	return nil
}

func layOut(master card.KeyType, key card.AdminKey) (plan, error) {
	switch key.Scheme {
	case card.LatchkeyV1:
		if len(key.Data) == 0 {
			return plan{}, unfitInput("scheme %s: the card's serial number is empty", key.Scheme)
		}
		return plan{encrypt: latchkeyV1(key.Type, key.Data), cbc: true}, nil
	case card.TDESECBKey, card.AESECBKey:
		return plan{encrypt: nonNil(key.Data)}, nil
	case card.AESCBCKey:
		return plan{encrypt: nonNil(key.Data), cbc: true}, nil
	case card.VISA2, card.EMV, card.KDF3:
		if len(key.Data) != card.KDDLen {
			return plan{}, unfitInput("scheme %s: the KDD has %d bytes, not %d", key.Scheme, len(key.Data), card.KDDLen)
		}
		if key.Scheme == card.KDF3 {
			return counterPlan(master, key.Type, counterKDF{card.Counter{Bits: 8}, kdf3Fixed(key)})
		}
		return plan{encrypt: globalPlatform(key)}, nil
	case card.AN10922AES128, card.AN10922AES256, card.AN109222TDEA, card.AN109223TDEA:
		return an10922(master, key)
	case card.SP800108:
		if len(key.Data) == 0 {
			return plan{}, unfitInput("scheme %s: the fixed input is empty", key.Scheme)
		}
		return counterPlan(master, key.Type, counterKDF{key.Counter, key.Data})
	case card.Wrapped:
		if want := key.Wrapping.Len(key.Type); len(key.Data) != want {
			return plan{}, unfitInput("scheme %s: the card's wrapped key has %d bytes; %s of a key of type %s has %d", key.Scheme, len(key.Data), key.Wrapping, key.Type, want)
		}
		return plan{unwrap: key.Data}, nil
	case card.AN10922AES192, card.Static:
	}
	return plan{}, &UnsupportedError{"scheme " + string(key.Scheme) + " is not in this version"}
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

// kdf3Fixed is what follows the 8-bit counter in GlobalPlatform's KDF3: the key
// number, framed by zeros, and the 10 bytes of KDD.
func kdf3Fixed(key card.AdminKey) []byte {
	return slices.Concat([]byte{0, 0, 0, key.KeyNumber, 0}, key.Data)
}

// an10922 lays out NXP AN10922: per block of key a CMAC over a constant byte and
// the diversification input, always padded to two blocks. (A plain CMAC pads a
// short input to one, and gives another key.)
func an10922(master card.KeyType, key card.AdminKey) (plan, error) {
	constants := map[card.Scheme][]byte{
		card.AN10922AES128: {0x01},
		card.AN10922AES256: {0x41, 0x42},
		card.AN109222TDEA:  {0x21, 0x22},
		card.AN109223TDEA:  {0x31, 0x32, 0x33},
	}[key.Scheme]
	whole := 2 * master.Block()
	if len(key.Data) == 0 || len(key.Data) >= whole {
		return plan{}, unfitInput("scheme %s takes 1 to %d bytes of diversification input, not %d", key.Scheme, whole-1, len(key.Data))
	}
	var p plan
	for _, constant := range constants {
		p.macs = append(p.macs, newMACInput(append([]byte{constant}, key.Data...), whole))
	}
	return p, nil
}

// counterPlan lays out NIST SP 800-108r1, section 4.1, with CMAC: for each block
// of key the counter, from 1, before or behind the fixed input. The standard's
// label, separator, context and length are the caller's, in the fixed input.
func counterPlan(master, t card.KeyType, kdf counterKDF) (plan, error) {
	if b := kdf.format.Bits; b != 8 && b != 16 && b != 32 {
		return plan{}, unfitInput("the counter must have 8, 16 or 32 bits, not %d", b)
	}
	block := master.Block()
	p := plan{counter: &kdf}
	for i := 1; i <= roundUp(t.Len(), block)/block; i++ {
		counter := binary.BigEndian.AppendUint32(nil, uint32(i))[4-kdf.format.Bits/8:]
		input := slices.Concat(counter, kdf.fixed)
		if kdf.format.After {
			input = slices.Concat(kdf.fixed, counter)
		}
		p.macs = append(p.macs, newMACInput(input, block))
	}
	return p, nil
}

// aesBlock is the length of AES's block, and of its IV, in bytes.
const aesBlock = 16

// nonNil keeps empty data apart from a part of a plan that is not set.
func nonNil(b []byte) []byte { return append([]byte{}, b...) }

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

// A mechanism is a PKCS#11 mechanism with its name.
type mechanism struct {
	number uint
	name   string
}

// encryptData is the mechanism that derives by encrypting under a master key.
func encryptData(master card.KeyType, cbc bool) mechanism {
	switch {
	case !master.AES():
		return mechanism{pkcs11.CKM_DES3_ECB_ENCRYPT_DATA, "CKM_DES3_ECB_ENCRYPT_DATA"}
	case cbc:
		return mechanism{pkcs11.CKM_AES_CBC_ENCRYPT_DATA, "CKM_AES_CBC_ENCRYPT_DATA"}
	}
	return mechanism{pkcs11.CKM_AES_ECB_ENCRYPT_DATA, "CKM_AES_ECB_ENCRYPT_DATA"}
}

// ecb is the mechanism that encrypts single blocks under a key of the type.
func ecb(t card.KeyType) mechanism {
	if t.AES() {
		return mechanism{pkcs11.CKM_AES_ECB, "CKM_AES_ECB"}
	}
	return mechanism{pkcs11.CKM_DES3_ECB, "CKM_DES3_ECB"}
}

// unwrapping is the mechanism that undoes a wrapping.
func unwrapping(w card.Wrapping) (mechanism, error) {
	switch w {
	case card.KeyWrap, "":
		return mechanism{pkcs11.CKM_AES_KEY_WRAP, "CKM_AES_KEY_WRAP"}, nil
	case card.KeyWrapPad:
		return mechanism{pkcs11.CKM_AES_KEY_WRAP_PAD, "CKM_AES_KEY_WRAP_PAD"}, nil
	case card.CBCPad:
		return mechanism{pkcs11.CKM_AES_CBC_PAD, "CKM_AES_CBC_PAD"}, nil
	}
	return mechanism{}, &UnsupportedError{fmt.Sprintf("wrapping %q is not in this version", w)}
}

// schemeMechanisms lists what a token must have to carry out a scheme with a
// master key of the type.
func schemeMechanisms(s card.Scheme, master card.KeyType) []mechanism {
	switch s {
	case card.LatchkeyV1, card.AESCBCKey:
		return []mechanism{encryptData(master, true)}
	case card.AESECBKey, card.TDESECBKey, card.VISA2, card.EMV:
		return []mechanism{encryptData(master, false)}
	case card.KDF3, card.SP800108, card.AN10922AES128, card.AN10922AES256, card.AN109222TDEA, card.AN109223TDEA:
		return []mechanism{ecb(master), encryptData(master, false)}
	case card.Wrapped:
		return []mechanism{{pkcs11.CKM_AES_KEY_WRAP, "CKM_AES_KEY_WRAP"}}
	case card.Static:
		return []mechanism{ecb(master)}
	case card.AN10922AES192:
	}
	return nil
}
