// Package people says who a person is, from all that is known of him: what an
// administrator registered, what the configuration names, and what a token of his
// claims. The first of the three that knows the person speaks alone; see
// docs/decisions/0019-who-a-person-is.md.
package people

import (
	"context"
	"errors"
	"fmt"

	"latchkey/card"
	"latchkey/identity"
)

// Records finds registered people, as *store.Store does. It gives
// card.ErrNotFound for what is not there.
type Records interface {
	Operator(ctx context.Context, id string) (identity.Record, error)
	OperatorOfToken(ctx context.Context, issuer, subject string) (identity.Record, error)
}

// Seeds finds the people that a configuration names, as *config.Config does. It
// gives card.ErrNotFound for who is not named.
type Seeds interface {
	Operator(ctx context.Context, id string) (identity.Person, error)
}

// Registry knows people.
type Registry struct {
	Records Records
	Seeds   Seeds
}

// Operator finds a person by ID. It gives card.ErrNotFound for somebody nobody
// knows and identity.ErrInactive for somebody who may do nothing.
func (r Registry) Operator(ctx context.Context, id string) (identity.Person, error) {
	known, err := r.Records.Operator(ctx, id)
	switch {
	case errors.Is(err, card.ErrNotFound):
		return r.Seeds.Operator(ctx, id)
	case err != nil:
		return identity.Person{}, fmt.Errorf("look up operator: %w", err)
	}
	return active(known)
}

// Bearer is the person whose token it is: the record that the token is tied to,
// or who has the ID that the token claims. Whether there was a second factor, and
// when, is always the token's to say. The error is *identity.TokenError for a
// token that claims the ID of a record that another one is tied to.
func (r Registry) Bearer(ctx context.Context, t identity.Token) (identity.Person, error) {
	person, err := r.bearer(ctx, t)
	if err != nil {
		return identity.Person{}, err
	}
	person.MFA, person.AuthenticatedAt = t.Person.MFA, t.Person.AuthenticatedAt
	return person, nil
}

func (r Registry) bearer(ctx context.Context, t identity.Token) (identity.Person, error) {
	known, err := r.Records.OperatorOfToken(ctx, t.Issuer, t.Subject)
	if errors.Is(err, card.ErrNotFound) {
		known, err = r.Records.Operator(ctx, t.Person.ID)
	}
	switch {
	case err == nil && known.Subject != "" && (known.Subject != t.Subject || known.Issuer != t.Issuer):
		return identity.Person{}, &identity.TokenError{Why: "claims to be of an operator whom another token is registered for"}
	case err == nil:
		return active(known)
	case !errors.Is(err, card.ErrNotFound):
		return identity.Person{}, fmt.Errorf("look up operator: %w", err)
	}
	seed, err := r.Seeds.Operator(ctx, t.Person.ID)
	switch {
	case !errors.Is(err, card.ErrNotFound):
		return seed, err
	case t.Person.ID == "":
		return identity.Person{}, &identity.TokenError{Why: "does not say which operator it is of"}
	}
	return t.Person, nil
}

func active(r identity.Record) (identity.Person, error) {
	if !r.Active {
		return identity.Person{}, fmt.Errorf("operator %s: %w", r.ID, identity.ErrInactive)
	}
	return r.Person, nil
}
