package identity

import "errors"

// Token is what a verified token of an OpenID provider says: whose it is, and
// what the provider knows of that person. Where it is a program's own, the person
// has no meaning.
type Token struct {
	Issuer, Subject string
	Person          Person
}

// ErrProviderAway says that a token can be neither accepted nor refused, because
// the keys of its provider could not be had.
var ErrProviderAway = errors.New("the identity provider cannot be reached")

// TokenError says why a token was refused.
type TokenError struct {
	// Why is for whoever sent the token, as in "has expired". It shows nothing of
	// what is in the token.
	Why string
	// Cause is for our log, nil where there is no more to say.
	Cause error
}

func (e *TokenError) Error() string {
	if e.Cause == nil {
		return "the token " + e.Why
	}
	return "the token " + e.Why + ": " + e.Cause.Error()
}

func (e *TokenError) Unwrap() error { return e.Cause }
