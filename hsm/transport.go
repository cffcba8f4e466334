package hsm

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/miekg/pkcs11"

	"latchkey/card"
)

// Master keys travel between tokens wrapped, so that no clear value touches a
// host: under a transport key pair whose private half was made in the receiving
// token and may unwrap and nothing else, or under a wrapping key that both
// tokens hold.

// transportBits is the length of the transport key pair's modulus in bits: NIST
// SP 800-57 part 1 has 3072 for the strength of AES-128, which RSA does not
// reach for AES-256 in any usable length.
const transportBits = 3072

// TransportKey is the public half of a token's transport key pair.
type TransportKey struct {
	Public *rsa.PublicKey
	// Fingerprint is SHA-256 over the DER SubjectPublicKeyInfo, in hex: what
	// officers compare at both ends before anything is wrapped under the key.
	Fingerprint string
}

// NewTransportKey takes a public key that came from another token.
func NewTransportKey(public *rsa.PublicKey) (TransportKey, error) {
	if public.N.BitLen() < transportBits {
		return TransportKey{}, unfit("a transport key of %d bits; %d are the least", public.N.BitLen(), transportBits)
	}
	fingerprint, err := Fingerprint(public)
	return TransportKey{public, fingerprint}, err
}

// Fingerprint is SHA-256 over the DER SubjectPublicKeyInfo of a public key, in hex.
func Fingerprint(public any) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", fmt.Errorf("encode public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}

// MakeTransportKey makes the token's transport key pair of that label, or finds
// it where it was made before. The private half never leaves the token.
func (t *Token) MakeTransportKey(ctx context.Context, label string) (TransportKey, error) {
	public, err := runWith(ctx, t, true, func(s *session) (*rsa.PublicKey, error) {
		h, err := s.transportKey(label, pkcs11.CKO_PUBLIC_KEY)
		if errors.Is(err, ErrKeyUnknown) {
			h, _, err = s.ctx.GenerateKeyPair(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, nil)},
				transportPublicTemplate(label), transportPrivateTemplate(label))
			err = s.call("C_GenerateKeyPair", err)
		}
		if err != nil {
			return nil, err
		}
		return s.publicKey(h)
	})
	if err != nil {
		return TransportKey{}, fmt.Errorf("make transport key: %w", err)
	}
	return NewTransportKey(public)
}

func (s *session) transportKey(label string, class uint) (pkcs11.ObjectHandle, error) {
	found, err := s.find([]*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, class),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_RSA),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, label),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
	})
	switch {
	case err != nil:
		return 0, err
	case len(found) == 0:
		return 0, fmt.Errorf("%w: no transport key pair is called %s", ErrKeyUnknown, label)
	case len(found) > 1:
		return 0, unfit("%d key pairs are called %s; which is meant cannot be told", len(found), label)
	}
	return found[0], nil
}

func (s *session) publicKey(h pkcs11.ObjectHandle) (*rsa.PublicKey, error) {
	attributes, err := s.ctx.GetAttributeValue(s.handle, h, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_MODULUS, nil), pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, nil),
	})
	if err := s.call("C_GetAttributeValue", err); err != nil {
		return nil, err
	}
	e := new(big.Int).SetBytes(attributes[1].Value)
	if !e.IsInt64() {
		return nil, unfit("the transport key's exponent is too large")
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(attributes[0].Value), E: int(e.Int64())}, nil
}

// oaep is RSAES-OAEP with SHA-1, RFC 8017: the hash that every token knows,
// SoftHSM 2.6 no other. OAEP does not rest on the hash's collision resistance.
func oaep() []*pkcs11.Mechanism {
	return []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS_OAEP,
		pkcs11.NewOAEPParams(pkcs11.CKM_SHA_1, pkcs11.CKG_MGF1_SHA1, pkcs11.CKZ_DATA_SPECIFIED, nil))}
}

// ImportWrapped makes a master key of one that is wrapped with RSA-OAEP (SHA-1)
// under this token's transport key of that label.
func (t *Token) ImportWrapped(ctx context.Context, n NewKey, transport string, wrapped []byte) (Key, error) {
	return t.makeMaster(ctx, n, func(s *session, template []*pkcs11.Attribute) (pkcs11.ObjectHandle, error) {
		private, err := s.transportKey(transport, pkcs11.CKO_PRIVATE_KEY)
		if err != nil {
			return 0, err
		}
		return s.unwrapMaster(oaep(), private, wrapped, n.Type, template)
	})
}

// ImportUnder makes a master key of one that is wrapped under a wrapping key in
// this token (use ForUnwrapping) by AES key wrap: RFC 3394 or RFC 5649.
func (t *Token) ImportUnder(ctx context.Context, n NewKey, label string, version int, w card.Wrapping, wrapped []byte) (Key, error) {
	m, err := unwrapping(w)
	if err != nil {
		return Key{}, err
	}
	if m.number == pkcs11.CKM_AES_CBC_PAD {
		return Key{}, unfitInput("a master key may not come wrapped by %s: nothing would notice that it was changed", w)
	}
	under, _, err := t.master(ctx, label, version)
	if err != nil {
		return Key{}, err
	}
	if under.Use != ForUnwrapping {
		return Key{}, unfit("%s version %d is for use %s; %s is needed", label, version, under.Use, ForUnwrapping)
	}
	return t.makeMaster(ctx, n, func(s *session, template []*pkcs11.Attribute) (pkcs11.ObjectHandle, error) {
		return s.unwrapMaster([]*pkcs11.Mechanism{pkcs11.NewMechanism(m.number, nil)}, under.handle, wrapped, n.Type, template)
	})
}

