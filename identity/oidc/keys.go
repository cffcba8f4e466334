package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	goidc "github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// maxAnswer is the most bytes that are read of an answer of the provider's.
const maxAnswer = 1 << 20

// keySet is the provider's public keys as they were at one time.
type keySet struct {
	keys    []jose.JSONWebKey
	fetched time.Time
}

// usable tells whether there are keys, and not too old.
func (k *keySet) usable(stale time.Duration) bool { return k != nil && time.Since(k.fetched) < stale }

// has tells whether a key has this name. A token that names none is tried with
// all there are.
func (k *keySet) has(id string) bool {
	if k == nil {
		return false
	}
	for _, key := range k.keys {
		if id == "" || key.KeyID == id {
			return true
		}
	}
	return false
}

// VerifySignature implements goidc.KeySet.
func (k *keySet) VerifySignature(_ context.Context, token string) ([]byte, error) {
	var algorithms []jose.SignatureAlgorithm
	for _, a := range Algorithms() { // which of them are taken was seen to before
		algorithms = append(algorithms, jose.SignatureAlgorithm(a))
	}
	signed, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		return nil, err
	}
	header := signed.Signatures[0].Protected
	for _, key := range k.keys {
		if header.KeyID != "" && key.KeyID != header.KeyID || key.Algorithm != "" && key.Algorithm != header.Algorithm {
			continue
		}
		if payload, err := signed.Verify(key.Key); err == nil {
			return payload, nil
		}
	}
	return nil, errors.New("no key of the provider's fits")
}

// ask asks the provider where its keys are, and then for them.
func (p *Provider) ask(ctx context.Context) (*keySet, error) {
	provider, err := goidc.NewProvider(goidc.ClientContext(ctx, p.http), p.Issuer)
	if err != nil {
		return nil, fmt.Errorf("discover OpenID provider %s: %w", p.Issuer, err)
	}
	var where struct {
		Keys string `json:"jwks_uri"`
	}
	if err := provider.Claims(&where); err != nil {
		return nil, fmt.Errorf("discover OpenID provider %s: %w", p.Issuer, err)
	}
	if u, err := url.Parse(where.Keys); err != nil || u.Scheme != "https" {
		return nil, fmt.Errorf("discover OpenID provider %s: its keys are at %q, which is no https address", p.Issuer, where.Keys)
	}
	keys, err := p.askKeys(ctx, where.Keys)
	if err != nil {
		return nil, fmt.Errorf("fetch the keys of OpenID provider %s: %w", p.Issuer, err)
	}
	return keys, nil
}

func (p *Provider) askKeys(ctx context.Context, address string) (*keySet, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	answer, err := p.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }() // only read from
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", address, answer.Status)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&set); err != nil {
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	found := &keySet{fetched: time.Now()}
	for _, text := range set.Keys {
		var key jose.JSONWebKey
		// A key of a kind that is not known here is none of ours; the others are.
		if err := json.Unmarshal(text, &key); err != nil || !key.Valid() || !key.IsPublic() || key.Use != "" && key.Use != "sig" {
			continue
		}
		found.keys = append(found.keys, key)
	}
	if len(found.keys) == 0 {
		return nil, fmt.Errorf("%s holds no public key for signatures", address)
	}
	return found, nil
}

// limited cuts answers off that have no end.
type limited struct{ next http.RoundTripper }

func (l *limited) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := l.next.RoundTrip(r)
	if err == nil {
		answer.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(answer.Body, maxAnswer), answer.Body}
	}
	return answer, err
}

// CloseIdleConnections lets http.Client close them.
func (l *limited) CloseIdleConnections() {
	if c, ok := l.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
