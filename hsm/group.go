package hsm

import (
	"context"
	"errors"
	"fmt"

	"latchkey/card"
)

// Group is several tokens that hold the same master keys, such as the members of
// an HSM cluster. An answer comes from the first that can give one.
type Group struct{ tokens []*Token }

// NewGroup makes a group of one or more tokens, in the order in which they are
// tried.
func NewGroup(first *Token, more ...*Token) *Group {
	return &Group{append([]*Token{first}, more...)}
}

// Tokens lists the members.
func (g *Group) Tokens() []*Token { return g.tokens }

// Respond is [Token.Respond] by the first token that can be had. The next is only
// asked where one is unavailable or lacks the key: what a token refuses for a
// reason, it refuses for all.
func (g *Group) Respond(ctx context.Context, key card.AdminKey, alg card.Algorithm, challenge card.Challenge) (card.Response, error) {
	var errs []error
	for _, t := range g.tokens {
		response, err := t.Respond(ctx, key, alg, challenge)
		if err == nil {
			return response, nil
		}
		errs = append(errs, fmt.Errorf("token %q: %w", t.info.Label, err))
		if ctx.Err() != nil || !another(err) {
			break
		}
	}
	if len(errs) == 1 {
		return nil, errors.Unwrap(errs[0])
	}
	return nil, errors.Join(errs...)
}

// another tells whether another token might do what this one could not.
func another(err error) bool {
	var outage interface{ Unavailable() bool }
	return errors.Is(err, ErrKeyUnknown) || errors.Is(err, ErrPIN) || errors.Is(err, ErrToken) || errors.Is(err, ErrClosed) ||
		errors.As(err, &outage) && outage.Unavailable()
}

// Check tells whether one token at least is there with its user logged in.
func (g *Group) Check(ctx context.Context) error {
	var errs []error
	for _, t := range g.tokens {
		err := t.Check(ctx)
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("token %q: %w", t.info.Label, err))
	}
	return errors.Join(errs...)
}

// HasKey tells whether one token at least holds a fit master key of that name.
func (g *Group) HasKey(label string, version int) bool {
	for _, t := range g.tokens {
		if t.HasKey(label, version) {
			return true
		}
	}
	return false
}

// Calls counts the PKCS#11 calls of all tokens.
func (g *Group) Calls() (n int64) {
	for _, t := range g.tokens {
		n += t.Calls()
	}
	return n
}

// Close closes every token.
func (g *Group) Close(ctx context.Context) error {
	var errs []error
	for _, t := range g.tokens {
		errs = append(errs, t.Close(ctx))
	}
	return errors.Join(errs...)
}
