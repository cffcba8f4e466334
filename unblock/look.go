package unblock

import (
	"context"
	"errors"

	"latchkey/card"
	"latchkey/policy"
)

// Outlook is how a card stands, for an operator who may know of it.
type Outlook struct {
	Card     card.Card
	Type     card.Type // its zero value where the card's type is not registered
	Attempts Attempts
	// Open are the card's processes that are under way, or were answered and still
	// count because nobody reported what became of them; the oldest first. The IDs of
	// those that are not the caller's are left out.
	Open []Process
}

// Look tells how a card stands. It gives CardUnknown for one that is not there, and
// the same for one that the operator may not know of. It decides nothing, and the
// audit log does not hear of it.
func (d *Desk) Look(ctx context.Context, caller Caller, serial string) (Outlook, error) {
	a := &attempt{caller: caller, asked: Begin{Card: serial}}
	for _, pass := range []func(context.Context, *attempt) *Refusal{d.callerAuthenticated, d.operatorAuthenticated, d.cardFound} {
		if no := pass(ctx, a); no != nil {
			return Outlook{}, no
		}
	}
	o := Outlook{Card: a.card, Type: a.kind}
	var err error
	if o.Open, err = d.Ledger.OpenProcesses(ctx, a.card.Serial, d.Now()); err != nil {
		return Outlook{}, fail(StoreUnavailable, "The card's processes could not be looked up. Try again later.", err)
	}
	for i, p := range o.Open {
		if !caller.owns(p) {
			o.Open[i].ID = ""
		}
	}
	o.Attempts.Unconfirmed = a.standing.Unconfirmed
	// Without its profile the card cannot be answered for, which the checks say.
	if p, err := d.Profiles.Profile(a.kind.Profile); err == nil {
		o.Attempts.Limit = p.Retry.MaxUnconfirmed()
	}
	return o, nil
}

// Sees gives what tells whether the caller may know of a card, one after another of
// a list. It is nil for a client that acts for nobody, which sees every card.
func (d *Desk) Sees(ctx context.Context, caller Caller) func(card.Card) (bool, error) {
	if caller.Operator == nil {
		return nil
	}
	if caller.holds() {
		return func(c card.Card) (bool, error) { return d.isHolder(*caller.Operator, c.Holder), nil }
	}
	kinds := map[string]card.Type{}
	return func(c card.Card) (bool, error) {
		kind, known := kinds[c.Type]
		if !known {
			var err error
			if kind, err = d.Cards.CardType(ctx, c.Type); err != nil && !errors.Is(err, card.ErrNotFound) {
				return false, fail(StoreUnavailable, "The card type could not be looked up. Try again later.", err)
			}
			kinds[c.Type] = kind
		}
		view, err := d.Policy.View(ctx, policy.ViewRequest{Operator: *caller.Operator, Client: caller.Client, Card: c, Type: kind})
		if err != nil {
			return false, policyFailed(err)
		}
		return view.Allow, nil
	}
}
