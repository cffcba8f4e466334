package unblock

import (
	"slices"
	"strings"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/identity"
	"latchkey/policy"
)

// Unblock PIN offline is the use case for holders: somebody who signed in unblocks a
// card of his own, with nobody at a help desk. It is the same desk and the same order
// of checks, with these differences: the person has to be the card's holder, to whom
// no other card is there; there has to have been a second factor; the switch of the
// card type and the action of policy are its own; nobody's approval and no override
// takes part; its account is the holder's; and the audit log has it under actions of
// its own.

// isHolder tells whether the person is the card's holder, by what holders are known by.
// What is empty on either side is no match.
func (d *Desk) isHolder(p policy.Operator, h card.Holder) bool {
	mine := d.Holders.Of(p)
	if mine == "" {
		return false
	}
	switch d.Holders {
	case identity.ByEmployeeNumber:
		return mine == h.EmployeeNumber
	case identity.ByEmail:
		return lower(mine) == lower(h.Email)
	case identity.ByID:
		return mine == h.ID
	}
	return false
}

// lower folds the case of ASCII alone: in other letters two people could look alike.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

// AsHolder is the caller as the holder of his own cards. Only somebody in a session of
// his own can be one: of others nothing is left, and nothing is answered to that.
func (c Caller) AsHolder() Caller {
	if c.Operator == nil || c.Means != identity.BySession && c.Means != identity.AsHolder {
		return Caller{Address: c.Address, RequestID: c.RequestID}
	}
	c.Means, c.NamesOperators = identity.AsHolder, false
	return c
}

// holds tells whether the caller is here as a holder.
func (c Caller) holds() bool { return c.Means == identity.AsHolder }

func (a *attempt) self() bool { return a.caller.holds() }

// action is what an act of the use case is called in the audit log where this caller
// does it.
func (c Caller) action(of audit.Action) audit.Action {
	if !c.holds() {
		return of
	}
	switch of {
	case audit.UnblockStart:
		return audit.SelfStart
	case audit.UnblockRespond:
		return audit.SelfRespond
	case audit.UnblockComplete:
		return audit.SelfComplete
	case audit.UnblockCancel:
		return audit.SelfCancel
	default:
		return of
	}
}

// holderAuthenticated lets a holder pass who signed in as one has to, and who asks for
// no more than a holder may.
func (d *Desk) holderAuthenticated(a *attempt) *Refusal {
	switch {
	case !slices.Contains(identity.Knowns(), d.Holders):
		return refuse(SelfServiceOff, "Holders do not unblock their own cards here. Call the help desk.")
	case !a.who.MFA:
		return refuse(SecondFactor, "Your own card you unblock only when you signed in with a second factor. Sign in again with it, or call the help desk.")
	case a.asked.Override != "":
		return refuse(OverrideForbidden, "A holder does not go on beyond a card's attempts. Call the help desk.").saying("holder", nil)
	}
	return nil
}
