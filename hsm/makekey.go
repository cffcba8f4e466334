package hsm

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/pkcs11"

	"latchkey/card"
)

// NewKey says what master key to make.
type NewKey struct {
	Label   string
	Version int
	Type    card.KeyType
	Use     Use
	// KCV is the check value that the key must have, by DESZero or AESCMACZero, or
	// nothing is kept; the zero KCV is any.
	KCV KCV
}

func (n NewKey) check() error {
	switch {
	case strings.TrimSpace(n.Label) == "" || len(n.Label) > card.MaxID:
		return unfit("the label must have 1 to %d bytes", card.MaxID)
	case n.Version < 1 || n.Version > card.MaxKeyVersion:
		return unfit("the version must be from 1 to %d", card.MaxKeyVersion)
	case n.Type.Len() == 0:
		return unfit("%q is not a key type", n.Type)
	case !slices.Contains(Uses(), n.Use):
		return unfit("the use must be one of %s", card.Join(Uses()))
	case n.Use == ForUnwrapping && !n.Type.AES():
		return unfit("a key for use %s must be an AES key", ForUnwrapping)
	}
	return nil
}

// Generate makes a master key inside the token from the token's own randomness.
// A key of that label and version must not exist.
func (t *Token) Generate(ctx context.Context, n NewKey) (Key, error) {
	return t.makeMaster(ctx, n, func(s *session, template []*pkcs11.Attribute) (pkcs11.ObjectHandle, error) {
		return s.generate(n.Type, template)
	})
}

// Import makes a master key of bytes that come from outside. They have been
// outside, so the token will say of it that it was not always sensitive. The
// caller wipes value.
func (t *Token) Import(ctx context.Context, n NewKey, value []byte) (Key, error) {
	if why := Weak(n.Type, value); why != "" && len(value) == n.Type.Len() {
		return Key{}, unfit("%s", why)
	}
	value = slices.Clone(value) // the caller may wipe its own before a call that hangs comes back
	return t.makeMaster(ctx, n, func(s *session, template []*pkcs11.Attribute) (pkcs11.ObjectHandle, error) {
		defer clear(value)
		return s.create(n.Type, value, template)
	})
}

// maker makes the session object of a key to be, from a template.
type maker func(*session, []*pkcs11.Attribute) (pkcs11.ObjectHandle, error)

// makeMaster makes a key as a session object, takes its check value, and only
// then turns it into the token object that stays: a failure half-way leaves
// nothing in the token.
//
// An AES key check value is a CMAC, so the session object may sign and the copy
// that stays may not. TDES keys have theirs from the token (CKA_CHECK_VALUE).
func (t *Token) makeMaster(ctx context.Context, n NewKey, create maker) (Key, error) {
	if err := n.check(); err != nil {
		return Key{}, err
	}
	if err := t.reload(ctx); err != nil {
		return Key{}, err
	}
	if taken, _ := t.lookUp(keyName{n.Label, n.Version}); len(taken) != 0 {
		return Key{}, unfit("%s version %d exists already; choose the next version", n.Label, n.Version)
	}
	k, err := runWith(ctx, t, true, func(s *session) (Key, error) { return s.makeMaster(n, create) })
	if err != nil {
		return Key{}, err
	}
	return k, t.reload(ctx)
}

func (s *session) makeMaster(n NewKey, create maker) (_ Key, err error) {
	cmac := n.Type.AES()
	template := append(masterKeyTemplate(n.Type, n.Use, false, cmac), allowedMechanisms(n.Type, n.Use, cmac))
	made, err := create(s, template)
	if err != nil {
		return Key{}, fmt.Errorf("make master key: %w", err)
	}
	defer s.destroy(made, &err)
	value, err := s.checkValue(made, n.Type)
	if err != nil {
		return Key{}, fmt.Errorf("take key check value: %w", err)
	}
	if values := s.kcvs(made, n.Type, value); n.KCV != (KCV{}) && !slices.Contains(values, n.KCV) {
		return Key{}, unfit("its key check value is %s, not %s; nothing was kept", joinKCVs(values), n.KCV)
	}
	attributes, err := s.ctx.GetAttributeValue(s.handle, made, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, nil)})
	if err := s.call("C_GetAttributeValue", err); err != nil {
		return Key{}, err
	}
	finished := finishedMasterTemplate(n.Label, keyID(n.Version, value, n.Type), isTrue(attributes[0]))
	h, err := s.ctx.CopyObject(s.handle, made, finished)
	if err := s.call("C_CopyObject", err); err != nil {
		return Key{}, fmt.Errorf("keep master key: %w", err)
	}
	k, _, err := s.key(h)
	return k, err
}

