package oidc_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"latchkey/identity"
	"latchkey/identity/oidc"
	openidtest "latchkey/softhsm-test/openid"
)

var moment = time.Date(2026, 5, 4, 8, 12, 0, 0, time.UTC)

func at(d time.Duration) int64 { return moment.Add(d).Unix() }

func number(n int64) string { return strconv.FormatInt(n, 10) }

// follow makes a Provider of the forge's and has its keys fetched.
func follow(t *testing.T, f *openidtest.Forge, changes ...func(*oidc.Config)) *oidc.Provider {
	t.Helper()
	c := oidc.Config{
		Issuer: f.Issuer, CA: f.CA, Audience: "latchkey", ClockSkew: 30 * time.Second,
		Algorithms: oidc.DefaultAlgorithms(),
		Claims: oidc.Claims{
			Operator: "preferred_username", Name: "name", Groups: "groups", Unit: "department", Roles: "realm_access.roles",
			Email: "email", EmployeeNumber: "employee", AMR: []string{"otp", "hwk"}, ACR: []string{"gold"},
			RoleOf: map[string]identity.Role{"help-desk": identity.Operator, "leads": identity.Supervisor, "desk": identity.Operator},
		},
		Now: func() time.Time { return moment },
	}
	for _, change := range changes {
		change(&c)
	}
	p, err := oidc.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// claims are those of a good token, with changes; nil takes one away.
func claims(f *openidtest.Forge, changes map[string]any) map[string]any {
	c := map[string]any{
		"iss": f.Issuer, "sub": "s-1", "aud": "latchkey", "iat": at(-time.Minute), "exp": at(time.Minute),
		"preferred_username": "anna", "name": "Anna Blom",
	}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// What a token says of a person, and what of it is believed.
func TestClaims(t *testing.T) {
	f := openidtest.NewForge(t)
	key := openidtest.RSA(t, "k1")
	f.Show(key.Public())
	p := follow(t, f)
	plain := identity.Person{ID: "anna", Name: "Anna Blom"}
	with := func(change func(*identity.Person)) identity.Person {
		person := plain
		change(&person)
		return person
	}
	for name, test := range map[string]struct {
		changes map[string]any
		want    identity.Person
	}{
		"nothing more":      {nil, plain},
		"several audiences": {map[string]any{"aud": []string{"other", "latchkey"}}, plain},
		"a program's":       {map[string]any{"preferred_username": nil, "name": nil}, identity.Person{}},
		"no name":           {map[string]any{"name": nil}, with(func(p *identity.Person) { p.Name = "anna" })},
		"groups, unit, number": {
			map[string]any{"groups": []any{"it", 7, "desk\n"}, "department": "it", "employee": "0815"},
			with(func(p *identity.Person) { p.Groups, p.Unit, p.EmployeeNumber = []string{"it"}, "it", "0815" }),
		},
		"roles of a path, mapped, once": {
			map[string]any{"realm_access": map[string]any{"roles": []string{"help-desk", "desk", "administrator", "leads"}}},
			with(func(p *identity.Person) { p.Roles = []identity.Role{identity.Operator, identity.Supervisor} }),
		},
		"a claim with a dot in its name": {
			map[string]any{"realm_access.roles": "leads", "realm_access": map[string]any{"roles": "help-desk"}},
			with(func(p *identity.Person) { p.Roles = []identity.Role{identity.Supervisor} }),
		},
		"roles that are no list": {map[string]any{"realm_access": map[string]any{"roles": map[string]any{"help-desk": true}}}, plain},
		"an address":             {map[string]any{"email": "anna@example.org", "email_verified": true}, with(func(p *identity.Person) { p.Email = "anna@example.org" })},
		"an address unverified":  {map[string]any{"email": "anna@example.org"}, plain},
		"an address verified in words": {
			map[string]any{"email": "anna@example.org", "email_verified": "true"}, plain,
		},
		"a second factor": {
			map[string]any{"amr": []string{"pwd", "otp"}, "auth_time": at(-time.Hour)},
			with(func(p *identity.Person) { p.MFA, p.AuthenticatedAt = true, moment.Add(-time.Hour) }),
		},
		"one factor":       {map[string]any{"amr": []string{"pwd"}, "acr": "silver"}, plain},
		"a class of login": {map[string]any{"acr": "gold"}, with(func(p *identity.Person) { p.MFA = true })},
		"within the skew":  {map[string]any{"exp": at(-29 * time.Second), "nbf": at(29 * time.Second), "iat": at(29 * time.Second)}, plain},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := p.Verify(t.Context(), key.Sign(t, claims(f, test.changes)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(identity.Token{Issuer: f.Issuer, Subject: "s-1", Person: test.want}, got); diff != "" {
				t.Errorf("token (-want +got):\n%s", diff)
			}
		})
	}
}

// Tokens that nobody who may would have issued for us, or not now.
func TestForged(t *testing.T) {
	f := openidtest.NewForge(t)
	key, stranger := openidtest.RSA(t, "k1"), openidtest.RSA(t, "k1")
	ec := openidtest.EC(t, "e1")
	encryption := openidtest.RSA(t, "enc")
	shown := encryption.Public()
	shown.Use = "enc"
	shared := []byte(strings.Repeat("shared-secret-", 4))
	f.Show(key.Public(), ec.Public(), shown, jose.JSONWebKey{Key: shared, KeyID: "shared"}, map[string]any{"kty": "unheard-of", "kid": "odd"})
	p := follow(t, f)
	good := claims(f, nil)
	if _, err := p.Verify(t.Context(), key.Sign(t, good)); err != nil {
		t.Fatalf("the token that is good: %v", err)
	}
	if _, err := p.Verify(t.Context(), ec.Sign(t, good)); err != nil {
		t.Fatalf("the token with another algorithm: %v", err)
	}

	der, err := x509.MarshalPKIXPublicKey(key.Public().Key)
	if err != nil {
		t.Fatal(err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	changed := func(name string, value any) string { return key.Sign(t, claims(f, map[string]any{name: value})) }
	header, payload, signature := cut(t, key.Sign(t, good))
	_, other, _ := cut(t, key.Sign(t, claims(f, map[string]any{"preferred_username": "olga"})))

	for name, test := range map[string]struct{ token, why string }{
		"no token":                  {"", "no JSON Web Token"},
		"text":                      {"mallory", "no JSON Web Token"},
		"algorithm none":            {openidtest.Unsigned(t, good), "no JSON Web Token signed with"},
		"HS256 with the public key": {openidtest.Key{ID: "k1", Algorithm: jose.HS256, Private: publicPEM}.Sign(t, good), "signed with RS256 or ES256"},
		"HS256 with a shown secret": {openidtest.Key{ID: "shared", Algorithm: jose.HS256, Private: shared}.Sign(t, good), "signed with RS256 or ES256"},
		"an algorithm not taken":    {openidtest.Key{ID: "k1", Algorithm: jose.RS512, Private: key.Private}.Sign(t, good), "signed with RS256 or ES256"},
		"PS256 under an RS256 key":  {openidtest.Key{ID: "k1", Algorithm: jose.PS256, Private: key.Private}.Sign(t, good), "signed with RS256 or ES256"},
		"unknown kid":               {openidtest.Key{ID: "k9", Algorithm: jose.RS256, Private: key.Private}.Sign(t, good), "signature"},
		"known kid, other key":      {stranger.Sign(t, good), "signature"},
		"no kid, other key":         {openidtest.Key{Algorithm: jose.RS256, Private: stranger.Private}.Sign(t, good), "signature"},
		"key for encryption":        {encryption.Sign(t, good), "signature"},
		"kid of the other key":      {openidtest.Key{ID: "e1", Algorithm: jose.RS256, Private: key.Private}.Sign(t, good), "signature"},
		"key in the header":         {stranger.Sign(t, good, "jku", "https://mallory.example/keys"), "signature"},
		"another payload":           {header + "." + other + "." + signature, "signature"},
		"no signature":              {header + "." + payload + ".", ""},
		"signature cut":             {header + "." + payload + "." + signature[:len(signature)-4], "signature"},
		"wrong audience":            {changed("aud", "other"), "audience"},
		"audience that contains it": {changed("aud", "latchkey-2"), "audience"},
		"no audience":               {changed("aud", nil), "audience"},
		"wrong issuer":              {changed("iss", f.Issuer+"/"), "issuer"},
		"no issuer":                 {changed("iss", nil), "issuer"},
		"no subject":                {changed("sub", nil), "subject"},
		"expired":                   {changed("exp", at(-31*time.Second)), "has expired"},
		"expires at the last skew":  {changed("exp", at(-30*time.Second)), "has expired"},
		"without expiry":            {changed("exp", nil), "does not say when it expires"},
		"expiry in words":           {changed("exp", "tomorrow"), ""},
		"expiry beyond all time":    {changed("exp", 1e300), ""},
		"not yet valid":             {changed("nbf", at(31*time.Second)), "is not valid yet"},
		"issued tomorrow":           {changed("iat", at(24*time.Hour)), "yet to come"},
		"login tomorrow":            {changed("auth_time", at(24*time.Hour)), "yet to come"},
		"operator with a control":   {changed("preferred_username", "anna\u202e"), "preferred_username"},
		"logout token":              {changed("events", map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}), "event"},
		"logout token by its type":  {key.Sign(t, good, "typ", "logout+jwt"), "another type"},
		"huge":                      {changed("pad", strings.Repeat("x", oidc.MaxToken)), "longer than 8192 bytes"},
		"the same claim twice": {
			key.Sign(t, `{"iss":"`+f.Issuer+`","sub":"s-1","aud":"latchkey","exp":`+number(at(time.Minute))+`,"preferred_username":"anna","preferred_username":"olga"}`), "twice",
		},
		"a claim within twice": {
			key.Sign(t, `{"iss":"`+f.Issuer+`","sub":"s-1","aud":"latchkey","exp":`+number(at(time.Minute))+`,"realm_access":{"roles":[],"roles":["leads"]}}`), "twice",
		},
		"no object":      {key.Sign(t, `["latchkey"]`), ""},
		"JSON signature": {`{"payload":"` + payload + `","protected":"` + header + `","signature":"` + signature + `"}`, "no JSON Web Token"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := p.Verify(t.Context(), test.token)
			var refused *identity.TokenError
			if !errors.As(err, &refused) || !strings.Contains(refused.Why, test.why) {
				t.Fatalf("%+v, %v; want a refusal with %q", got, err, test.why)
			}
			if diff := cmp.Diff(identity.Token{}, got); diff != "" {
				t.Errorf("a refused token says:\n%s", diff)
			}
			if len(test.token) > 100 && strings.Contains(err.Error(), test.token[:100]) {
				t.Errorf("the error holds the token: %v", err)
			}
		})
	}
}

// Unknown names of keys have the keys fetched, but not once for each token.
func TestRotation(t *testing.T) {
	f := openidtest.NewForge(t)
	first, second := openidtest.EC(t, "k1"), openidtest.EC(t, "k2")
	f.Show(first.Public())
	p := follow(t, f)
	verify := func(k openidtest.Key) error {
		_, err := p.Verify(t.Context(), k.Sign(t, claims(f, nil)))
		return err
	}
	p.Hasten(time.Hour, time.Hour, time.Minute, time.Hour)
	if err := verify(first); err != nil {
		t.Fatal(err)
	}
	f.Show(second.Public())
	for range 20 {
		if err := verify(second); err == nil {
			t.Fatal("a key that was never fetched fits")
		}
	}
	if n := f.Fetches.Load(); n != 1 {
		t.Errorf("tokens of unknown keys had the keys fetched %d times within the pace; want 1", n)
	}
	p.Hasten(time.Hour, 0, time.Minute, time.Hour)
	if err := verify(second); err != nil {
		t.Errorf("with the new key: %v", err)
	}
	if err := verify(first); err == nil {
		t.Error("the key that the provider withdrew still fits")
	}
}

// A provider that is away stops no token whose keys are known, as long as they
// are not stale, and refuses no other: it says that it cannot tell.
func TestAway(t *testing.T) {
	f := openidtest.NewForge(t)
	key := openidtest.EC(t, "k1")
	f.Show(key.Public())
	f.Away(true)
	reports := make(chan error, 10)
	p := follow(t, f, func(c *oidc.Config) { c.Report = func(err error) { reports <- err } })
	p.Hasten(time.Millisecond, time.Millisecond, time.Minute, time.Hour)
	token := key.Sign(t, claims(f, nil))
	if _, err := p.Verify(t.Context(), token); !errors.Is(err, identity.ErrProviderAway) {
		t.Fatalf("while the provider is away: %v", err)
	}
	if err := <-reports; err == nil {
		t.Error("that the provider is away was not reported")
	}
	// Nothing of it is the token's fault, so a bad one is told no more.
	f.Lie("https://mallory.example")
	f.Away(false)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); p.Follow(ctx) }()
	if _, err := p.Verify(t.Context(), token); !errors.Is(err, identity.ErrProviderAway) {
		t.Fatalf("with another provider's discovery: %v", err)
	}
	f.Lie("")
	if err := <-reports; err != nil {
		t.Errorf("that the provider is back was reported as %v", err)
	}
	stop()
	<-ended
	if _, err := p.Verify(t.Context(), token); err != nil {
		t.Errorf("once it is back: %v", err)
	}
	f.Away(true)
	if _, err := p.Verify(t.Context(), token); err != nil {
		t.Errorf("with keys that are known: %v", err)
	}
	p.Hasten(time.Hour, time.Hour, time.Minute, 0)
	if _, err := p.Verify(t.Context(), token); !errors.Is(err, identity.ErrProviderAway) {
		t.Errorf("with keys that are stale: %v", err)
	}
}

