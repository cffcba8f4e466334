package oidc

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"latchkey/identity"
)

// SignIn is how people sign in to us with the provider: by the authorization code
// flow of OpenID Connect Core 1.0, section 3.1, with PKCE (RFC 7636, S256).
type SignIn struct {
	// ClientSecret is empty for a public client.
	ClientSecret string
	// Redirect is our address that the provider sends the browser back to.
	Redirect string
	Scopes   []string
}

// Code runs the flow for one client of the provider. It is safe for concurrent use.
type Code struct {
	provider *Provider
	SignIn

	mu    sync.Mutex
	known endpoints
	asked time.Time
	err   error // of asking; it holds for a moment only
}

// endpoints are what the provider's discovery document says of the flow.
type endpoints struct {
	Issuer        string `json:"issuer"`
	Authorization string `json:"authorization_endpoint"`
	Token         string `json:"token_endpoint"`
	EndSession    string `json:"end_session_endpoint"`
}

// discoveryHolds is how long the provider's endpoints are taken to be the same.
const discoveryHolds = 10 * time.Minute

// Code runs the authorization code flow. The Provider's Audience has to be the ID
// of the client, as it is in the ID tokens that the flow gives.
func (p *Provider) Code(s SignIn) *Code { return &Code{provider: p, SignIn: s} }

// Issuer is the provider's.
func (c *Code) Issuer() string { return c.provider.Issuer }

// Ask is where to send the browser to, so that its user signs in. What comes back
// has to hold the state, and the token the nonce. The error is
// identity.ErrProviderAway.
func (c *Code) Ask(ctx context.Context, state, nonce, verifier string) (string, error) {
	flow, err := c.flow(ctx)
	if err != nil {
		return "", err
	}
	return flow.AuthCodeURL(state, oauth2.SetAuthURLParam("nonce", nonce), oauth2.S256ChallengeOption(verifier)), nil
}

// Redeem changes a code for what the provider says of who signed in. Errors are
// those of Verify.
func (c *Code) Redeem(ctx context.Context, code, nonce, verifier string) (identity.Token, error) {
	flow, err := c.flow(ctx)
	if err != nil {
		return identity.Token{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.provider.pace.fetch)
	defer cancel()
	granted, err := flow.Exchange(context.WithValue(ctx, oauth2.HTTPClient, c.provider.http), code, oauth2.VerifierOption(verifier))
	var no *oauth2.RetrieveError
	switch {
	case errors.As(err, &no) && no.Response.StatusCode < http.StatusInternalServerError:
		// The provider's text may repeat what it was sent.
		return identity.Token{}, refuse("was not given out: the provider refused the code", fmt.Errorf("token endpoint: %s, %s", no.Response.Status, no.ErrorCode))
	case err != nil:
		return identity.Token{}, away("token endpoint", err)
	}
	text, _ := granted.Extra("id_token").(string)
	token, err := c.provider.Verify(ctx, text)
	if err != nil {
		return identity.Token{}, err
	}
	// The signature holds, so the payload is the provider's.
	_, payload, _ := strings.Cut(text, ".")
	payload, _, _ = strings.Cut(payload, ".")
	var claims rawClaims
	raw, err := base64.RawURLEncoding.DecodeString(payload)
	if err == nil {
		err = json.Unmarshal(raw, &claims)
	}
	party, given := claims["azp"]
	switch {
	case err != nil:
		return identity.Token{}, refuse("has claims that cannot be read", err)
	case claims["nonce"] != nonce:
		return identity.Token{}, refuse("is of another sign-in", nil)
	case given && party != c.provider.Audience:
		return identity.Token{}, refuse("was given out to another client", nil)
	}
	return token, nil
}

// End is where a user signs out of the provider too, with a way back to us: empty
// where it has no such place, or cannot be asked.
func (c *Code) End(ctx context.Context, back string) string {
	found, err := c.discover(ctx)
	if err != nil || found.EndSession == "" {
		return ""
	}
	u, err := url.Parse(found.EndSession)
	if err != nil {
		return ""
	}
	q := u.Query()
	q.Set("client_id", c.provider.Audience)
	q.Set("post_logout_redirect_uri", back)
	u.RawQuery = q.Encode()
	return u.String()
}

func (c *Code) flow(ctx context.Context) (*oauth2.Config, error) {
	found, err := c.discover(ctx)
	if err != nil {
		return nil, err
	}
	style := oauth2.AuthStyleInHeader
	if c.ClientSecret == "" {
		style = oauth2.AuthStyleInParams
	}
	return &oauth2.Config{
		ClientID: c.provider.Audience, ClientSecret: c.ClientSecret, RedirectURL: c.Redirect, Scopes: c.Scopes,
		Endpoint: oauth2.Endpoint{AuthURL: found.Authorization, TokenURL: found.Token, AuthStyle: style},
	}, nil
}

// discover finds the provider's endpoints, one caller at a time. It does not ask
// again for a while, nor at once where the provider was away.
func (c *Code) discover(ctx context.Context) (endpoints, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	holds := discoveryHolds
	if c.err != nil {
		holds = c.provider.pace.retry
	}
	if c.asked.IsZero() || time.Since(c.asked) >= holds {
		// Not the context of whoever asks first: what is found is for others too.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.provider.pace.wait)
		defer cancel()
		c.known, c.err = c.askWhere(ctx)
		c.asked = time.Now()
	}
	return c.known, c.err
}

func (c *Code) askWhere(ctx context.Context) (endpoints, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.provider.Issuer, "/")+"/.well-known/openid-configuration", nil)
	if err != nil {
		return endpoints{}, away("discovery", err)
	}
	answer, err := c.provider.http.Do(r)
	if err != nil {
		return endpoints{}, away("discovery", err)
	}
	defer func() { _ = answer.Body.Close() }() // only read from
	var found endpoints
	if answer.StatusCode != http.StatusOK {
		return endpoints{}, away("discovery", errors.New(answer.Status))
	}
	if err := json.NewDecoder(answer.Body).Decode(&found); err != nil {
		return endpoints{}, away("discovery", err)
	}
	if found.Issuer != c.provider.Issuer {
		return endpoints{}, away("discovery", fmt.Errorf("it is of the issuer %q", found.Issuer))
	}
	for _, address := range []string{found.Authorization, found.Token, found.EndSession} {
		if u, err := url.Parse(address); address != found.EndSession && address == "" || address != "" && (err != nil || u.Scheme != "https" || u.Host == "") {
			return endpoints{}, away("discovery", fmt.Errorf("%q is no https address", address))
		}
	}
	return found, nil
}

func away(where string, err error) error {
	return fmt.Errorf("%w: %s: %w", identity.ErrProviderAway, where, err)
}
