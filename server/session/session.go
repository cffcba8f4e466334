// Package session signs people in to the console through an OpenID provider, and
// keeps their stays. It deals in cookies, and knows nothing of pages.
//
// A session is 256 random bits in a cookie of the browser; the store has their
// SHA-256, and what the provider said at the sign-in. Who that is, with which roles,
// is looked up at each request: an operator who is made inactive is out at once.
//
// Of a sign-in that is under way nothing is kept here. The browser has 256 random
// bits in a cookie, and from them follow the state, the nonce and the PKCE verifier.
// So nobody who begins sign-ins and never ends them can fill anything up, and a
// callback is good for the browser alone that began it.
package session

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/identity"
)

const (
	// signInLifetime is how long somebody may take to sign in.
	signInLifetime = 10 * time.Minute
	// seenEvery is how exactly the last use is known: each note of it is a write.
	seenEvery = time.Minute
)

// The cookies. Their prefix has browsers hold them to Secure, to Path=/ and to this
// host, so that no other host of the domain can set them.
const (
	cookieName = "__Host-latchkey"
	signInName = "__Host-latchkey-sign-in"
)

// Flow is the authorization code flow, as *oidc.Code runs it.
type Flow interface {
	Issuer() string
	Ask(ctx context.Context, state, nonce, verifier string) (address string, err error)
	Redeem(ctx context.Context, code, nonce, verifier string) (identity.Token, error)
	End(ctx context.Context, back string) (address string)
}

// Store keeps sessions, as *store.Store does. Session gives card.ErrNotFound.
type Store interface {
	BeginSession(ctx context.Context, s identity.Session, idle time.Time, e audit.Entry) error
	Session(ctx context.Context, hash [32]byte) (identity.Session, error)
	SeeSession(ctx context.Context, hash [32]byte, at time.Time) error
	EndSession(ctx context.Context, hash [32]byte, e audit.Entry) error
	Append(ctx context.Context, e audit.Entry) error
}

// People says who the bearer of a token is, as people.Registry does.
type People interface {
	Bearer(ctx context.Context, t identity.Token) (identity.Person, error)
}

// Config is what sessions work with. All fields are required.
type Config struct {
	Flow   Flow
	Store  Store
	People People
	// Admit says whether the console is for this person.
	Admit          func(identity.Person) bool
	Idle, Lifetime time.Duration
	// Home is the path that sign-ins lead to and come from, with its trailing slash.
	Home string
	// Origin is ours as browsers see it, https://host.
	Origin string
	// Request tells the request's ID and where it came from, for the audit log.
	Request func(*http.Request) (id, address string)
	Now     func() time.Time
}

// Sessions is safe for concurrent use.
type Sessions struct {
	Config
	// refusals bounds what strangers can have written into the audit log, codes how
	// often they can have the provider asked.
	refusals, codes *rate.Limiter
}

// New makes Sessions, or says what is missing.
func New(c Config) (*Sessions, error) {
	for name, missing := range map[string]bool{
		"Flow": c.Flow == nil, "Store": c.Store == nil, "People": c.People == nil, "Admit": c.Admit == nil,
		"Idle": c.Idle <= 0, "Lifetime": c.Lifetime <= 0, "Home": c.Home == "", "Origin": c.Origin == "",
		"Request": c.Request == nil, "Now": c.Now == nil,
	} {
		if missing {
			return nil, fmt.Errorf("sessions: %s is not set", name)
		}
	}
	return &Sessions{Config: c, refusals: rate.NewLimiter(1, 60), codes: rate.NewLimiter(20, 200)}, nil
}

// Errors that callers tell apart, besides identity.ErrProviderAway,
// identity.ErrInactive and *identity.TokenError.
var (
	// ErrNone says that the request is of no session.
	ErrNone = errors.New("no session")
	// ErrOver says that its session is over.
	ErrOver = errors.New("the session is over")
	// ErrStrange says that a callback belongs to no sign-in of this browser.
	ErrStrange = errors.New("this browser has no such sign-in under way")
	// ErrBusy says that too many sign in at a time.
	ErrBusy = errors.New("too many sign-ins at a time")
	// ErrDeclined says that the provider did not sign the person in.
	ErrDeclined = errors.New("the provider declined the sign-in")
	// ErrNotAdmitted says that the console is not for this person.
	ErrNotAdmitted = errors.New("the person has no role that the console takes")
)

// Begin sends the browser to the provider. After the sign-in it comes back to the
// path, where that is one of the console's.
func (s *Sessions) Begin(w http.ResponseWriter, r *http.Request, to string) error {
	var pending [40]byte
	if _, err := rand.Read(pending[:32]); err != nil {
		return fmt.Errorf("begin sign-in: %w", err)
	}
	binary.BigEndian.PutUint64(pending[32:], uint64(s.Now().Unix())) //nolint:gosec // after 1970
	value := encode(pending[:]) + "." + encode([]byte(s.within(to)))
	address, err := s.Flow.Ask(r.Context(), derive("state", value), derive("nonce", value), derive("verifier", value))
	if err != nil {
		return fmt.Errorf("begin sign-in: %w", err)
	}
	http.SetCookie(w, cookie(signInName, value, signInLifetime))
	http.Redirect(w, r, address, http.StatusSeeOther)
	return nil
}