// A provider that does not answer is waited for no longer than was said.
func TestSlow(t *testing.T) {
	f := openidtest.NewForge(t)
	key := openidtest.EC(t, "k1")
	f.Show(key.Public())
	release := f.Hold()
	defer release()
	p := follow(t, f)
	p.Hasten(time.Hour, time.Hour, time.Millisecond, time.Hour)
	if _, err := p.Verify(t.Context(), key.Sign(t, claims(f, nil))); !errors.Is(err, identity.ErrProviderAway) {
		t.Errorf("while the provider takes its time: %v", err)
	}
}

func TestConfig(t *testing.T) {
	good := oidc.Config{Issuer: "https://id.example/dex", Audience: "latchkey", Algorithms: oidc.DefaultAlgorithms(), Now: time.Now}
	if _, err := oidc.New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*oidc.Config){
		"plain HTTP":       func(c *oidc.Config) { c.Issuer = "http://id.example" },
		"no issuer":        func(c *oidc.Config) { c.Issuer = "" },
		"no audience":      func(c *oidc.Config) { c.Audience = "" },
		"no algorithm":     func(c *oidc.Config) { c.Algorithms = nil },
		"algorithm none":   func(c *oidc.Config) { c.Algorithms = []string{"none"} },
		"symmetric":        func(c *oidc.Config) { c.Algorithms = []string{"RS256", "HS256"} },
		"without a clock":  func(c *oidc.Config) { c.Now = nil },
		"issuer and query": func(c *oidc.Config) { c.Issuer += "?a=b" },
	} {
		c := good
		change(&c)
		if _, err := oidc.New(c); err == nil {
			t.Errorf("%s: was taken", name)
		}
	}
}

func cut(t *testing.T, token string) (header, payload, signature string) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q has %d parts", token, len(parts))
	}
	return parts[0], parts[1], parts[2]
}
