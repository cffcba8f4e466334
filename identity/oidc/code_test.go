package oidc_test

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"latchkey/identity"
	"latchkey/identity/oidc"
	openidtest "latchkey/softhsm-test/openid"
)

// provider gives out at its token endpoint whatever a test has it give out.
type provider struct {
	*httptest.Server
	key       openidtest.Key
	discovery map[string]any
	granted   map[string]any // the token endpoint's answer
	refuses   bool
	asked     url.Values // what the token endpoint was last sent
	user      string     // as whom
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{key: openidtest.EC(t, "k1")}
	p.Server = httptest.NewTLSServer(p)
	t.Cleanup(p.Close)
	p.discovery = map[string]any{
		"issuer": p.URL, "jwks_uri": p.URL + "/keys", "authorization_endpoint": p.URL + "/authorize?tenant=1",
		"token_endpoint": p.URL + "/token", "end_session_endpoint": p.URL + "/end?tenant=1",
	}
	return p
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := map[string]any{}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		answer = p.discovery
	case "/keys":
		answer["keys"] = []any{p.key.Public()}
	case "/token":
		_ = r.ParseForm() // what cannot be read is not there
		p.asked = r.PostForm
		p.user, _, _ = r.BasicAuth()
		answer = p.granted
		if p.refuses {
			w.WriteHeader(http.StatusBadRequest)
			answer = map[string]any{"error": "invalid_grant", "error_description": "the code " + r.PostForm.Get("code")}
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

func (p *provider) code(t *testing.T, secret string) *oidc.Code {
	t.Helper()
	o, err := oidc.New(oidc.Config{
		Issuer: p.URL, CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw}),
		Audience: "console", Algorithms: oidc.DefaultAlgorithms(), Claims: oidc.Claims{Operator: "preferred_username"}, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return o.Code(oidc.SignIn{ClientSecret: secret, Redirect: "https://latchkey.example/console/callback", Scopes: []string{"openid", "email"}})
}

// claims are those of the ID token that follows from a good sign-in.
func (p *provider) claims(changes map[string]any) map[string]any {
	c := map[string]any{
		"iss": p.URL, "sub": "s-1", "aud": "console", "nonce": "the nonce", "preferred_username": "anna",
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(),
	}
	for name, value := range changes {
		c[name] = value
	}
	return c
}

func TestAsk(t *testing.T) {
	p := newProvider(t)
	address, err := p.code(t, "").Ask(t.Context(), "the state", "the nonce", "a verifier of forty-three characters or more")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(address)
	if err != nil || !strings.HasPrefix(address, p.URL+"/authorize?") {
		t.Fatalf("%s: %v", address, err)
	}
	for name, want := range map[string]string{
		"tenant": "1", "response_type": "code", "client_id": "console", "state": "the state", "nonce": "the nonce",
		"redirect_uri": "https://latchkey.example/console/callback", "scope": "openid email", "code_challenge_method": "S256",
		// base64url(SHA-256(verifier)), by: openssl dgst -sha256 -binary | basenc --base64url
		"code_challenge": "K_HRI1tsxjyRi4rWczGDbxyfKX-H1hpL9y1hCN0W4IY",
	} {
		if got := u.Query().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestRedeem(t *testing.T) {
	p := newProvider(t)
	stranger := openidtest.EC(t, "k1")
	good := p.key.Sign(t, p.claims(nil))
	for name, test := range map[string]struct {
		token any
		why   string // "" is good
	}{
		"good":                  {good, ""},
		"another sign-in's":     {p.key.Sign(t, p.claims(map[string]any{"nonce": "another"})), "another sign-in"},
		"without a nonce":       {p.key.Sign(t, p.claims(map[string]any{"nonce": nil})), "another sign-in"},
		"the API's":             {p.key.Sign(t, p.claims(map[string]any{"aud": "latchkey"})), "audience"},
		"for several, not us":   {p.key.Sign(t, p.claims(map[string]any{"aud": []string{"console", "other"}, "azp": "other"})), "another client"},
		"for several, us":       {p.key.Sign(t, p.claims(map[string]any{"aud": []string{"console", "other"}, "azp": "console"})), ""},
		"expired":               {p.key.Sign(t, p.claims(map[string]any{"exp": time.Now().Add(-time.Minute).Unix()})), "expired"},
		"signed by another key": {stranger.Sign(t, p.claims(nil)), "signature"},
		"unsigned":              {openidtest.Unsigned(t, p.claims(nil)), "JSON Web Token"},
		"none":                  {nil, "JSON Web Token"},
		"no text":               {7, "JSON Web Token"},
	} {
		for _, secret := range []string{"", "the secret"} {
			p.granted = map[string]any{"access_token": "x", "token_type": "Bearer", "id_token": test.token}
			got, err := p.code(t, secret).Redeem(t.Context(), "the code", "the nonce", "the verifier")
			var no *identity.TokenError
			switch {
			case test.why == "" && (err != nil || got.Person.ID != "anna" || got.Subject != "s-1"):
				t.Errorf("%s: %+v, %v", name, got, err)
			case test.why != "" && (!errors.As(err, &no) || !strings.Contains(no.Why, test.why) || got.Subject != ""):
				t.Errorf("%s: %+v, %v; want a refusal with %q", name, got, err, test.why)
			}
			if p.asked.Get("code_verifier") != "the verifier" || p.asked.Get("redirect_uri") == "" || p.asked.Has("client_secret") {
				t.Errorf("%s: the token endpoint was sent %v", name, p.asked)
			}
			if (p.user == "console") != (secret != "") || (p.asked.Get("client_id") == "console") != (secret == "") {
				t.Errorf("%s: the client was shown as %q and in %v", name, p.user, p.asked)
			}
		}
	}
	p.refuses = true
	_, err := p.code(t, "").Redeem(t.Context(), "the code", "the nonce", "the verifier")
	if !errors.As(err, new(*identity.TokenError)) || strings.Contains(err.Error(), "the code the code") {
		t.Errorf("refused: %v", err)
	}
}

// Where the provider says that its places are is not always believed.
func TestDiscovery(t *testing.T) {
	for name, change := range map[string]func(p *provider){
		"another issuer":      func(p *provider) { p.discovery["issuer"] = "https://mallory.example" },
		"no token endpoint":   func(p *provider) { delete(p.discovery, "token_endpoint") },
		"plain HTTP":          func(p *provider) { p.discovery["authorization_endpoint"] = "http://id.example/authorize" },
		"a place that is not": func(p *provider) { p.discovery["end_session_endpoint"] = "javascript:alert(1)" },
		"gone":                func(p *provider) { p.Close() },
	} {
		p := newProvider(t)
		change(p)
		code := p.code(t, "")
		if address, err := code.Ask(t.Context(), "s", "n", "v"); !errors.Is(err, identity.ErrProviderAway) {
			t.Errorf("%s: %q, %v", name, address, err)
		}
		if _, err := code.Redeem(t.Context(), "c", "n", "v"); !errors.Is(err, identity.ErrProviderAway) {
			t.Errorf("%s: %v", name, err)
		}
		if at := code.End(t.Context(), "https://latchkey.example/console/"); at != "" {
			t.Errorf("%s: leads to %q", name, at)
		}
	}
	p := newProvider(t)
	want := p.URL + "/end?client_id=console&post_logout_redirect_uri=https%3A%2F%2Flatchkey.example%2Fconsole%2F&tenant=1"
	if at := p.code(t, "").End(t.Context(), "https://latchkey.example/console/"); at != want {
		t.Errorf("signing out leads to %q, want %q", at, want)
	}
}
