package unblock

import (
	"context"

	"latchkey/card"
)

// ReadBack is a challenge as it was understood, to be read to whoever named it.
type ReadBack struct {
	Challenge card.Challenge
	Attempts  Attempts
	// Doubt is what speaks against the challenge itself.
	Doubt Doubt
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
	known, err := d.Cards.Dossier(ctx, Question{p.Card, card.AnyChallenge(challenge).Hex(), p.ID})
	if err != nil {
		return ReadBack{}, CardUnread(err)
	}
	profile, err := d.Profiles.Profile(known.Type.Profile)
	if err != nil {
		return ReadBack{}, fail(ProfileUnusable, "The card type's profile is not configured.", err).of(Facts{"profile": known.Type.Profile})
	}
	var r ReadBack
	if r.Challenge, no = parseChallenge(challenge, profile); no != nil {
		return ReadBack{}, no
	}
	r.Doubt = suspicion(r.Challenge, known.Answered)
	r.Attempts = Attempts{Unconfirmed: known.Standing.Unconfirmed, Limit: profile.Retry.MaxUnconfirmed()}
	for _, warning := range []string{r.Doubt.words(), r.Attempts.Warning()} {
		if warning != "" {
			r.Warnings = append(r.Warnings, warning)
		}
	}
	return r, nil
}
