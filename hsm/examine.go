package hsm

import (
	"context"
	"slices"
	"time"

	"github.com/miekg/pkcs11"

	"latchkey/card"
)

// The files examine.go, trial.go, probe.go and measure.go are for whoever wants
// to know what a token is good for, and have no part in an answer. What they try
// they try with throw-away keys: session objects of random bytes that are
// destroyed after it. A token's own keys are looked at and not used.

// Condition is what a token says of itself at the moment. Numbers are -1 where it
// does not say.
type Condition struct {
	// MaxSessions is how many sessions it admits, 0 for no limit; Sessions is how
	// many this process has open.
	MaxSessions, Sessions int64
	// FreeMemory and TotalMemory are those of private objects, in bytes.
	FreeMemory, TotalMemory int64
	// Clock is the token's own, the zero time where it has none.
	Clock          time.Time
	WriteProtected bool
}

// Condition asks the token how it is.
func (t *Token) Condition(ctx context.Context) (Condition, error) {
	return run(ctx, t, func(s *session) (Condition, error) {
		info, err := s.ctx.GetTokenInfo(uint(t.slot.Load()))
		if err := s.call("C_GetTokenInfo", err); err != nil {
			return Condition{}, err
		}
		return Condition{
			MaxSessions: told(info.MaxSessionCount), Sessions: told(info.SessionCount),
			FreeMemory: told(info.FreePrivateMemory), TotalMemory: told(info.TotalPrivateMemory),
			Clock:          clock(info.Flags, info.UTCTime),
			WriteProtected: info.Flags&pkcs11.CKF_WRITE_PROTECTED != 0,
		}, nil
	})
}

// clock reads a token's time, YYYYMMDDhhmmss and two zeros that are reserved. What
// cannot be read is no clock.
func clock(flags uint, utc string) time.Time {
	const form = "20060102150405"
	if flags&pkcs11.CKF_CLOCK_ON_TOKEN == 0 || len(utc) < len(form) {
		return time.Time{}
	}
	at, err := time.Parse(form, utc[:len(form)])
	if err != nil {
		return time.Time{}
	}
	return at
}

// told is a number of CK_TOKEN_INFO, -1 for CK_UNAVAILABLE_INFORMATION.
func told(n uint) int64 {
	if n == pkcs11.CK_UNAVAILABLE_INFORMATION {
		return -1
	}
	return int64(n) //nolint:gosec // the one large number means that there is none
}

// Examined is a key with more of its attributes than an answer asks for.
type Examined struct {
	Key
	// Ours tells that the key's CKA_ID is of the form that Latchkey gives.
	Ours bool
	// Public tells that the key can be used without a login (CKA_PRIVATE is false).
	Public bool
	// Rights are those that it has beside its use: sign, verify, decrypt, wrap.
	Rights []string
	// Surplus are the mechanisms in CKA_ALLOWED_MECHANISMS that its use does not need.
	Surplus []uint
}

// Examine looks at every secret key that is a token object. Others counts those
// of a type that no scheme uses, such as generic secrets.
func (t *Token) Examine(ctx context.Context) (keys []Examined, others int, err error) {
	type inventory struct {
		keys   []Examined
		others int
	}
	all, err := run(ctx, t, func(s *session) (inventory, error) {
		known, err := s.keys()
		if err != nil {
			return inventory{}, err
		}
		handles, err := s.find([]*pkcs11.Attribute{
			pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
			pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		})
		if err != nil {
			return inventory{}, err
		}
		i := inventory{others: max(len(handles)-len(known), 0)}
		for _, k := range known {
			i.keys = append(i.keys, s.examine(k))
		}
		return i, nil
	})
	return all.keys, all.others, err
}

func (s *session) examine(k Key) Examined {
	_, kcv, _ := parseKeyID(k.id)
	e := Examined{Key: k, Ours: kcv != nil}
	// One by one: a token without one of these fails the call for all.
	has := func(attribute uint) (value, known bool) {
		a, err := s.ctx.GetAttributeValue(s.handle, k.handle, []*pkcs11.Attribute{pkcs11.NewAttribute(attribute, nil)})
		return err == nil && isTrue(a[0]), err == nil
	}
	private, known := has(pkcs11.CKA_PRIVATE)
	e.Public = known && !private
	for _, right := range []struct {
		attribute uint
		name      string
	}{{pkcs11.CKA_SIGN, "sign"}, {pkcs11.CKA_VERIFY, "verify"}, {pkcs11.CKA_DECRYPT, "decrypt"}, {pkcs11.CKA_WRAP, "wrap"}} {
		if yes, _ := has(right.attribute); yes {
			e.Rights = append(e.Rights, right.name)
		}
	}
	// The mechanism of the check value stays in the list when the right to sign
	// has gone; see makeMaster.
	needed := allowedMechanisms(k.Type, k.Use, k.Type.AES()).Value
	for _, m := range k.Mechanisms {
		if !slices.Contains(mechanismNumbers(needed), m) {
			e.Surplus = append(e.Surplus, m)
		}
	}
	return e
}

// Fits tells why a master key of this token does not do for a profile: its type
// or use is another than the scheme needs, or it is bound to other mechanisms.
// The error is ErrKeyUnfit; nil says that all of these fit.
func (t *Token) Fits(k Key, p card.Profile) error {
	key := sample(p.Scheme, p.CardKeyType, p.Counter, p.Wrapping)
	if p.Scheme == card.Static {
		if k.Type != p.CardKeyType {
			return unfit("scheme %s needs a master key of type %s, this one is %s", p.Scheme, p.CardKeyType, k.Type)
		}
		if k.Use != ForEncrypting {
			return unfit("scheme %s needs a key made for use %s, this one is for %s", p.Scheme, ForEncrypting, k.Use)
		}
		m := ecb(k.Type)
		if p.Algorithm == card.TDESCBC {
			m = mechanism{pkcs11.CKM_DES3_CBC, "CKM_DES3_CBC"}
		}
		return k.admits(m)
	}
	plan, err := planFor(k.Type, key)
	if err != nil {
		return err
	}
	switch {
	case plan.counter != nil && k.Use == ForDeriving && t.nativeCounter:
		return k.admits(mechanism{ckmSP800108Counter, "CKM_SP800_108_COUNTER_KDF"})
	case k.Use != plan.needs():
		return unfit("scheme %s needs a key made for use %s on this token, this one is for %s", p.Scheme, plan.needs(), k.Use)
	case plan.unwrap != nil:
		m, err := unwrapping(p.Wrapping)
		if err != nil {
			return err
		}
		return k.admits(m)
	case plan.macs != nil:
		return k.admits(ecb(k.Type), encryptData(k.Type, false))
	}
	return k.admits(encryptData(k.Type, plan.cbc))
}

// admits tells whether the key is bound to mechanisms that leave these out.
func (k Key) admits(list ...mechanism) error {
	for _, m := range list {
		if len(k.Mechanisms) != 0 && !slices.Contains(k.Mechanisms, m.number) {
			return unfit("its CKA_ALLOWED_MECHANISMS leave out %s, which the profile needs", m.name)
		}
	}
	return nil
}
