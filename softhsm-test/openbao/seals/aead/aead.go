// Package aead seals OpenBao's root key under the key that its operators hold
// shares of, by AES-256-GCM. It takes the place of the module of this name, of which
// the checksum database knows nothing; see the README above.
package aead

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"

	wrapping "github.com/openbao/go-kms-wrapping/v2"
)

// Wrapper seals under a key that it is given.
type Wrapper struct {
	key  []byte
	aead cipher.AEAD
}

// ShamirWrapper is a Wrapper whose key is in shares.
type ShamirWrapper struct{ *Wrapper }

var _ wrapping.Wrapper = (*ShamirWrapper)(nil)

// NewWrapper makes a wrapper that has no key yet.
func NewWrapper() *Wrapper { return new(Wrapper) }

// NewShamirWrapper makes a wrapper that has no key yet.
func NewShamirWrapper() *ShamirWrapper { return &ShamirWrapper{NewWrapper()} }

// Type tells the kinds apart.
func (*Wrapper) Type(context.Context) (wrapping.WrapperType, error) {
	return wrapping.WrapperTypeAead, nil
}

// Type tells the kinds apart.
func (*ShamirWrapper) Type(context.Context) (wrapping.WrapperType, error) {
	return wrapping.WrapperTypeShamir, nil
}

// KeyId is empty: there is one key.
func (*Wrapper) KeyId(context.Context) (string, error) { return "", nil } //nolint:revive // the interface's name

// KeyBytes is the key.
func (w *Wrapper) KeyBytes(context.Context) ([]byte, error) {
	if w.key == nil {
		return nil, errors.New("no key yet")
	}
	return w.key, nil
}

// SetConfig takes no configuration.
func (*Wrapper) SetConfig(context.Context, ...wrapping.Option) (*wrapping.WrapperConfig, error) {
	return new(wrapping.WrapperConfig), nil
}

// SetAesGcmKeyBytes takes the key, of 16, 24 or 32 bytes.
func (w *Wrapper) SetAesGcmKeyBytes(key []byte) error {
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	w.key = key
	w.aead, err = cipher.NewGCMWithRandomNonce(block)
	return err
}

// Encrypt seals.
func (w *Wrapper) Encrypt(_ context.Context, plaintext []byte, o ...wrapping.Option) (*wrapping.BlobInfo, error) {
	opts, err := wrapping.GetOpts(o...)
	if err != nil {
		return nil, err
	}
	if w.aead == nil {
		return nil, errors.New("no key yet")
	}
	return &wrapping.BlobInfo{Ciphertext: w.aead.Seal(nil, nil, plaintext, opts.WithAad)}, nil
}

// Decrypt opens.
func (w *Wrapper) Decrypt(_ context.Context, b *wrapping.BlobInfo, o ...wrapping.Option) ([]byte, error) {
	opts, err := wrapping.GetOpts(o...)
	if err != nil {
		return nil, err
	}
	if w.aead == nil {
		return nil, errors.New("no key yet")
	}
	return w.aead.Open(nil, nil, b.GetCiphertext(), opts.WithAad)
}