// unwrapMaster unwraps a key and makes sure that it is of the length asked for:
// tokens take the length from the wrapping, and not all of them say it.
func (s *session) unwrapMaster(m []*pkcs11.Mechanism, under pkcs11.ObjectHandle, wrapped []byte, t card.KeyType, template []*pkcs11.Attribute) (_ pkcs11.ObjectHandle, err error) {
	h, err := orUnbound(extractable(withoutLength(template)), func(template []*pkcs11.Attribute) (pkcs11.ObjectHandle, error) {
		h, err := s.ctx.UnwrapKey(s.handle, m, under, wrapped, template)
		return h, s.call("C_UnwrapKey", err)
	})
	if err != nil {
		return 0, err
	}
	n, err := s.measure(h)
	if err == nil && n != t.Len() {
		err = unfitInput("the wrapped key has %d bytes; one of type %s has %d", n, t, t.Len())
	}
	if err != nil {
		s.destroy(h, &err)
		return 0, err
	}
	return h, nil
}

// measure tells the length in bytes of an extractable session object: RFC 3394
// makes it 8 bytes longer.
func (s *session) measure(h pkcs11.ObjectHandle) (_ int, err error) {
	ruler, err := s.generate(card.AES256, measuringTemplate())
	if err != nil {
		return 0, err
	}
	defer s.destroy(ruler, &err)
	wrapped, err := s.ctx.WrapKey(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_WRAP, nil)}, ruler, h)
	if err := s.call("C_WrapKey", err); err != nil {
		return 0, err
	}
	return len(wrapped) - 8, nil
}

// Backup is a master key wrapped under another token's transport key.
type Backup struct {
	Key     Key
	Wrapped []byte // RSA-OAEP (SHA-1); only the other token can unwrap it
	Under   string // fingerprint of the transport key
}

// GenerateWithBackup makes a master key in the token and, in the same breath,
// wraps it under another token's transport key. It is the only way to back a key
// up: what stays in the token is not extractable. While it is wrapped the key is
// an extractable session object, so the token will say of it that it was not
// "never extractable".
func (t *Token) GenerateWithBackup(ctx context.Context, n NewKey, to TransportKey) (Backup, error) {
	b := Backup{Under: to.Fingerprint}
	key, err := t.makeMaster(ctx, n, func(s *session, template []*pkcs11.Attribute) (_ pkcs11.ObjectHandle, err error) {
		h, err := s.generate(n.Type, extractable(template))
		if err != nil {
			return 0, err
		}
		public, err := s.ctx.CreateObject(s.handle, wrappingTemplate(to.Public))
		if err := s.call("C_CreateObject", err); err != nil {
			s.destroy(h, &err)
			return 0, err
		}
		defer s.destroy(public, &err)
		b.Wrapped, err = s.ctx.WrapKey(s.handle, oaep(), public, h)
		if err := s.call("C_WrapKey", err); err != nil {
			s.destroy(h, &err)
			return 0, err
		}
		return h, nil
	})
	if err != nil {
		return Backup{}, err
	}
	b.Key = key
	return b, nil
}

// Destroy removes a master key from the token, for ever.
func (t *Token) Destroy(ctx context.Context, label string, version int) error {
	if err := t.reload(ctx); err != nil {
		return err
	}
	keys, _ := t.lookUp(keyName{label, version})
	switch len(keys) {
	case 0:
		return fmt.Errorf("%w: %s version %d is not in token %q", ErrKeyUnknown, label, version, t.info.Label)
	case 1:
	default:
		return unfit("%d keys in the token are called %s version %d; which is meant cannot be told", len(keys), label, version)
	}
	_, err := runWith(ctx, t, true, func(s *session) (struct{}, error) {
		// The handle may be from another login: find the key by its ID in this one.
		found, err := s.find([]*pkcs11.Attribute{
			pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
			pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
			pkcs11.NewAttribute(pkcs11.CKA_LABEL, label),
			pkcs11.NewAttribute(pkcs11.CKA_ID, keys[0].id),
		})
		if err == nil && len(found) != 1 {
			err = unfit("%d keys answer to %s version %d", len(found), label, version)
		}
		if err == nil {
			err = s.call("C_DestroyObject", s.ctx.DestroyObject(s.handle, found[0]))
		}
		return struct{}{}, err
	})
	if err != nil {
		return fmt.Errorf("destroy %s version %d: %w", label, version, err)
	}
	t.mu.Lock()
	delete(t.known, keyName{label, version})
	t.mu.Unlock()
	return t.reload(ctx)
}

// generate makes a session object of a key from the token's own randomness.
func (s *session) generate(t card.KeyType, template []*pkcs11.Attribute) (pkcs11.ObjectHandle, error) {
	mechanism := uint(pkcs11.CKM_AES_KEY_GEN)
	switch t {
	case card.TDES2:
		mechanism = pkcs11.CKM_DES2_KEY_GEN
	case card.TDES3:
		mechanism = pkcs11.CKM_DES3_KEY_GEN
	case card.AES128, card.AES192, card.AES256:
	}
	return orUnbound(slices.Clone(template), func(template []*pkcs11.Attribute) (pkcs11.ObjectHandle, error) {
		h, err := s.ctx.GenerateKey(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanism, nil)}, template)
		return h, s.call("C_GenerateKey", err)
	})
}
