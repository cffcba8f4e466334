package oidc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	goidc "github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"latchkey/card"
	"latchkey/identity"
)

// MaxToken is the most bytes that a token may have.
const MaxToken = 8 << 10

// Algorithms lists the signatures that can be taken: those of a private key. What
// is made with a key that both sides have, and "none", can not.
func Algorithms() []string {
	return []string{
		goidc.RS256, goidc.RS384, goidc.RS512, goidc.ES256, goidc.ES384, goidc.ES512,
		goidc.PS256, goidc.PS384, goidc.PS512, goidc.EdDSA,
	}
}

// DefaultAlgorithms are the two that nearly every provider has.
func DefaultAlgorithms() []string { return []string{goidc.RS256, goidc.ES256} }

// Config says whose tokens are taken, and how they are read.
type Config struct {
	// Issuer is the provider's URL, letter by letter as its tokens have it.
	Issuer string
	// CA holds, in PEM form, the certificates that the provider's own is held
	// against; nil for the system's.
	CA []byte
	// Audience is who the tokens have to be for.
	Audience string
	// ClockSkew is how far the provider's clock may be from ours.
	ClockSkew time.Duration
	// Algorithms are some of Algorithms.
	Algorithms []string
	Claims     Claims
	Now        func() time.Time
	// Report, where set, is told when the provider can be reached no longer, and
	// with nil when it can again.
	Report func(error)
}

// pace is how often the provider is asked, and how long it is waited for.
type pace struct {
	refresh time.Duration // between fetches, while all is well
	retry   time.Duration // between fetches otherwise, and the least between any two
	fetch   time.Duration // for one fetch
	wait    time.Duration // of a token for a fetch
	stale   time.Duration // for which keys are used that cannot be fetched anew
}

func defaultPace() pace {
	return pace{refresh: 10 * time.Minute, retry: 5 * time.Second, fetch: 10 * time.Second, wait: 2 * time.Second, stale: 24 * time.Hour}
}

// Provider verifies the tokens of one OpenID provider. It is safe for concurrent
// use.
type Provider struct {
	Config
	pace pace
	http *http.Client
	keys atomic.Pointer[keySet]

	mu       sync.Mutex
	fetching chan struct{} // closed when the fetch that is under way ends
	fetched  time.Time     // when the last one ended
	away     bool          // it failed, and that was reported
}

// Faults lists what is wrong with what a file can say.
func (c Config) Faults() []card.Fault {
	var faults []card.Fault
	u, err := url.Parse(c.Issuer)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		faults = append(faults, card.Fault{Field: "issuer", Detail: fmt.Sprintf("%q is not https://host and a path", c.Issuer)})
	}
	if wrong := card.TextFault(c.Audience, card.MaxText, true); wrong != "" {
		faults = append(faults, card.Fault{Field: "audience", Detail: wrong})
	}
	if len(c.Algorithms) == 0 || slices.ContainsFunc(c.Algorithms, func(a string) bool { return !slices.Contains(Algorithms(), a) }) {
		faults = append(faults, card.Fault{Field: "algorithms", Detail: "must be some of " + strings.Join(Algorithms(), ", ")})
	}
	if c.CA != nil && !x509.NewCertPool().AppendCertsFromPEM(c.CA) {
		faults = append(faults, card.Fault{Field: "ca", Detail: "holds no certificate in PEM form"})
	}
	return faults
}

