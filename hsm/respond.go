package hsm

import (
	"context"
	"fmt"

	"github.com/miekg/pkcs11"

	"latchkey/card"
)

// Respond derives the card admin key that key names and encrypts the challenge
// under it. The challenge must be a multiple of the algorithm's block, at most
// card.MaxChallenge bytes; the response is as long.
//
// A dead session or a stale key handle is replaced and the answer tried once
// more; any other error is the answer. Errors are ErrKeyUnknown, ErrKeyUnfit,
// ErrInput, *UnsupportedError, *Error, or that of ctx while waiting for a
// session.
func (t *Token) Respond(ctx context.Context, key card.AdminKey, alg card.Algorithm, challenge card.Challenge) (card.Response, error) {
	if err := checkChallenge(key, alg, challenge); err != nil {
		return nil, err
	}
	response, err := t.respondOnce(ctx, key, alg, challenge)
	switch {
	case isClass(err, Session):
	case isClass(err, Handle):
		if err := t.reload(ctx); err != nil {
			return nil, err
		}
	default:
		return response, err
	}
	return t.respondOnce(ctx, key, alg, challenge)
}

func (t *Token) respondOnce(ctx context.Context, key card.AdminKey, alg card.Algorithm, challenge card.Challenge) (card.Response, error) {
	master, err := t.master(ctx, key.Master, key.Version)
	if err != nil {
		return nil, err
	}
	s, err := t.take(ctx)
	if err != nil {
		return nil, err
	}
	defer t.pool.give(s)
	return s.answer(master, key, alg, challenge)
}

// Try answers like Respond, with a master key that is not in the keyring: a
// session object of the given bytes, made for this one answer and destroyed
// after it. It is for known-answer tests; the bytes should be test keys.
func (t *Token) Try(ctx context.Context, masterType card.KeyType, master []byte, key card.AdminKey, alg card.Algorithm, challenge card.Challenge) (_ card.Response, err error) {
	if err := checkChallenge(key, alg, challenge); err != nil {
		return nil, err
	}
	use := ForDeriving
	if key.Scheme == card.Static {
		use = ForEncrypting
	}
	s, err := t.take(ctx)
	if err != nil {
		return nil, err
	}
	defer t.pool.give(s)
	handle, err := s.create(masterType, master, masterKeyTemplate(masterType, use, false, false))
	if err != nil {
		return nil, fmt.Errorf("make session master key: %w", err)
	}
	defer s.destroy(handle, &err)
	return s.answer(Key{Type: masterType, Use: use, handle: handle}, key, alg, challenge)
}

func checkChallenge(key card.AdminKey, alg card.Algorithm, challenge card.Challenge) error {
	block := alg.Block()
	switch {
	case block == 0:
		return &UnsupportedError{fmt.Sprintf("response algorithm %q is not in this version", alg)}
	case key.Type.Block() != 0 && key.Type.Block() != block:
		return unfitInput("a key of type %s does not answer with %s", key.Type, alg)
	case len(challenge) == 0 || len(challenge) > card.MaxChallenge || len(challenge)%block != 0:
		return unfitInput("a challenge of %d bytes; %s takes a multiple of %d, up to %d", len(challenge), alg, block, card.MaxChallenge)
	}
	return nil
}

// answer makes the card admin key, uses it and destroys it.
func (s *session) answer(master Key, key card.AdminKey, alg card.Algorithm, challenge card.Challenge) (_ card.Response, err error) {
	if key.Scheme == card.Static {
		if master.Use != ForEncrypting {
			return nil, unfit("scheme %s needs a key with CKA_ENCRYPT; make it with --use encrypt", key.Scheme)
		}
		if master.Type != key.Type {
			return nil, unfit("scheme %s: the master key is %s, the profile's card key %s", key.Scheme, master.Type, key.Type)
		}
		return s.encrypt(master.handle, alg, challenge)
	}
	d, err := derivationOf(master.Type, key)
	if err != nil {
		return nil, err
	}
	if master.Use != ForDeriving {
		return nil, unfit("scheme %s needs a key with CKA_DERIVE", key.Scheme)
	}
	cardKey, err := s.derive(master.handle, d, key.Type)
	if err != nil {
		return nil, err
	}
	defer s.destroy(cardKey, &err)
	return s.encrypt(cardKey, alg, challenge)
}

func (s *session) derive(master pkcs11.ObjectHandle, d derivation, t card.KeyType) (pkcs11.ObjectHandle, error) {
	parameter := ecbData
	if d.cbc {
		parameter = cbcData
	}
	mechanism, free := parameter(d.mechanism, d.data)
	defer free()
	key, err := s.ctx.DeriveKey(s.handle, []*pkcs11.Mechanism{mechanism}, master, cardKeyTemplate(t))
	return key, s.call("C_DeriveKey", err)
}

func (s *session) encrypt(key pkcs11.ObjectHandle, alg card.Algorithm, challenge card.Challenge) (card.Response, error) {
	mechanism := uint(pkcs11.CKM_DES3_ECB)
	if alg == card.AESECB {
		mechanism = pkcs11.CKM_AES_ECB
	}
	err := s.ctx.EncryptInit(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanism, nil)}, key)
	if err := s.call("C_EncryptInit", err); err != nil {
		return nil, err
	}
	response, err := s.ctx.Encrypt(s.handle, challenge)
	if err := s.call("C_Encrypt", err); err != nil {
		s.spoiled = true // the operation may still be active
		return nil, err
	}
	if len(response) != len(challenge) {
		clear(response)
		return nil, fmt.Errorf("C_Encrypt gave %d bytes for a challenge of %d", len(response), len(challenge))
	}
	return response, nil
}

// destroy removes a session object at the end of its use. Where that fails, the
// session is spoiled: closing it, as the pool then does, destroys its objects.
func (s *session) destroy(key pkcs11.ObjectHandle, err *error) {
	if e := s.call("C_DestroyObject", s.ctx.DestroyObject(s.handle, key)); e != nil {
		s.spoiled = true
		if *err == nil {
			*err = e
		}
	}
}

// create makes a session object of the template with the given value.
func (s *session) create(t card.KeyType, value []byte, template []*pkcs11.Attribute) (pkcs11.ObjectHandle, error) {
	if len(value) != t.Len() {
		return 0, unfitInput("a key of type %s has %d bytes, not %d", t, t.Len(), len(value))
	}
	// C_CreateObject takes the length from the value and forbids CKA_VALUE_LEN.
	kept := make([]*pkcs11.Attribute, 0, len(template)+1)
	for _, a := range template {
		if a.Type != pkcs11.CKA_VALUE_LEN {
			kept = append(kept, a)
		}
	}
	kept = append(kept, pkcs11.NewAttribute(pkcs11.CKA_VALUE, value))
	h, err := s.ctx.CreateObject(s.handle, kept)
	return h, s.call("C_CreateObject", err)
}