// Finish takes the browser back from the provider and begins a session, with a
// secret that nobody had before. It gives the path to go on to.
func (s *Sessions) Finish(w http.ResponseWriter, r *http.Request) (to string, err error) {
	http.SetCookie(w, cookie(signInName, "", -1)) // it is good for once
	person, value, err := s.signedIn(r)
	if err != nil {
		return "", errors.Join(err, s.refused(r, person, err))
	}
	if old, _ := s.hash(r); old != nil {
		if err := s.end(r, *old, person.ID, "signed in anew"); err != nil {
			return "", err
		}
	}
	var secret [32]byte
	if _, err := rand.Read(secret[:]); err != nil {
		return "", fmt.Errorf("begin session: %w", err)
	}
	now := s.Now()
	begun := identity.Session{
		Hash: sha256.Sum256(secret[:]), Person: person.ID, Token: value.token, BeganAt: now, SeenAt: now, EndsAt: now.Add(s.Lifetime),
	}
	entry := s.entry(r, audit.SessionBegin, audit.Permit, person)
	if err := s.Store.BeginSession(r.Context(), begun, now.Add(-s.Idle), entry); err != nil {
		return "", err
	}
	http.SetCookie(w, cookie(cookieName, encode(secret[:]), 0)) // until the browser is closed, at most
	return value.to, nil
}

// finished is what comes of a sign-in.
type finished struct {
	token identity.Token
	to    string
}

// signedIn is whom the provider signed in. The person is empty as long as nothing
// is proven of him.
func (s *Sessions) signedIn(r *http.Request) (identity.Person, finished, error) {
	q := r.URL.Query()
	to, value, err := s.pending(r)
	switch {
	case err != nil:
		return identity.Person{}, finished{}, err
	case len(q["state"]) != 1 || !same(q.Get("state"), derive("state", value)):
		return identity.Person{}, finished{}, fmt.Errorf("%w: the state is another", ErrStrange)
	case q.Has("iss") && q.Get("iss") != s.Flow.Issuer(): // RFC 9207
		return identity.Person{}, finished{}, fmt.Errorf("%w: another provider answers", ErrStrange)
	case q.Has("error"):
		return identity.Person{}, finished{}, ErrDeclined
	case len(q["code"]) != 1:
		return identity.Person{}, finished{}, fmt.Errorf("%w: there is no code", ErrStrange)
	case !s.codes.AllowN(s.Now(), 1):
		return identity.Person{}, finished{}, ErrBusy
	}
	token, err := s.Flow.Redeem(r.Context(), q.Get("code"), derive("nonce", value), derive("verifier", value))
	if err != nil {
		return identity.Person{}, finished{}, err
	}
	person, err := s.People.Bearer(r.Context(), token)
	switch {
	case err != nil:
		return token.Person, finished{}, err
	case !s.Admit(person):
		return person, finished{}, ErrNotAdmitted
	}
	return person, finished{token, to}, nil
}

// pending is the sign-in that this browser has under way: where it leads to, and
// the value that all else follows from.
func (s *Sessions) pending(r *http.Request) (to, value string, err error) {
	held := r.CookiesNamed(signInName)
	if len(held) != 1 {
		return "", "", fmt.Errorf("%w: it has %d cookies of one", ErrStrange, len(held))
	}
	value = held[0].Value
	secret, where, _ := strings.Cut(value, ".")
	bits, err := decode(secret)
	if err != nil || len(bits) != 40 {
		return "", "", fmt.Errorf("%w: its cookie cannot be read", ErrStrange)
	}
	// The time is the browser's word, but changed it would give another state.
	if age := s.Now().Unix() - int64(binary.BigEndian.Uint64(bits[32:])); age < 0 || age > int64(signInLifetime.Seconds()) { //nolint:gosec // a number that wraps around is out of bounds
		return "", "", fmt.Errorf("%w: it took longer than %s", ErrStrange, signInLifetime)
	}
	at, err := decode(where)
	if err != nil {
		return "", "", fmt.Errorf("%w: its cookie cannot be read", ErrStrange)
	}
	return s.within(string(at)), value, nil
}

// within is the path, where it is one of the console's, and else its home.
func (s *Sessions) within(to string) string {
	if len(to) > 512 || !strings.HasPrefix(to, s.Home) || strings.ContainsAny(to, `\?#`) ||
		path.Clean(to) != strings.TrimSuffix(to, "/") || strings.ContainsFunc(to, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return s.Home
	}
	return to
}