// New makes a Provider and asks nobody anything yet.
func New(c Config) (*Provider, error) {
	if faults := c.Faults(); len(faults) != 0 {
		return nil, fmt.Errorf("OpenID provider: %s %s", faults[0].Field, faults[0].Detail)
	}
	if c.Now == nil {
		return nil, errors.New("OpenID provider: Now is not set")
	}
	if c.Report == nil {
		c.Report = func(error) {}
	}
	var roots *x509.CertPool
	if c.CA != nil {
		roots = x509.NewCertPool()
		roots.AppendCertsFromPEM(c.CA)
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		ForceAttemptHTTP2: true, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10,
	}
	return &Provider{Config: c, pace: defaultPace(), http: &http.Client{
		Transport: &limited{transport},
		// What the configuration names is asked, and nobody whom that one names.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Follow fetches the provider's keys, and again from time to time, until the
// context ends.
func (p *Provider) Follow(ctx context.Context) {
	defer p.http.CloseIdleConnections()
	for {
		select {
		case <-p.fetch():
		case <-ctx.Done():
			return
		}
		p.mu.Lock()
		next := p.pace.refresh
		if p.away {
			next = p.pace.retry
		}
		p.mu.Unlock()
		select {
		case <-time.After(next):
		case <-ctx.Done():
			return
		}
	}
}

// fetch fetches the provider's keys aside. The channel closes when the fetch
// that is under way has ended, at once where one has only just.
func (p *Provider) fetch() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fetching != nil {
		return p.fetching
	}
	done := make(chan struct{})
	if !p.fetched.IsZero() && time.Since(p.fetched) < p.pace.retry {
		close(done)
		return done
	}
	p.fetching = done
	go func() {
		// Not the context of whoever asked first: others wait too, and one who hangs up
		// must not keep them from new keys.
		ctx, cancel := context.WithTimeout(context.Background(), p.pace.fetch)
		defer cancel()
		keys, err := p.ask(ctx)
		if err == nil {
			p.keys.Store(keys)
		}
		p.mu.Lock()
		changed := p.away != (err != nil)
		p.away, p.fetched, p.fetching = err != nil, time.Now(), nil
		p.mu.Unlock()
		if changed {
			p.Report(err)
		}
		close(done)
	}()
	return done
}

// Verify says whose token it is, or gives *identity.TokenError, or an error that
// is identity.ErrProviderAway.
func (p *Provider) Verify(ctx context.Context, token string) (identity.Token, error) {
	if len(token) > MaxToken {
		return identity.Token{}, refuse(fmt.Sprintf("is longer than %d bytes", MaxToken), nil)
	}
	algorithms := make([]jose.SignatureAlgorithm, len(p.Algorithms))
	for i, a := range p.Algorithms {
		algorithms[i] = jose.SignatureAlgorithm(a)
	}
	// ParseSigned takes the JSON form of signatures too, which no bearer has.
	signed, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		return identity.Token{}, refuse("is no JSON Web Token signed with "+strings.Join(p.Algorithms, " or "), err)
	}
	header := signed.Signatures[0].Protected
	if kind, _ := header.ExtraHeaders[jose.HeaderType].(string); !slices.Contains([]string{"", "JWT", "AT+JWT", "APPLICATION/AT+JWT"}, strings.ToUpper(kind)) {
		return identity.Token{}, refuse("is of another type than an access or ID token", nil)
	}
	keys, err := p.keysFor(ctx, header.KeyID)
	if err != nil {
		return identity.Token{}, err
	}
	verified, err := goidc.NewVerifier(p.Issuer, keys, &goidc.Config{
		ClientID: p.Audience, SupportedSigningAlgs: p.Algorithms,
		SkipExpiryCheck: true, // checkTimes is stricter, and takes the skew from the configuration
	}).Verify(ctx, token)
	if err != nil {
		return identity.Token{}, refuse("is not one of the provider's for this service: its signature, issuer or audience does not fit", err)
	}
	var raw rawClaims
	if err := verified.Claims(&raw); err != nil {
		return identity.Token{}, refuse("has claims that cannot be read, or one of them twice", err)
	}
	claims := map[string]any(raw)
	if err := checkTimes(claims, p.Now(), p.ClockSkew); err != nil {
		return identity.Token{}, err
	}
	return p.Claims.read(claims, verified.Issuer, verified.Subject)
}

// keysFor are the provider's keys, fetched anew where none of them has this name.
func (p *Provider) keysFor(ctx context.Context, id string) (*keySet, error) {
	keys := p.keys.Load()
	if !keys.usable(p.pace.stale) || !keys.has(id) {
		select {
		case <-p.fetch():
		case <-time.After(p.pace.wait):
		case <-ctx.Done():
		}
		keys = p.keys.Load()
	}
	if !keys.usable(p.pace.stale) {
		return nil, identity.ErrProviderAway
	}
	return keys, nil
}

func refuse(why string, cause error) error { return &identity.TokenError{Why: why, Cause: cause} }
