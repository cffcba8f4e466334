package hsm

import (
	"context"
	"fmt"

	"github.com/miekg/pkcs11"

	"latchkey/card"
)

// Probe is something that a token has to refuse for its keys to be safe in it.
type Probe string

// The probes. docs/doctor.md says what each is about.
const (
	WrapOut        Probe = "wrap-out"           // C_WrapKey of a key that is not extractable
	ReadValue      Probe = "read-value"         // CKA_VALUE of a sensitive key
	OtherUse       Probe = "other-use"          // to encrypt or sign with a key that may only derive
	Loosen         Probe = "loosen"             // to make a key extractable or readable that is not
	OtherMechanism Probe = "allowed-mechanisms" // a mechanism that CKA_ALLOWED_MECHANISMS leaves out
)

// Probes lists all probes.
func Probes() []Probe { return []Probe{WrapOut, ReadValue, OtherUse, Loosen, OtherMechanism} }

// ProbeResult is how a probe went.
type ProbeResult struct {
	// Refused tells that the token refused all that was tried.
	Refused bool
	// Detail is what it refused with or, where it did not, what it let through.
	Detail string
}

// Probe tries what the token has to refuse, on throw-away keys. An error says that
// it could not be tried.
func (t *Token) Probe(ctx context.Context, p Probe) (ProbeResult, error) {
	return run(ctx, t, func(s *session) (_ ProbeResult, err error) {
		if p == OtherMechanism {
			return s.probeMechanisms()
		}
		master, err := s.throwAway(card.AES256, masterKeyTemplate(card.AES256, ForDeriving, false, false))
		if err != nil {
			return ProbeResult{}, err
		}
		defer s.destroy(master, &err)
		switch p {
		case ReadValue:
			return s.probeEach(master, s.readValue)
		case OtherUse:
			return s.probeUse(master), nil
		case Loosen:
			return s.probeEach(master, s.loosen)
		case WrapOut:
			return s.probeWrapping(master)
		case OtherMechanism:
		}
		return ProbeResult{}, fmt.Errorf("probe %q is not in this version", p)
	})
}

// What is expected to be refused goes past session.call: its error is the
// result, and puts nothing in doubt.

// probeEach tries something on the master key and, where the token derives, on a
// card admin key.
func (s *session) probeEach(master pkcs11.ObjectHandle, try func(pkcs11.ObjectHandle) ProbeResult) (_ ProbeResult, err error) {
	result := try(master)
	if !result.Refused {
		return result, nil
	}
	cardKey, err := s.cardKey(Key{Type: card.AES256, Use: ForDeriving, handle: master},
		plan{encrypt: latchkeyV1(card.AES256, []byte("probe")), cbc: true}, card.AdminKey{Scheme: card.LatchkeyV1, Type: card.AES256})
	if err != nil {
		return result, nil //nolint:nilerr // there is nothing derived to lose; whether it derives is another question
	}
	defer s.destroy(cardKey, &err)
	return try(cardKey), nil
}

func (s *session) readValue(key pkcs11.ObjectHandle) ProbeResult {
	attributes, err := s.ctx.GetAttributeValue(s.handle, key, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_VALUE, nil)})
	if err != nil {
		return ProbeResult{true, failed("C_GetAttributeValue", err).Error()}
	}
	defer clear(attributes[0].Value)
	if len(attributes[0].Value) == 0 {
		return ProbeResult{true, "C_GetAttributeValue gives nothing"}
	}
	return ProbeResult{false, "C_GetAttributeValue gives CKA_VALUE of a key that is sensitive and not extractable"}
}

func (s *session) probeUse(master pkcs11.ObjectHandle) ProbeResult {
	err := s.ctx.EncryptInit(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_ECB, nil)}, master)
	if err == nil {
		s.spoiled = true // the operation is active
		return ProbeResult{false, "C_EncryptInit takes a key that has not CKA_ENCRYPT"}
	}
	detail := failed("C_EncryptInit", err).Error()
	if err := s.ctx.SignInit(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_CMAC, nil)}, master); err == nil {
		s.spoiled = true
		return ProbeResult{false, "C_SignInit takes a key that has not CKA_SIGN"}
	}
	return ProbeResult{true, detail}
}