// orUnbound makes a key, without CKA_ALLOWED_MECHANISMS where the token does not
// know the attribute, as openCryptoki does not. Its use binds the key all the
// same, and its Weakness tells what is missing.
func orUnbound(template []*pkcs11.Attribute, create func([]*pkcs11.Attribute) (pkcs11.ObjectHandle, error)) (pkcs11.ObjectHandle, error) {
	h, err := create(template)
	if code(err) != pkcs11.CKR_ATTRIBUTE_TYPE_INVALID {
		return h, err
	}
	fewer := slices.DeleteFunc(slices.Clone(template), func(a *pkcs11.Attribute) bool { return a.Type == pkcs11.CKA_ALLOWED_MECHANISMS })
	if len(fewer) == len(template) {
		return h, err
	}
	return create(fewer)
}

func joinKCVs(values []KCV) string {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = v.String()
	}
	return strings.Join(words, " or ")
}

func (s *session) checkValue(h pkcs11.ObjectHandle, t card.KeyType) ([]byte, error) {
	if !t.AES() {
		attributes, err := s.ctx.GetAttributeValue(s.handle, h, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CHECK_VALUE, nil)})
		if err := s.call("C_GetAttributeValue", err); err != nil {
			return nil, err
		}
		return attributes[0].Value, nil
	}
	mac, err := s.cmac(h, t)
	if err != nil {
		return nil, err
	}
	return mac[:kcvLen], nil
}

// cmac is the CMAC of a block of zeros under a key that may sign.
func (s *session) cmac(h pkcs11.ObjectHandle, t card.KeyType) ([]byte, error) {
	err := s.ctx.SignInit(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_CMAC, nil)}, h)
	if err := s.call("C_SignInit", err); err != nil {
		return nil, err
	}
	mac, err := s.ctx.Sign(s.handle, make([]byte, t.Block()))
	if err := s.call("C_Sign", err); err != nil {
		s.spoiled = true // the operation may still be active
		return nil, err
	}
	if len(mac) < kcvLen {
		return nil, fmt.Errorf("C_Sign gave a CMAC of %d bytes", len(mac))
	}
	return mac, nil
}

// CheckValue computes the check value of a key that is not in the token, such as
// one component of a master key, as a session object that is destroyed again.
func (t *Token) CheckValue(ctx context.Context, kt card.KeyType, value []byte, c Convention) (KCV, error) {
	block, encrypts := map[Convention]byte{DESZero: 0, AESECBZero: 0, AESECBOnes: 1}[c]
	switch {
	case !encrypts && c != AESCMACZero:
		return KCV{}, &UnsupportedError{fmt.Sprintf("key check value convention %q is not in this version", c)}
	case kt.AES() != (c != DESZero):
		return KCV{}, unfitInput("convention %s does not go with a key of type %s", c, kt)
	}
	value = slices.Clone(value)
	return run(ctx, t, func(s *session) (_ KCV, err error) {
		defer clear(value)
		h, err := s.create(kt, value, masterKeyTemplate(kt, ForEncrypting, false, !encrypts))
		if err != nil {
			return KCV{}, err
		}
		defer s.destroy(h, &err)
		if !encrypts {
			mac, err := s.cmac(h, kt)
			if err != nil {
				return KCV{}, err
			}
			return kcv(c, mac[:kcvLen]), nil
		}
		out, err := s.encryptBlocks(Key{Type: kt, handle: h}, bytes.Repeat([]byte{block}, kt.Block()))
		if err != nil {
			return KCV{}, err
		}
		return kcv(c, out[:kcvLen]), nil
	})
}