// Person is whose session the request is of. The error is ErrNone or ErrOver where
// there is none, or one that has ended; it is over too for somebody who is
// registered as inactive meanwhile.
func (s *Sessions) Person(r *http.Request) (identity.Person, error) {
	hash, err := s.hash(r)
	if err != nil {
		return identity.Person{}, err
	}
	found, err := s.Store.Session(r.Context(), *hash)
	if errors.Is(err, card.ErrNotFound) {
		return identity.Person{}, ErrOver
	}
	if err != nil {
		return identity.Person{}, err
	}
	now, why := s.Now(), ""
	switch {
	case !now.Before(found.EndsAt):
		why = "it lasted as long as it may"
	case now.Sub(found.SeenAt) > s.Idle:
		why = "it was idle"
	case now.Sub(found.SeenAt) < -s.Idle:
		// Without this it would last until that time has come, and as long again.
		why = "it was used at a time that is yet to come: a clock was wrong then or is now"
	}
	if why != "" {
		return identity.Person{}, errors.Join(ErrOver, s.end(r, *hash, found.Person, why))
	}
	person, err := s.People.Bearer(r.Context(), found.Token)
	var no *identity.TokenError
	switch {
	case errors.Is(err, identity.ErrInactive):
		return identity.Person{}, errors.Join(ErrOver, s.end(r, *hash, found.Person, "the operator was made inactive"))
	case errors.As(err, &no):
		return identity.Person{}, errors.Join(ErrOver, s.end(r, *hash, found.Person, "the sign-in is somebody else's now"))
	case err != nil:
		return identity.Person{}, err
	}
	if now.Sub(found.SeenAt) >= min(seenEvery, s.Idle/4) {
		if err := s.Store.SeeSession(r.Context(), *hash, now); err != nil {
			return identity.Person{}, err
		}
	}
	return person, nil
}

// End ends the request's session. It gives where the browser has to go to sign out
// of the provider too, empty for nowhere.
func (s *Sessions) End(w http.ResponseWriter, r *http.Request, person string) (elsewhere string, err error) {
	http.SetCookie(w, cookie(cookieName, "", -1))
	hash, err := s.hash(r)
	if err != nil {
		return "", err
	}
	if err := s.end(r, *hash, person, "signed out"); err != nil {
		return "", err
	}
	return s.Flow.End(r.Context(), s.Origin+s.Home), nil
}

// FormToken is what each form of the session has to hold: a page of another origin
// can neither read it nor make it.
func (s *Sessions) FormToken(r *http.Request) string {
	secret, err := secretOf(r)
	if err != nil {
		return ""
	}
	return derive("form", encode(secret))
}

// hash is the hash of the session's secret that the browser has, or ErrNone.
func (s *Sessions) hash(r *http.Request) (*[32]byte, error) {
	secret, err := secretOf(r)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(secret)
	return &sum, nil
}

func secretOf(r *http.Request) ([]byte, error) {
	held := r.CookiesNamed(cookieName)
	if len(held) != 1 {
		return nil, ErrNone
	}
	secret, err := decode(held[0].Value)
	if err != nil || len(secret) != 32 {
		return nil, ErrNone
	}
	return secret, nil
}

func (s *Sessions) end(r *http.Request, hash [32]byte, person, why string) error {
	entry := s.entry(r, audit.SessionEnd, audit.Permit, identity.Person{ID: person})
	entry.Detail = why
	return s.Store.EndSession(r.Context(), hash, entry)
}

// refused writes down that somebody did not get in.
func (s *Sessions) refused(r *http.Request, person identity.Person, why error) error {
	if !s.refusals.AllowN(s.Now(), 1) {
		return nil
	}
	entry := s.entry(r, audit.SessionRefuse, audit.Deny, person)
	if errors.Is(why, identity.ErrProviderAway) {
		entry.Outcome = audit.Failure
	}
	entry.Detail = why.Error()
	return s.Store.Append(r.Context(), entry)
}

func (s *Sessions) entry(r *http.Request, action audit.Action, outcome audit.Outcome, person identity.Person) audit.Entry {
	e := audit.Entry{Time: s.Now(), Action: action, Outcome: outcome, Operator: person.ID}
	if person.ID != "" {
		e.Client, e.Delegation = person.ClientName(), string(identity.BySession)
	}
	e.RequestID, e.Address = s.Request(r)
	return e
}

// cookie is one that scripts do not see and that only goes back to this host, over
// TLS. Lax lets it come along when the provider sends the browser back. A lifetime
// of 0 is the browser's; below 0 the cookie is taken away.
func cookie(name, value string, lifetime time.Duration) *http.Cookie {
	seconds := int(lifetime.Seconds())
	if lifetime < 0 {
		seconds = -1
	}
	return &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: seconds,
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}

// derive makes one of the values that follow from a secret. None of them tells
// anything of the secret, or of another.
func derive(what, secret string) string {
	sum := sha256.Sum256([]byte("latchkey " + what + "\x00" + secret))
	return encode(sum[:])
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func decode(s string) ([]byte, error) { return base64.RawURLEncoding.Strict().DecodeString(s) }