// loosen tries to take a key's protection away, on itself and on a copy. Tokens
// may say yes and keep the attribute as it was, so it is read again.
func (s *session) loosen(key pkcs11.ObjectHandle) ProbeResult {
	result := ProbeResult{Refused: true, Detail: "the attributes stay as they are"}
	for _, dangerous := range []struct {
		attribute *pkcs11.Attribute
		name      string
	}{
		{pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, true), "CKA_EXTRACTABLE true"},
		{pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, false), "CKA_SENSITIVE false"},
	} {
		template := []*pkcs11.Attribute{dangerous.attribute}
		took := func(h pkcs11.ObjectHandle) bool {
			now, err := s.ctx.GetAttributeValue(s.handle, h, []*pkcs11.Attribute{pkcs11.NewAttribute(dangerous.attribute.Type, nil)})
			return err == nil && isTrue(now[0]) == isTrue(dangerous.attribute)
		}
		duplicate, err := s.ctx.CopyObject(s.handle, key, template)
		if err != nil {
			result.Detail = failed("C_CopyObject", err).Error()
		} else {
			loose := took(duplicate)
			if e := s.ctx.DestroyObject(s.handle, duplicate); e != nil {
				s.spoiled = true // closing the session destroys it
			}
			if loose {
				return ProbeResult{false, "C_CopyObject makes a copy with " + dangerous.name + " of a key that is sensitive and not extractable"}
			}
		}
		if err := s.ctx.SetAttributeValue(s.handle, key, template); err == nil && took(key) {
			return ProbeResult{false, "C_SetAttributeValue sets " + dangerous.name + " on a key that is sensitive and not extractable"}
		}
	}
	return result
}

// probeWrapping tries to wrap keys that are not extractable, by every mechanism by
// which the token wraps one that is.
func (s *session) probeWrapping(master pkcs11.ObjectHandle) (_ ProbeResult, err error) {
	wrapper, err := s.throwAway(card.AES256, measuringTemplate())
	if err != nil {
		return ProbeResult{}, err
	}
	defer s.destroy(wrapper, &err)
	may, err := s.throwAway(card.AES256, extractable(cardKeyTemplate(card.AES256)))
	if err != nil {
		return ProbeResult{}, err
	}
	defer s.destroy(may, &err)
	result := ProbeResult{Refused: true, Detail: "the token wraps no key by any of the mechanisms tried"}
	for _, m := range []struct {
		mechanism
		parameter []byte
	}{
		{mechanism{pkcs11.CKM_AES_KEY_WRAP, "CKM_AES_KEY_WRAP"}, nil},
		{mechanism{pkcs11.CKM_AES_KEY_WRAP_PAD, "CKM_AES_KEY_WRAP_PAD"}, nil},
		{mechanism{pkcs11.CKM_AES_CBC_PAD, "CKM_AES_CBC_PAD"}, make([]byte, aesBlock)},
		{mechanism{pkcs11.CKM_AES_CBC, "CKM_AES_CBC"}, make([]byte, aesBlock)},
		{mechanism{pkcs11.CKM_AES_ECB, "CKM_AES_ECB"}, nil},
	} {
		wrap := func(key pkcs11.ObjectHandle) error {
			_, err := s.ctx.WrapKey(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(m.number, m.parameter)}, wrapper, key)
			return err
		}
		if wrap(may) != nil {
			continue
		}
		if result, err = s.probeEach(master, func(key pkcs11.ObjectHandle) ProbeResult {
			if err := wrap(key); err != nil {
				return ProbeResult{true, failed("C_WrapKey", err).Error()}
			}
			return ProbeResult{false, "C_WrapKey with " + m.name + " wraps a key that is not extractable"}
		}); err != nil || !result.Refused {
			return result, err
		}
	}
	return result, nil
}

// probeMechanisms makes a key that is bound to CKM_AES_CBC and uses it otherwise.
func (s *session) probeMechanisms() (_ ProbeResult, err error) {
	template := append(masterKeyTemplate(card.AES256, ForEncrypting, false, false),
		pkcs11.NewAttribute(pkcs11.CKA_ALLOWED_MECHANISMS, mechanismList(pkcs11.CKM_AES_CBC)))
	key, err := s.ctx.GenerateKey(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_GEN, nil)}, template)
	if err != nil {
		return ProbeResult{false, "the token does not take the attribute: " + failed("C_GenerateKey", err).Error()}, nil
	}
	defer s.destroy(key, &err)
	err = s.ctx.EncryptInit(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_ECB, nil)}, key)
	if err == nil {
		s.spoiled = true // the operation is active
		return ProbeResult{false, "a key that is bound to CKM_AES_CBC encrypts with CKM_AES_ECB"}, nil
	}
	detail := failed("C_EncryptInit", err).Error()
	if _, err := s.encryptWith(pkcs11.NewMechanism(pkcs11.CKM_AES_CBC, make([]byte, aesBlock)), key, make([]byte, aesBlock)); err != nil {
		return ProbeResult{}, fmt.Errorf("use a key with the mechanism that it is bound to: %w", err)
	}
	return ProbeResult{true, detail}, nil
}
