package hsm

import (
	"context"
	"fmt"
	"slices"

	"github.com/miekg/pkcs11"

	"latchkey/card"
)

// Respond derives the card admin key that key names and encrypts the challenge
// under it. The challenge must be a multiple of the algorithm's block, at most
// card.MaxChallenge bytes; the response is as long.
//
// What a dead session, a lost login, a stale key handle or a passing fault of the
// device calls for is done, and the answer tried once more. Errors are
// ErrKeyUnknown, ErrKeyUnfit, ErrInput, *UnsupportedError, *Error, *TimeoutError,
// ErrPIN, or that of ctx while waiting for a session; those that may pass have
// the method Unavailable.
func (t *Token) Respond(ctx context.Context, key card.AdminKey, alg card.Algorithm, challenge card.Challenge) (card.Response, error) {
	if err := checkChallenge(key, alg, challenge); err != nil {
		return nil, err
	}
	response, err := t.respondOnce(ctx, key, alg, challenge)
	if err == nil {
		if t.strikes.Load() != 0 {
			t.strikes.Store(0)
		}
		return response, nil
	}
	if t.heal(ctx, err) {
		response, err = t.respondOnce(ctx, key, alg, challenge)
		t.trip(err)
	}
	if ofUnwrapping(err) {
		// Whichever way a token refuses a wrapped key, callers see the same: who could
		// tell bad padding from another fault could have the key guessed byte by byte.
		err = unfitInput("the token does not unwrap the card's key: %v", err)
	}
	return response, err
}

func (t *Token) respondOnce(ctx context.Context, key card.AdminKey, alg card.Algorithm, challenge card.Challenge) (card.Response, error) {
	master, epoch, err := t.master(ctx, key.Master, key.Version)
	if err != nil {
		return nil, err
	}
	// The caller may be gone, and its buffers used again, before a call that hangs
	// comes back.
	kept := slices.Clone(challenge)
	return run(ctx, t, func(s *session) (card.Response, error) {
		var response card.Response
		if s.epoch == epoch {
			var err error
			if response, err = s.answer(master, key, alg, kept); err != nil {
				return nil, err
			}
			if t.epoch.Load() == epoch {
				return response, nil
			}
		}
		// Another login came in between: the handle may have meant another key.
		response.Wipe()
		return nil, failed("C_DeriveKey", pkcs11.Error(pkcs11.CKR_KEY_HANDLE_INVALID))
	})
}

// Try answers like Respond, with a master key that is not in the keyring: a
// session object of the given bytes, made for this one answer and destroyed
// after it. It is for known-answer tests; the bytes should be test keys.
func (t *Token) Try(ctx context.Context, masterType card.KeyType, master []byte, key card.AdminKey, alg card.Algorithm, challenge card.Challenge) (card.Response, error) {
	if err := checkChallenge(key, alg, challenge); err != nil {
		return nil, err
	}
	use := ForEncrypting
	if key.Scheme != card.Static {
		p, err := planFor(masterType, key)
		if err != nil {
			return nil, err
		}
		use = p.needs()
	}
	return run(ctx, t, func(s *session) (_ card.Response, err error) {
		handle, err := s.create(masterType, master, masterKeyTemplate(masterType, use, false, false))
		if err != nil {
			return nil, fmt.Errorf("make session master key: %w", err)
		}
		defer s.destroy(handle, &err)
		return s.answer(Key{Type: masterType, Use: use, handle: handle}, key, alg, challenge)
	})
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
			return nil, unfit("scheme %s needs a key made for use %s, this one is for %s", key.Scheme, ForEncrypting, master.Use)
		}
		if master.Type != key.Type {
			return nil, unfit("scheme %s: the master key is %s, the profile's card key %s", key.Scheme, master.Type, key.Type)
		}
		return s.encrypt(master.handle, alg, challenge)
	}
	p, err := planFor(master.Type, key)
	if err != nil {
		return nil, err
	}
	cardKey, err := s.cardKey(master, p, key)
	if err != nil {
		return nil, err
	}
	defer s.destroy(cardKey, &err)
	return s.encrypt(cardKey, alg, challenge)
}

