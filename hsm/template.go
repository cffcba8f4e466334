package hsm

import (
	"encoding/binary"
	"slices"

	"github.com/miekg/pkcs11"

	"latchkey/card"
)

// This file holds every attribute template that Latchkey gives to a token. What
// a key may do is decided by the template it is made with, not by the key it
// comes from: a wrong line here would make a card admin key readable, so keep
// them here, keep them short, and change templates_test.go with them.

// cardKeyTemplate is for a derived card admin key: it lives in the session, is
// never readable, and may encrypt and do nothing else.
func cardKeyTemplate(t card.KeyType) []*pkcs11.Attribute {
	return append(keyShape(t),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false),
		pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, true),
		pkcs11.NewAttribute(pkcs11.CKA_DECRYPT, false),
		pkcs11.NewAttribute(pkcs11.CKA_SIGN, false),
		pkcs11.NewAttribute(pkcs11.CKA_VERIFY, false),
		pkcs11.NewAttribute(pkcs11.CKA_WRAP, false),
		pkcs11.NewAttribute(pkcs11.CKA_UNWRAP, false),
		pkcs11.NewAttribute(pkcs11.CKA_DERIVE, false),
	)
}

// cardKeyTemplates makes the templates of all key types once: they are wanted for
// every answer. Nobody changes them.
func cardKeyTemplates() map[card.KeyType][]*pkcs11.Attribute {
	templates := make(map[card.KeyType][]*pkcs11.Attribute)
	for _, t := range card.KeyTypes() {
		templates[t] = cardKeyTemplate(t)
	}
	return templates
}

// unwrapTemplate is for a card admin key that is unwrapped. It is the same key as
// a derived one; only CKA_VALUE_LEN may not be given, since the wrapping holds it.
func unwrapTemplate(t card.KeyType) []*pkcs11.Attribute { return withoutLength(cardKeyTemplate(t)) }

// masterKeyTemplate is for a master key: never readable, and for its one use
// only. kcvSign adds the right to sign for as long as the key check value is
// being made; see makeMaster.
func masterKeyTemplate(t card.KeyType, use Use, token, kcvSign bool) []*pkcs11.Attribute {
	return append(keyShape(t),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, token),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false),
		pkcs11.NewAttribute(pkcs11.CKA_DERIVE, use == ForDeriving || use == ForMACs),
		pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, use == ForEncrypting || use == ForMACs),
		pkcs11.NewAttribute(pkcs11.CKA_DECRYPT, false),
		pkcs11.NewAttribute(pkcs11.CKA_SIGN, kcvSign),
		pkcs11.NewAttribute(pkcs11.CKA_VERIFY, false),
		pkcs11.NewAttribute(pkcs11.CKA_WRAP, false),
		pkcs11.NewAttribute(pkcs11.CKA_UNWRAP, use == ForUnwrapping),
	)
}

// finishedMasterTemplate turns a session object made with kcvSign into the
// token object that stays.
func finishedMasterTemplate(label string, id []byte) []*pkcs11.Attribute {
	return []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_SIGN, false),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, label),
		pkcs11.NewAttribute(pkcs11.CKA_ID, id),
	}
}

// allowedMechanisms binds a master key to the mechanisms of its use, so that
// not even the token's own user can put it to another. cmac admits the one that
// makes the key check value.
func allowedMechanisms(t card.KeyType, use Use, cmac bool) *pkcs11.Attribute {
	var list []uint
	switch use {
	case ForEncrypting:
		list = []uint{ecb(t).number}
		if !t.AES() {
			list = append(list, pkcs11.CKM_DES3_CBC) // responses to longer challenges
		}
	case ForDeriving:
		list = []uint{encryptData(t, false).number, ckmSP800108Counter}
		if t.AES() {
			list = append(list, encryptData(t, true).number)
		}
	case ForMACs:
		list = []uint{ecb(t).number, encryptData(t, false).number}
	case ForUnwrapping:
		list = []uint{pkcs11.CKM_AES_KEY_WRAP, pkcs11.CKM_AES_KEY_WRAP_PAD, pkcs11.CKM_AES_CBC_PAD}
	case ForNothing:
	}
	if cmac {
		list = append(list, pkcs11.CKM_AES_CMAC)
	}
	var value []byte
	for _, mechanism := range list {
		value = binary.NativeEndian.AppendUint64(value, uint64(mechanism))
	}
	return pkcs11.NewAttribute(pkcs11.CKA_ALLOWED_MECHANISMS, value)
}

// keyShape says what kind of secret key it is. The length of DES keys is fixed
// by their type: PKCS#11 forbids CKA_VALUE_LEN for them.
func keyShape(t card.KeyType) []*pkcs11.Attribute {
	shape := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, keyType(t)),
	}
	if t.AES() {
		shape = append(shape, pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, t.Len()))
	}
	return shape
}

// withoutLength drops CKA_VALUE_LEN, which C_CreateObject and C_UnwrapKey refuse:
// they take the length from the value.
func withoutLength(template []*pkcs11.Attribute) []*pkcs11.Attribute {
	return slices.DeleteFunc(template, func(a *pkcs11.Attribute) bool { return a.Type == pkcs11.CKA_VALUE_LEN })
}

func keyType(t card.KeyType) uint {
	switch t {
	case card.TDES2:
		return pkcs11.CKK_DES2
	case card.TDES3:
		return pkcs11.CKK_DES3
	case card.AES128, card.AES192, card.AES256:
	}
	return pkcs11.CKK_AES
}
