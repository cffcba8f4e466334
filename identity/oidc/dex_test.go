package oidc_test

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/identity"
	"latchkey/identity/oidc"
	openidtest "latchkey/softhsm-test/openid"
)

// followDex makes a Provider for a real Dex.
func followDex(t *testing.T, d *openidtest.Dex) *oidc.Provider {
	t.Helper()
	p, err := oidc.New(oidc.Config{
		Issuer: d.Issuer, CA: d.CA, Audience: openidtest.ClientID, Algorithms: oidc.DefaultAlgorithms(),
		Claims: oidc.Claims{
			Operator: "name", Name: "name", Email: "email", Groups: "groups", Roles: "groups",
			RoleOf: map[string]identity.Role{"authors": identity.Operator},
		},
		ClockSkew: 30 * time.Second, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// What Dex issues is taken, but for another service's; and when Dex has new keys,
// what it issues then is taken, and what it issued before no longer.
func TestDex(t *testing.T) {
	d := openidtest.NewDex(t, "https://127.0.0.1:1/back")
	p := followDex(t, d)
	old := d.Token("anna", openidtest.ClientID)
	anna, err := p.Verify(t.Context(), old)
	if err != nil {
		t.Fatal(err)
	}
	if anna.Person.ID != "anna" || anna.Person.Email != "anna@example.org" || anna.Issuer != d.Issuer || len(anna.Person.Roles) != 0 || anna.Person.MFA {
		t.Errorf("Anna is %+v", anna)
	}
	if raw, err := base64.RawURLEncoding.DecodeString(anna.Subject); err != nil || !strings.Contains(string(raw), "anna") {
		t.Errorf("her subject is %q", anna.Subject)
	}
	mock, err := p.Verify(t.Context(), d.MockToken())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(mock.Person.Groups, []string{"authors"}) || !slices.Equal(mock.Person.Roles, []identity.Role{identity.Operator}) {
		t.Errorf("whom the mock logs in is %+v", mock)
	}
	var refused *identity.TokenError
	if _, err := p.Verify(t.Context(), d.Token("anna", "other")); !errors.As(err, &refused) {
		t.Errorf("a token for another service: %v", err)
	}

	d.Stop()
	if _, err := p.Verify(t.Context(), old); err != nil {
		t.Errorf("while Dex is away: %v", err)
	}
	p.Hasten(time.Hour, 0, time.Minute, time.Hour)
	d.Start()
	if _, err := p.Verify(t.Context(), d.Token("anna", openidtest.ClientID)); err != nil {
		t.Errorf("with Dex's new key: %v", err)
	}
	if _, err := p.Verify(t.Context(), old); !errors.As(err, &refused) {
		t.Errorf("with the key that Dex no longer shows: %v", err)
	}
}
