package openidtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// Forge is an OpenID provider whose tokens say what a test wants.
type Forge struct {
	Issuer string
	CA     []byte // PEM
	// Fetches counts how often its keys were fetched.
	Fetches atomic.Int64

	tb     testing.TB
	server *httptest.Server
	mu     sync.Mutex
	public []any // what it shows as its keys
	away   bool
	lie    string // the issuer that discovery tells, where it is not its own
}

// NewForge starts a Forge without keys; it ends with the test.
func NewForge(tb testing.TB) *Forge {
	tb.Helper()
	f := &Forge{tb: tb}
	f.server = httptest.NewTLSServer(f)
	tb.Cleanup(f.server.Close)
	f.Issuer = f.server.URL + "/forge"
	f.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.server.Certificate().Raw})
	return f
}

// ServeHTTP answers what a provider has to.
func (f *Forge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var answer any
	switch {
	case f.away:
		http.Error(w, "away", http.StatusServiceUnavailable)
		return
	case r.URL.Path == "/forge/.well-known/openid-configuration":
		issuer := f.Issuer
		if f.lie != "" {
			issuer = f.lie
		}
		answer = map[string]any{"issuer": issuer, "jwks_uri": f.Issuer + "/keys"}
	case r.URL.Path == "/forge/keys":
		f.Fetches.Add(1)
		answer = map[string]any{"keys": f.public}
	default:
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		f.tb.Error(err)
	}
}

// Away has the Forge answer nothing any more, or again.
func (f *Forge) Away(away bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = away
}

// Hold has every request wait until it is released.
func (f *Forge) Hold() (release func()) {
	f.mu.Lock()
	return f.mu.Unlock
}

// Lie has discovery tell of another issuer.
func (f *Forge) Lie(issuer string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lie = issuer
}

// Show has the Forge show these keys and no others: jose.JSONWebKey, or anything
// else that can stand in a key set.
func (f *Forge) Show(keys ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.public = keys
}

// Key is a key that a Forge signs with.
type Key struct {
	ID        string
	Algorithm jose.SignatureAlgorithm
	Private   any // crypto.Signer, or []byte
}

// RSA makes a key of 2048 bits.
func RSA(tb testing.TB, id string) Key {
	tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	return Key{id, jose.RS256, key}
}

// EC makes a key on P-256.
func EC(tb testing.TB, id string) Key {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return Key{id, jose.ES256, key}
}

// Public is the key as a provider shows it.
func (k Key) Public() jose.JSONWebKey {
	return jose.JSONWebKey{Key: k.Private.(crypto.Signer).Public(), KeyID: k.ID, Algorithm: string(k.Algorithm), Use: "sig"}
}

// Sign signs a payload: text as it is, anything else as JSON. Headers are added
// to those that a token has.
func (k Key) Sign(tb testing.TB, payload any, headers ...string) string {
	tb.Helper()
	text, ok := payload.(string)
	if !ok {
		b, err := json.Marshal(payload)
		if err != nil {
			tb.Fatal(err)
		}
		text = string(b)
	}
	options := (&jose.SignerOptions{}).WithType("JWT")
	if k.ID != "" {
		options = options.WithHeader("kid", k.ID)
	}
	for i := 0; i < len(headers); i += 2 {
		options = options.WithHeader(jose.HeaderKey(headers[i]), headers[i+1])
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: k.Algorithm, Key: k.Private}, options)
	if err != nil {
		tb.Fatal(err)
	}
	signed, err := signer.Sign([]byte(text))
	if err != nil {
		tb.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		tb.Fatal(err)
	}
	return compact
}

// Unsigned is a token of algorithm "none".
func Unsigned(tb testing.TB, claims any) string {
	tb.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		tb.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + encode(payload) + "."
}
