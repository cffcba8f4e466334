package server

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	openidtest "latchkey/softhsm-test/openid"
)

// shownKey fetches the provider's key, as anybody can.
func shownKey(t *testing.T, f *openidtest.Forge) jose.JSONWebKey {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(f.CA)
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}
	response, err := c.Get(f.Issuer + "/keys")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var set jose.JSONWebKeySet
	if err := json.NewDecoder(response.Body).Decode(&set); err != nil || len(set.Keys) != 1 {
		t.Fatalf("%d keys, error %v", len(set.Keys), err)
	}
	return set.Keys[0]
}

// forge is a token of the header and claims, under the signature.
func forge(t *testing.T, header string, claims any, signature string) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(header)) + "." + encode(payload) + "." + signature
}

// Tokens that nobody who may has issued for us, or not now, as the caller's own and
// as one that a backend passes. What package oidc makes of each is tested there; here
// they have to stop a request that would be answered with the token that is good.
func TestForgedTokens(t *testing.T) {
	w := newWorld(t)
	w.stock()
	f := openidtest.NewForge(t)
	token := w.tokens(f)
	good := token(nil)
	for _, b := range []badge{{"", bearer(good)}, {"backend", []string{operatorHeader, good}}} {
		if a := w.call(b.certificate, "POST", respondPath, respondBody, b.headers...); a.status != http.StatusOK {
			t.Fatalf("the token that is good: %d %s", a.status, a.body)
		}
	}

	// Where a header says that keys are, nobody is to look.
	var visits atomic.Int64
	lure := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visits.Add(1) }))
	defer lure.Close()

	now := w.clock.Now()
	claims := map[string]any{"iss": f.Issuer, "sub": "s-anna", "aud": "latchkey", "exp": now.Add(time.Minute).Unix(), "preferred_username": "anna", "roles": "desk"}
	shown := shownKey(t, f)
	der, err := x509.MarshalPKIXPublicKey(shown.Key.(*ecdsa.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := shown.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	mallory := openidtest.EC(t, "k1")
	hmac := func(secret []byte) string {
		return openidtest.Key{ID: "k1", Algorithm: jose.HS256, Private: secret}.Sign(t, claims)
	}
	named := func(kid string) string {
		return openidtest.Key{ID: kid, Algorithm: jose.ES256, Private: mallory.Private}.Sign(t, claims)
	}
	with := func(name string, value any) string { return token(map[string]any{name: value}) }
	embedded, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: mallory.Private}, &jose.SignerOptions{EmbedJWK: true})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := embedded.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	withJWK, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	certified, err := json.Marshal(map[string]any{"alg": "ES256", "kid": "k1", "x5c": []string{base64.StdEncoding.EncodeToString(w.certificate("anna").Certificate[0])}})
	if err != nil {
		t.Fatal(err)
	}
	zero := base64.RawURLEncoding.EncodeToString(make([]byte, 64))
	parts := strings.Split(good, ".")
	raw, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	for name, forged := range map[string]string{
		"none":                         forge(t, `{"alg":"none"}`, claims, ""),
		"None":                         forge(t, `{"alg":"None","kid":"k1"}`, claims, ""),
		"nOnE, with a signature":       forge(t, `{"alg":"nOnE","kid":"k1"}`, claims, parts[2]),
		"no algorithm":                 forge(t, `{"kid":"k1"}`, claims, parts[2]),
		"two algorithms":               forge(t, `{"alg":"none","alg":"ES256","kid":"k1"}`, claims, ""),
		"the signature of another":     forge(t, `{"alg":"ES256","kid":"k1"}`, claims, parts[2]),
		"a signature of zeros":         forge(t, `{"alg":"ES256","kid":"k1"}`, claims, zero),
		"RS256 under a key on P-256":   openidtest.Key{ID: "k1", Algorithm: jose.RS256, Private: openidtest.RSA(t, "k1").Private}.Sign(t, claims),
		"HS256 with the public PEM":    hmac(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		"HS256 with the public DER":    hmac(der),
		"HS256 with the public JWK":    hmac(jwk),
		"kid unknown":                  named("k9"),
		"kid of a file":                named("../../../../../../dev/null"),
		"kid of an address":            named(lure.URL + "/keys"),
		"kid of SQL":                   named("k1' UNION SELECT 'k1"),
		"kid with a NUL":               named("k1\x00"),
		"kid known, key another":       mallory.Sign(t, claims),
		"key in the header":            withJWK,
		"address of keys":              mallory.Sign(t, claims, "jku", lure.URL+"/keys"),
		"address of a certificate":     mallory.Sign(t, claims, "x5u", lure.URL+"/x5u"),
		"certificate in the header":    forge(t, string(certified), claims, zero),
		"wrong audience":               with("aud", "other"),
		"audience that begins as ours": with("aud", "latchkey-2"),
		"no audience":                  with("aud", nil),
		"audiences of others":          with("aud", []string{"a", "b"}),
		"wrong issuer":                 with("iss", f.Issuer+"/"),
		"no issuer":                    with("iss", nil),
		"expired":                      with("exp", now.Add(-time.Minute).Unix()),
		"no expiry":                    with("exp", nil),
		"expiry in words":              with("exp", "2031-01-01"),
		"not yet valid":                with("nbf", now.Add(time.Minute).Unix()),
		"issued in an hour":            with("iat", now.Add(time.Hour).Unix()),
		"no subject":                   with("sub", nil),
		"nobody in particular":         with("preferred_username", nil),
		"huge":                         with("pad", strings.Repeat("x", 6500)),
		"without its signature":        parts[0] + "." + parts[1] + ".",
		"without a third part":         parts[0] + "." + parts[1],
		"with a fourth part":           good + "." + parts[2],
		"padded":                       good + "==",
		"signature as DER":             parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(append([]byte{0x30, byte(len(raw))}, raw...)),
	} {
		t.Run(name, func(t *testing.T) {
			before := w.onDisk()
			for _, b := range []badge{{"", bearer(forged)}, {"backend", []string{operatorHeader, forged}}} {
				a := w.call(b.certificate, "POST", respondPath, respondBody, b.headers...)
				denied(t, b.headers[0], a, codeToken)
				if strings.Contains(string(a.body), forged) {
					t.Error("the answer holds the token")
				}
			}
			if after := w.onDisk(); after != before {
				t.Errorf("before\n%s\nafter\n%s", before, after)
			}
		})
	}
	if n := visits.Load(); n != 0 {
		t.Errorf("the address in a header was asked %d times", n)
	}
	// A token that is good says nothing where it is not a header's.
	for _, path := range []string{"?access_token=", "?token=", "?Authorization=Bearer%20"} {
		denied(t, path, w.call("", "POST", respondPath+path+good, respondBody), codeNoCertificate)
	}
	// One longer than a request's header may be does not get so far.
	c := w.dial("")
	c.send("GET /v1/card-types HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + strings.Repeat("a", 64<<10) + "\r\n\r\n")
	if status, _ := c.status(); status != http.StatusRequestHeaderFieldsTooLarge && status != 0 {
		t.Errorf("a token of 64 KiB: %d", status)
	}
	for _, line := range w.logs.All() {
		for field, value := range line.ContextMap() {
			if text, ok := value.(string); ok && strings.Contains(text, parts[2]) {
				t.Errorf("the log holds a token's signature, in %s", field)
			}
		}
	}
}
