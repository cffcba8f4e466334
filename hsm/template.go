package hsm

import (
	"crypto/rsa"
	"encoding/binary"
	"math/big"
	"slices"

	"github.com/miekg/pkcs11"

	"latchkey/card"
)

// This file holds every attribute template that Latchkey gives to a token. What
// a key may do is decided by the template it is made with, not by the key it
// comes from: a wrong line here would make a card admin key readable, so keep
// them here, keep them short, and change template_test.go with them.

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
// token object that stays. It ends the extractability of one that had to be
// wrapped; for the others the token holds the attribute to be unchangeable.
func finishedMasterTemplate(label string, id []byte, extractable bool) []*pkcs11.Attribute {
	template := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_SIGN, false),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, label),
		pkcs11.NewAttribute(pkcs11.CKA_ID, id),
	}
	if extractable {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false))
	}
	return template
}

// measuringTemplate is for a key that lives for one wrapping, whose length tells
// that of the wrapped key.
func measuringTemplate() []*pkcs11.Attribute {
	return append(keyShape(card.AES256),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false),
		pkcs11.NewAttribute(pkcs11.CKA_WRAP, true),
		pkcs11.NewAttribute(pkcs11.CKA_UNWRAP, false),
		pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, false),
		pkcs11.NewAttribute(pkcs11.CKA_DECRYPT, false),
	)
}

// wrapperTemplate is for a throw-away key that wraps another and unwraps it again,
// to try the scheme wrapped.
func wrapperTemplate() []*pkcs11.Attribute {
	template := slices.DeleteFunc(masterKeyTemplate(card.AES256, ForUnwrapping, false, false),
		func(a *pkcs11.Attribute) bool { return a.Type == pkcs11.CKA_WRAP })
	return append(template, pkcs11.NewAttribute(pkcs11.CKA_WRAP, true))
}

// extractable makes of a master key's template that of a session object which is
// wrapped once: to be backed up, or to be measured. The token object that stays is a copy made with
// finishedMasterTemplate, which is not extractable.
func extractable(template []*pkcs11.Attribute) []*pkcs11.Attribute {
	template = slices.DeleteFunc(template, func(a *pkcs11.Attribute) bool { return a.Type == pkcs11.CKA_EXTRACTABLE })
	return append(template, pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, true))
}

// transportPrivateTemplate is for the private half of a transport key pair: it
// unwraps and does nothing else.
func transportPrivateTemplate(label string) []*pkcs11.Attribute {
	return []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false),
		pkcs11.NewAttribute(pkcs11.CKA_UNWRAP, true),
		pkcs11.NewAttribute(pkcs11.CKA_DECRYPT, false),
		pkcs11.NewAttribute(pkcs11.CKA_SIGN, false),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, label),
	}
}

// transportPublicTemplate is for the public half, which the token keeps so that
// it can be shown again.
func transportPublicTemplate(label string) []*pkcs11.Attribute {
	return []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, false),
		pkcs11.NewAttribute(pkcs11.CKA_MODULUS_BITS, transportBits),
		pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1}),
		pkcs11.NewAttribute(pkcs11.CKA_WRAP, true),
		pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, false),
		pkcs11.NewAttribute(pkcs11.CKA_VERIFY, false),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, label),
	}
}

// wrappingTemplate is for another token's transport key, as a session object that
// wraps one backup.
func wrappingTemplate(public *rsa.PublicKey) []*pkcs11.Attribute {
	return []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_RSA),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, false),
		pkcs11.NewAttribute(pkcs11.CKA_MODULUS, public.N.Bytes()),
		pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, big.NewInt(int64(public.E)).Bytes()),
		pkcs11.NewAttribute(pkcs11.CKA_WRAP, true),
		pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, false),
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
	return pkcs11.NewAttribute(pkcs11.CKA_ALLOWED_MECHANISMS, mechanismList(list...))
}

// mechanismList is an array of CK_MECHANISM_TYPE.
func mechanismList(list ...uint) (value []byte) {
	for _, mechanism := range list {
		value = binary.NativeEndian.AppendUint64(value, uint64(mechanism))
	}
	return value
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
