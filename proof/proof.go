package proof

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"

	"latchkey/card"
)

// HSM derives a card admin key and encrypts the challenge with it.
type HSM interface {
	Respond(ctx context.Context, key card.AdminKey, alg card.Algorithm, challenge card.Challenge) (card.Response, error)
}

// Master names a master key that the token holds.
type Master struct {
	Label   string
	Version int
}

// Case is what is to be proved: that Response is the answer of the profile's card
// to Challenge. Both are as long as the profile says.
type Case struct {
	Profile   card.Profile
	Card      card.Card
	Challenge card.Challenge
	Response  []byte
	Masters   []Master // those that may have been meant instead of the profile's
}

// Verdict is what came of it.
type Verdict struct {
	Match bool `json:"match"`
	// Matches says, where the case does not match, with which single change it
	// would; empty where none was found.
	Matches []string `json:"would_match,omitempty"`
	// Tried counts the changes that were tried.
	Tried int `json:"tried,omitempty"`
	// Fault is why there was nothing to compare with, where a change helps.
	Fault string `json:"fault,omitempty"`
}

// Prove asks the token. Where it cannot answer as the profile says its error is
// returned, unless a change helps. A change that the token or the card's data does
// not allow is passed over; a token that goes away is not.
func Prove(ctx context.Context, token HSM, c Case) (Verdict, error) {
	if len(c.Response) != len(c.Challenge) {
		return Verdict{}, fmt.Errorf("the response has %d bytes, the challenge %d; they must be equally long", len(c.Response), len(c.Challenge))
	}
	match, fault := c.asked(ctx, token)
	if match || gone(ctx, fault) {
		return Verdict{Match: match}, fault
	}
	var v Verdict
	for change := range c.changes() {
		v.Tried++
		match, err := change.to.asked(ctx, token)
		if gone(ctx, err) {
			return Verdict{}, fmt.Errorf("try %s: %w", change.is, err)
		}
		if match {
			v.Matches = append(v.Matches, change.is)
		}
	}
	if fault != nil {
		if len(v.Matches) == 0 {
			return Verdict{}, fault
		}
		v.Fault = fault.Error()
	}
	return v, nil
}

// gone tells whether the error says nothing of the case, but that nobody answers.
func gone(ctx context.Context, err error) bool {
	var outage interface{ Unavailable() bool }
	return err != nil && (ctx.Err() != nil || errors.As(err, &outage) && outage.Unavailable())
}

// asked tells whether the token gives the case's response.
func (c Case) asked(ctx context.Context, token HSM) (bool, error) {
	key, err := c.Profile.AdminKey(c.Card)
	if err != nil {
		return false, err
	}
	response, err := token.Respond(ctx, key, c.Profile.Algorithm, c.Challenge)
	if err != nil {
		return false, err
	}
	defer response.Wipe()
	return subtle.ConstantTimeCompare(response, c.Response) == 1, nil
}
