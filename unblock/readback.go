package unblock

import (
	"context"

	"latchkey/card"
)

// ReadBack is a challenge as it was understood, to be read to whoever named it.
type ReadBack struct {
	Challenge card.Challenge
	Attempts  Attempts
	// Warnings say in words what speaks against answering the challenge.
	Warnings []string
}

// ReadBack tells how a challenge is understood, without answering it: the HSM is not
// asked, nothing is counted, and the audit log does not hear of it.
func (d *Desk) ReadBack(ctx context.Context, caller Caller, id, challenge string) (ReadBack, error) {
	p, no := d.find(ctx, caller, id, "")
	if no == nil {
		no = d.inState(p, Waiting, Started)
	}
	if no != nil {
		return ReadBack{}, no
	}
	profile, no := d.profileOf(ctx, p.Card)
	if no != nil {
		return ReadBack{}, no
	}
	var r ReadBack
	if r.Challenge, no = parseChallenge(challenge, profile); no != nil {
		return ReadBack{}, no
	}
	why, no := d.suspicion(ctx, p.Card, p.ID, r.Challenge)
	if no != nil {
		return ReadBack{}, no
	}
	standing, err := d.Ledger.Standing(ctx, p.Card)
	if err != nil {
		return ReadBack{}, fail(StoreUnavailable, "The card's attempts could not be counted. Try again later.", err)
	}
	r.Attempts = Attempts{Unconfirmed: standing.Unconfirmed, Limit: profile.Retry.MaxUnconfirmed()}
	for _, warning := range []string{why, r.Attempts.Warning()} {
		if warning != "" {
			r.Warnings = append(r.Warnings, warning)
		}
	}
	return r, nil
}

// profileOf finds the profile of a card.
func (d *Desk) profileOf(ctx context.Context, serial string) (card.Profile, *Refusal) {
	c, err := d.Cards.Card(ctx, serial)
	if err != nil {
		return card.Profile{}, CardUnread(err)
	}
	kind, err := d.Cards.CardType(ctx, c.Type)
	if err != nil {
		return card.Profile{}, fail(StoreUnavailable, "The card type could not be looked up. Try again later.", err)
	}
	p, err := d.Profiles.Profile(kind.Profile)
	if err != nil {
		return card.Profile{}, fail(ProfileUnusable, "The card type's profile is not configured.", err)
	}
	return p, nil
}
