package hsm

import (
	"context"
	"crypto/rand"
	"slices"

	"github.com/miekg/pkcs11"

	"latchkey/card"
)

// Way is one way in which a card may be answered.
type Way struct {
	Scheme    card.Scheme
	Master    card.KeyType // of the master key
	CardKey   card.KeyType
	Algorithm card.Algorithm
	Counter   card.Counter  // of scheme sp800-108-counter
	Wrapping  card.Wrapping // of scheme wrapped
}

// Ways lists the ways to carry out a scheme, one for each type of card key, with
// a master key of the type that most would choose. Those of scheme wrapped are by
// one wrapping.
func Ways(s card.Scheme, w card.Wrapping) []Way {
	var ways []Way
	for _, t := range s.CardKeyTypes() {
		masters := masterTypes(s, t)
		way := Way{Scheme: s, Master: masters[len(masters)-1], CardKey: t, Algorithm: card.AlgorithmFor(t)}
		switch s {
		case card.SP800108:
			way.Counter = card.Counter{Bits: 8}
		case card.Wrapped:
			way.Wrapping = w
		default:
		}
		ways = append(ways, way)
	}
	return ways
}

// WayOf is the way of a profile with a master key of the type.
func WayOf(p card.Profile, master card.KeyType) Way {
	return Way{p.Scheme, master, p.CardKeyType, p.Algorithm, p.Counter, p.Wrapping}
}

// TryWay answers a challenge with a throw-away master key and tells the use that
// the key had to be made for. The error is why the token does not do it, if it is
// not that of ctx. That the answer is right is for KnownAnswer to tell.
func (t *Token) TryWay(ctx context.Context, w Way) (Use, error) {
	key := sample(w.Scheme, w.CardKey, w.Counter, w.Wrapping)
	if w.Scheme == card.Static {
		return ForEncrypting, t.tryWith(ctx, w, key, ForEncrypting)
	}
	plan, err := planFor(w.Master, key)
	if err != nil {
		return ForNothing, err
	}
	if plan.counter != nil && t.nativeCounter {
		if err := t.tryWith(ctx, w, key, ForDeriving); err == nil || ctx.Err() != nil {
			return ForDeriving, err
		}
	}
	return plan.needs(), t.tryWith(ctx, w, key, plan.needs())
}

func (t *Token) tryWith(ctx context.Context, w Way, key card.AdminKey, use Use) error {
	challenge := make(card.Challenge, w.Algorithm.Block())
	_, err := run(ctx, t, func(s *session) (_ struct{}, err error) {
		template := masterKeyTemplate(w.Master, use, false, false)
		if use == ForUnwrapping {
			template = wrapperTemplate()
			w.Master = card.AES256
		}
		h, err := s.throwAway(w.Master, template)
		if err != nil {
			return struct{}{}, err
		}
		defer s.destroy(h, &err)
		master := Key{Type: w.Master, Use: use, handle: h}
		if use == ForUnwrapping {
			if key.Data, err = s.wrapSample(master, key); err != nil {
				return struct{}{}, err
			}
		}
		response, err := s.answer(master, key, w.Algorithm, challenge)
		response.Wipe()
		return struct{}{}, err
	})
	return err
}

// throwAway makes a session object of a key that nobody knows. Some tokens do not
// generate what they take in.
func (s *session) throwAway(t card.KeyType, template []*pkcs11.Attribute) (pkcs11.ObjectHandle, error) {
	h, err := s.generate(t, template)
	if !isClass(err, Never) {
		return h, err
	}
	value := make([]byte, t.Len())
	defer clear(value)
	_, _ = rand.Read(value) // never fails
	if h, e := s.create(t, value, slices.Clone(template)); e == nil {
		return h, nil
	}
	return 0, err
}

// wrapSample wraps a throw-away card key.
func (s *session) wrapSample(under Key, key card.AdminKey) (_ []byte, err error) {
	m, err := unwrapping(key.Wrapping)
	if err != nil {
		return nil, err
	}
	h, err := s.throwAway(key.Type, extractable(cardKeyTemplate(key.Type)))
	if err != nil {
		return nil, err
	}
	defer s.destroy(h, &err)
	var iv []byte
	if m.number == pkcs11.CKM_AES_CBC_PAD {
		iv = make([]byte, aesBlock)
	}
	wrapped, err := s.ctx.WrapKey(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(m.number, iv)}, under.handle, h)
	return append(iv, wrapped...), s.call("C_WrapKey", err)
}

// sample is an admin key with data of the kind that its scheme wants.
func sample(s card.Scheme, t card.KeyType, counter card.Counter, w card.Wrapping) card.AdminKey {
	key := card.AdminKey{Scheme: s, Type: t, KeyNumber: 1, Counter: counter, Wrapping: w}
	data := make([]byte, 2*aesBlock)
	for i := range data {
		data[i] = byte(i)
	}
	switch {
	case s == card.Static:
	case s.FromKDD():
		key.Data = data[:card.KDDLen]
	case s == card.Wrapped && w == card.CBCPad:
		key.Data = make([]byte, aesBlock+roundUp(t.Len()+1, aesBlock))
	case s == card.Wrapped:
		key.Data = make([]byte, t.Len()+8)
	case s == card.TDESECBKey || s == card.AESECBKey || s == card.AESCBCKey:
		key.Data = data
	default:
		key.Data = data[:7] // short enough for any
	}
	return key
}

// TakesKeys tells whether the token takes a secret key in clear, as known answers
// need it; a token in FIPS mode may not. The error is what it said.
func (t *Token) TakesKeys(ctx context.Context) error {
	_, err := run(ctx, t, func(s *session) (_ struct{}, err error) {
		value := make([]byte, card.AES256.Len())
		defer clear(value)
		_, _ = rand.Read(value) // never fails
		h, err := s.create(card.AES256, value, masterKeyTemplate(card.AES256, ForEncrypting, false, false))
		if err != nil {
			return struct{}{}, err
		}
		defer s.destroy(h, &err)
		return struct{}{}, nil
	})
	return err
}