// cardKey makes the card admin key as the plan says, as a session object.
func (s *session) cardKey(master Key, p plan, key card.AdminKey) (pkcs11.ObjectHandle, error) {
	if p.counter != nil && master.Use == ForDeriving && s.nativeCounter {
		m, free := counterData(master.Type, *p.counter)
		defer free()
		return s.derive(master, m, key.Type)
	}
	if master.Use != p.needs() {
		return 0, unfit("scheme %s needs a key made for use %s on this token, this one is for %s", key.Scheme, p.needs(), master.Use)
	}
	data := p.encrypt
	switch {
	case p.unwrap != nil:
		return s.unwrap(master, p.unwrap, key)
	case p.macs != nil:
		last, err := s.lastBlocks(master, p.macs)
		if err != nil {
			return 0, fmt.Errorf("run CMAC: %w", err)
		}
		defer clear(last)
		if repeats(last, master.Type.Block()) {
			return 0, &UnsupportedError{"two blocks of the derivation data are equal, which would halve the key; such a key is refused"}
		}
		data = last
	}
	parameter := ecbData
	if p.cbc {
		parameter = cbcData
	}
	m, free := parameter(encryptData(master.Type, p.cbc).number, data)
	defer free()
	return s.derive(master, m, key.Type)
}

func (s *session) derive(master Key, m *pkcs11.Mechanism, t card.KeyType) (pkcs11.ObjectHandle, error) {
	key, err := s.ctx.DeriveKey(s.handle, []*pkcs11.Mechanism{m}, master.handle, s.cardKeys[t])
	return key, s.call("C_DeriveKey", err)
}

func (s *session) unwrap(master Key, blob []byte, key card.AdminKey) (pkcs11.ObjectHandle, error) {
	m, err := unwrapping(key.Wrapping)
	if err != nil {
		return 0, err
	}
	var iv []byte
	if m.number == pkcs11.CKM_AES_CBC_PAD {
		iv, blob = blob[:aesBlock], blob[aesBlock:]
	}
	h, err := s.ctx.UnwrapKey(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(m.number, iv)}, master.handle, blob, unwrapTemplate(key.Type))
	if err := s.call("C_UnwrapKey", err); err != nil {
		return 0, err
	}
	return h, nil
}

func (s *session) encrypt(key pkcs11.ObjectHandle, alg card.Algorithm, challenge card.Challenge) (card.Response, error) {
	var m *pkcs11.Mechanism
	switch alg {
	case card.TDESECB:
		m = pkcs11.NewMechanism(pkcs11.CKM_DES3_ECB, nil)
	case card.TDESCBC:
		m = pkcs11.NewMechanism(pkcs11.CKM_DES3_CBC, make([]byte, alg.Block()))
	case card.AESECB:
		m = pkcs11.NewMechanism(pkcs11.CKM_AES_ECB, nil)
	}
	return s.encryptWith(m, key, challenge)
}

// encryptWith encrypts whole blocks, without padding.
func (s *session) encryptWith(m *pkcs11.Mechanism, key pkcs11.ObjectHandle, blocks []byte) ([]byte, error) {
	err := s.ctx.EncryptInit(s.handle, []*pkcs11.Mechanism{m}, key)
	if err := s.call("C_EncryptInit", err); err != nil {
		return nil, err
	}
	out, err := s.ctx.Encrypt(s.handle, blocks)
	if err := s.call("C_Encrypt", err); err != nil {
		s.spoiled = true // the operation may still be active
		return nil, err
	}
	if len(out) != len(blocks) {
		clear(out)
		return nil, fmt.Errorf("C_Encrypt gave %d bytes for %d", len(out), len(blocks))
	}
	return out, nil
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
	kept := append(withoutLength(template), pkcs11.NewAttribute(pkcs11.CKA_VALUE, value))
	return orUnbound(kept, func(template []*pkcs11.Attribute) (pkcs11.ObjectHandle, error) {
		h, err := s.ctx.CreateObject(s.handle, template)
		return h, s.call("C_CreateObject", err)
	})
}
