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
	"github.com/miekg/pkcs11"
)

// Signer signs with an RSA or ECDSA key that lives in the token: ceremony records,
// the handshakes of the server's TLS and, in time, the checkpoints of the audit log.
// It is a crypto.Signer, and safe for concurrent use.
//
// It goes through crypto11, which knows asymmetric keys and never recovers from
// lost sessions. So crypto11 stays behind this type, and is made anew when the
// module was initialised anew or a signature fails.
type Signer struct {
	token  *Token
	label  string
	public crypto.PublicKey

	// mu is held in part to sign and as a whole to connect.
	mu         sync.RWMutex
	context    *crypto11.Context
	key        crypto11.Signer
	generation uint64
}

// OpenSigner finds the key pair of that label or, where create is set, makes one
// for ECDSA over P-256.
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
		return s.token.refusedPIN(failed("C_Login", err))
	}
	var key crypto11.Signer
	pairs, err := ctx.FindKeyPairs(nil, []byte(s.label))
	switch {
	case err != nil:
	case len(pairs) == 1:
		key = pairs[0]
		if before, ok := s.public.(interface{ Equal(crypto.PublicKey) bool }); ok && !before.Equal(key.Public()) {
			err = unfit("the key pair %s is another than it was", s.label)
		}
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

// Public is the *rsa.PublicKey or *ecdsa.PublicKey.
func (s *Signer) Public() crypto.PublicKey { return s.public }

// Sign signs a digest, with an RSA key by PKCS #1 v1.5 or, for *rsa.PSSOptions,
// PSS. An ECDSA signature is ASN.1 DER, as crypto/ecdsa has it. While the token is
// known not to work, or refused its PIN, Sign fails at once: whoever may start a
// handshake must not be able to have the PIN tried.
func (s *Signer) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	signature, err := s.sign(random, digest, opts)
	if err != nil {
		return nil, fmt.Errorf("sign with %s: %w", s.label, err)
	}
	return signature, nil
}

func (s *Signer) sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if err := s.token.usable(); err != nil {
		return nil, err
	}
	signature, used, err := s.signNow(random, digest, opts)
	if err == nil || code(err) == pkcs11.CKR_OK && !errors.Is(err, errUnconnected) {
		return signature, err // no session came free, or crypto11 does not do this
	}
	// The token logs in itself first: crypto11 would, and try a PIN once more that
	// the token has refused.
	if err = s.token.login(s.token.background, false); err == nil {
		err = s.connectAfter(used)
	}
	if err == nil {
		signature, _, err = s.signNow(random, digest, opts)
	}
	s.token.trip(err)
	return signature, err
}

// errUnconnected says that there is no key of the module's present time.
var errUnconnected = errors.New("the module was initialised anew")

// signNow signs with the key there is, and tells which that was. crypto11 makes its
// calls itself, so the whole signature holds the gate.
func (s *Signer) signNow(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, crypto11.Signer, error) {
	if err := s.token.module.enter(s.token.background); err != nil {
		return nil, nil, err
	}
	defer s.token.module.leave()
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case s.key == nil:
		return nil, nil, ErrClosed
	case s.generation != s.token.module.generation.Load():
		return nil, s.key, errUnconnected
	}
	signature, err := s.key.Sign(random, digest, opts)
	if err != nil {
		err = failed("C_Sign", err)
	}
	return signature, s.key, err
}

// connectAfter connects anew, unless another did since the key failed.
func (s *Signer) connectAfter(failed crypto11.Signer) error {
	if err := s.token.module.enter(s.token.background); err != nil {
		return err
	}
	defer s.token.module.leave()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.key {
	case nil:
		return ErrClosed
	case failed:
		return s.connect(false)
	}
	return nil
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
