package hsm

import (
	"crypto/rsa"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"

	"latchkey/card"
)

// Every attribute of every template, so that nobody changes what a key may do
// without saying it here as well. A mark of its own, "+" for true and "-" for
// false, makes the one wrong line easy to see.
func TestTemplates(t *testing.T) {
	public := &rsa.PublicKey{N: big.NewInt(1), E: 65537}
	const readOnly = " -token +private +sensitive -extractable"
	for _, test := range []struct {
		name     string
		template []*pkcs11.Attribute
		want     string
	}{
		{"card key, AES", cardKeyTemplate(card.AES192), "class key_type value_len" + readOnly + " +encrypt -decrypt -sign -verify -wrap -unwrap -derive"},
		{"card key, TDES", cardKeyTemplate(card.TDES3), "class key_type" + readOnly + " +encrypt -decrypt -sign -verify -wrap -unwrap -derive"},
		{"card key, unwrapped", unwrapTemplate(card.AES128), "class key_type" + readOnly + " +encrypt -decrypt -sign -verify -wrap -unwrap -derive"},
		{"master, derive", masterKeyTemplate(card.AES256, ForDeriving, true, false),
			"class key_type value_len +token +private +sensitive -extractable +derive -encrypt -decrypt -sign -verify -wrap -unwrap"},
		{"master, derive, while its check value is made", masterKeyTemplate(card.AES256, ForDeriving, false, true),
			"class key_type value_len -token +private +sensitive -extractable +derive -encrypt -decrypt +sign -verify -wrap -unwrap"},
		{"master, mac", masterKeyTemplate(card.AES256, ForMACs, true, false),
			"class key_type value_len +token +private +sensitive -extractable +derive +encrypt -decrypt -sign -verify -wrap -unwrap"},
		{"master, unwrap", masterKeyTemplate(card.AES256, ForUnwrapping, true, false),
			"class key_type value_len +token +private +sensitive -extractable -derive -encrypt -decrypt -sign -verify -wrap +unwrap"},
		{"master, encrypt", masterKeyTemplate(card.TDES2, ForEncrypting, true, false),
			"class key_type +token +private +sensitive -extractable -derive +encrypt -decrypt -sign -verify -wrap -unwrap"},
		{"what stays of a master", finishedMasterTemplate("m", []byte{1}, false), "+token -sign label id"},
		{"what stays of one that was wrapped", finishedMasterTemplate("m", []byte{1}, true), "+token -sign label id -extractable"},
		{"master that is wrapped once", extractable(masterKeyTemplate(card.AES256, ForDeriving, false, true)),
			"class key_type value_len -token +private +sensitive +derive -encrypt -decrypt +sign -verify -wrap -unwrap +extractable"},
		{"ruler", measuringTemplate(), "class key_type value_len -token +private +sensitive -extractable +wrap -unwrap -encrypt -decrypt"},
		{"throw-away that wraps", wrapperTemplate(), "class key_type value_len -token +private +sensitive -extractable -derive -encrypt -decrypt -sign -verify +unwrap +wrap"},
		{"transport, private", transportPrivateTemplate("t"), "+token +private +sensitive -extractable +unwrap -decrypt -sign label"},
		{"transport, public", transportPublicTemplate("t"), "+token -private modulus_bits public_exponent +wrap -encrypt -verify label"},
		{"another token's transport key", wrappingTemplate(public), "class key_type -token -private modulus public_exponent +wrap -encrypt"},
	} {
		if got := spell(test.template); got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", test.name, got, test.want)
		}
	}
}

func spell(template []*pkcs11.Attribute) string {
	names := map[uint]string{
		pkcs11.CKA_CLASS: "class", pkcs11.CKA_KEY_TYPE: "key_type", pkcs11.CKA_VALUE_LEN: "value_len", pkcs11.CKA_TOKEN: "token",
		pkcs11.CKA_PRIVATE: "private", pkcs11.CKA_SENSITIVE: "sensitive", pkcs11.CKA_EXTRACTABLE: "extractable",
		pkcs11.CKA_ENCRYPT: "encrypt", pkcs11.CKA_DECRYPT: "decrypt", pkcs11.CKA_SIGN: "sign", pkcs11.CKA_VERIFY: "verify",
		pkcs11.CKA_WRAP: "wrap", pkcs11.CKA_UNWRAP: "unwrap", pkcs11.CKA_DERIVE: "derive", pkcs11.CKA_LABEL: "label", pkcs11.CKA_ID: "id",
		pkcs11.CKA_MODULUS: "modulus", pkcs11.CKA_MODULUS_BITS: "modulus_bits", pkcs11.CKA_PUBLIC_EXPONENT: "public_exponent",
	}
	valued := []uint{
		pkcs11.CKA_CLASS, pkcs11.CKA_KEY_TYPE, pkcs11.CKA_VALUE_LEN, pkcs11.CKA_LABEL, pkcs11.CKA_ID,
		pkcs11.CKA_MODULUS, pkcs11.CKA_MODULUS_BITS, pkcs11.CKA_PUBLIC_EXPONENT,
	}
	words := make([]string, len(template))
	for i, a := range template {
		name := names[a.Type]
		if name == "" {
			name = fmt.Sprintf("0x%X", a.Type)
		}
		switch {
		case slices.Contains(valued, a.Type):
			words[i] = name
		case isTrue(a):
			words[i] = "+" + name
		default:
			words[i] = "-" + name
		}
	}
	return strings.Join(words, " ")
}

// A master key may be put to the mechanisms of its use and to no others.
func TestAllowedMechanisms(t *testing.T) {
	for use, want := range map[Use][]uint{
		ForDeriving:   {pkcs11.CKM_AES_ECB_ENCRYPT_DATA, ckmSP800108Counter, pkcs11.CKM_AES_CBC_ENCRYPT_DATA},
		ForMACs:       {pkcs11.CKM_AES_ECB, pkcs11.CKM_AES_ECB_ENCRYPT_DATA},
		ForEncrypting: {pkcs11.CKM_AES_ECB},
		ForUnwrapping: {pkcs11.CKM_AES_KEY_WRAP, pkcs11.CKM_AES_KEY_WRAP_PAD, pkcs11.CKM_AES_CBC_PAD},
	} {
		got := mechanismNumbers(allowedMechanisms(card.AES256, use, false).Value)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", use, got, want)
		}
	}
}
