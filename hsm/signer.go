package hsm

import (
	"context"
	"crypto"
	"crypto/elliptic"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/ThalesGroup/crypto11"
)

// Signer signs with an ECDSA P-256 key that lives in the token: ceremony records
// and, in time, the checkpoints of the audit log. It is a crypto.Signer.
//
// It goes through crypto11, which knows asymmetric keys and never recovers from
// lost sessions. So crypto11 stays behind this type, and is made anew when the
// module was initialised anew or a signature fails.
type Signer struct {
	token  *Token
	label  string
	public crypto.PublicKey

	mu         sync.Mutex
	context    *crypto11.Context
	key        crypto11.Signer
	generation uint64
}

// OpenSigner finds the key pair of that label, or makes it where create is set.
// The first Signer of a module has it finalised and initialised anew: open it
// before answers are wanted, and close it right before the Token.
func (t *Token) OpenSigner(ctx context.Context, label string, create bool) (*Signer, error) {
	s := &Signer{token: t, label: label}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := t.module.share(ctx, func() error { return s.connect(create) })
	if err == nil {
		err = t.login(ctx, false)
	}
	if err != nil {
		return nil, fmt.Errorf("open signing key %s: %w", label, err)
	}
	s.public = s.key.Public()
	return s, nil
}

// connect makes a crypto11 context and finds the key pair.
func (s *Signer) connect(create bool) error {
	generation := s.token.module.generation.Load()
	serial := s.token.info.Serial
	ctx, err := crypto11.Configure(&crypto11.Config{
		Path: s.token.module.path, TokenSerial: serial, Pin: s.token.pin.Load().value, MaxSessions: 4,
		PoolWaitTimeout: s.token.config.CallTimeout,
	})
	if err != nil {
		return failed("crypto11", err)
	}
	var key crypto11.Signer
	pairs, err := ctx.FindKeyPairs(nil, []byte(s.label))
	switch {
	case err != nil:
	case len(pairs) == 1:
		key = pairs[0]
	case len(pairs) > 1:
		err = unfit("%d key pairs are called %s; which is meant cannot be told", len(pairs), s.label)
	case create:
		key, err = ctx.GenerateECDSAKeyPairWithLabel([]byte(s.label), []byte(s.label), elliptic.P256())
	default:
		err = fmt.Errorf("%w: no key pair is called %s", ErrKeyUnknown, s.label)
	}
	if err != nil {
		return errors.Join(err, ctx.Close())
	}
	old := s.context
	s.context, s.key, s.generation = ctx, key, generation
	if old != nil {
		// Its sessions died with the module's last initialisation. Where a handle of
		// theirs is one of ours by now, the pool replaces that session.
		_ = old.Close()
	}
	return nil
}

// Public is the *ecdsa.PublicKey.
func (s *Signer) Public() crypto.PublicKey { return s.public }

// Sign signs a SHA-256 digest; the signature is ASN.1 DER, as crypto/ecdsa has it.
func (s *Signer) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// crypto11 makes its calls itself, so the whole signature holds the gate.
	if err := s.token.module.enter(s.token.background); err != nil {
		return nil, fmt.Errorf("sign with %s: %w", s.label, err)
	}
	defer s.token.module.leave()
	if s.key != nil && s.generation == s.token.module.generation.Load() {
		if signature, err := s.key.Sign(random, digest, opts); err == nil {
			return signature, nil
		}
	}
	if err := s.connect(false); err != nil {
		return nil, fmt.Errorf("sign with %s: %w", s.label, err)
	}
	signature, err := s.key.Sign(random, digest, opts)
	if err != nil {
		return nil, fmt.Errorf("sign with %s: %w", s.label, failed("C_Sign", err))
	}
	return signature, nil
}

// Close gives up the key's sessions. The module's last Signer takes the module
// with it, which is initialised anew.
func (s *Signer) Close(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.context == nil {
		return nil
	}
	return s.token.module.unshare(ctx, func() {
		_ = s.context.Close()
		s.context, s.key = nil, nil
	})
}
