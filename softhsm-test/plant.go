package softhsmtest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/miekg/pkcs11"

	"latchkey/softhsm-test/softtoken"
)

// Plant puts a master key into the token as other software, or a careless hand,
// might. It is an AES-256 key that derives, sensitive and not extractable, bound
// to no mechanisms and without an ID of Latchkey's, but for its traits:
//
//	extractable, insensitive, public   the attribute's dangerous value
//	encrypt, sign, wrap                one right more
//	card, useless                      encrypts and does not derive, or does neither
//	tdes3                              a three-key TDES key
//	bound, narrow                      CKA_ALLOWED_MECHANISMS: every derivation and AES-ECB, or AES-CTR alone
//	foreign                            a generic secret of 32 bytes
//
// The token may be open or not.
func Plant(t softtoken.Token, label string, traits ...string) (err error) {
	ctx := pkcs11.New(t.Module)
	if ctx == nil {
		return fmt.Errorf("%s is not a PKCS#11 library", t.Module)
	}
	defer ctx.Destroy()
	switch err := ctx.Initialize(); {
	case errors.Is(err, pkcs11.Error(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED)):
	case err != nil:
		return err
	default:
		defer func() { err = errors.Join(err, ctx.Finalize()) }()
	}
	slot, err := (&Token{t}).slot(ctx)
	if err != nil {
		return err
	}
	session, err := ctx.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ctx.CloseSession(session)) }()
	if err := ctx.Login(session, pkcs11.CKU_USER, t.PIN); err != nil && !errors.Is(err, pkcs11.Error(pkcs11.CKR_USER_ALREADY_LOGGED_IN)) {
		return err
	}
	mechanism, template := planted(label, traits)
	_, err = ctx.GenerateKey(session, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanism, nil)}, template)
	return err
}

// planted is the mechanism and the template of a key to be planted.
func planted(label string, traits []string) (mechanism uint, template []*pkcs11.Attribute) {
	has := func(trait string) bool { return slices.Contains(traits, trait) }
	template = []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, label),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, !has("public")),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, !has("insensitive")),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, has("extractable")),
		pkcs11.NewAttribute(pkcs11.CKA_DERIVE, !has("card") && !has("useless")),
		pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, has("encrypt") || has("card")),
		pkcs11.NewAttribute(pkcs11.CKA_DECRYPT, false),
		pkcs11.NewAttribute(pkcs11.CKA_SIGN, has("sign")),
		pkcs11.NewAttribute(pkcs11.CKA_VERIFY, false),
		pkcs11.NewAttribute(pkcs11.CKA_WRAP, has("wrap")),
		pkcs11.NewAttribute(pkcs11.CKA_UNWRAP, false),
	}
	switch {
	case has("bound"):
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_ALLOWED_MECHANISMS,
			ulongs(pkcs11.CKM_AES_ECB_ENCRYPT_DATA, pkcs11.CKM_AES_CBC_ENCRYPT_DATA, pkcs11.CKM_AES_ECB)))
	case has("narrow"):
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_ALLOWED_MECHANISMS, ulongs(pkcs11.CKM_AES_CTR)))
	}
	switch {
	case has("tdes3"):
		return pkcs11.CKM_DES3_KEY_GEN, append(template, pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_DES3))
	case has("foreign"):
		return pkcs11.CKM_GENERIC_SECRET_KEY_GEN, append(template,
			pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_GENERIC_SECRET), pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, 32))
	}
	return pkcs11.CKM_AES_KEY_GEN, append(template,
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES), pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, 32))
}

// ulongs is an array of CK_ULONG.
func ulongs(list ...uint) (value []byte) {
	for _, n := range list {
		value = append(value, pkcs11.NewAttribute(0, n).Value...)
	}
	return value
}

// Plant is [Plant] in a test.
func (t *Token) Plant(tb testing.TB, label string, traits ...string) {
	tb.Helper()
	if err := Plant(t.Token, label, traits...); err != nil {
		tb.Fatalf("plant key %s: %v", label, err)
	}
}
