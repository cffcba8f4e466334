package unblock

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"
)

// Rate is how many decisions may be made in each period. Its zero value is no
// limit. All of a period's decisions may come at once; then they come back evenly.
type Rate struct {
	N   int
	Per time.Duration
}

// Limits are the rates that decisions are held to, answers and refusals alike, on
// all nodes together.
type Limits struct{ PerOperator, PerHolder, PerCard, PerBackend Rate }

// Charge is one decision on the account of an operator, a card or a client. The
// accounts are kept by the generic cell rate algorithm (GCRA, ITU-T I.371, as a
// virtual schedule): an account is the time at which its next decision would come
// if all came evenly, its arrival.
type Charge struct {
	Key   string
	Whose string // as in "this operator"
	Rate
}

// Interval is the time between two decisions that come evenly.
func (c Charge) Interval() time.Duration { return c.Per / time.Duration(c.N) }

// Furthest is the last arrival that a decision at this time, or at a time that another
// node's clock has, can be charged after.
func (c Charge) Furthest(now time.Time) time.Time { return now.Add(2 * c.Per) }

// Wait is how long a decision has to wait that comes now, 0 where it need not: one
// fits as long as it moves the arrival no more than a period ahead of now. An arrival
// that is further ahead than [Charge.Furthest] was charged by a clock that has been put
// back since: the account begins anew, and is not shut until that time has come.
func (c Charge) Wait(arrival, now time.Time) time.Duration {
	if arrival.Before(now) || arrival.After(c.Furthest(now)) {
		arrival = now
	}
	return max(0, arrival.Add(c.Interval()).Sub(now)-c.Per)
}

// charges are the accounts that the attempt is on. A repetition is on none: what it
// asks for was charged before.
func (d *Desk) charges(a *attempt, serial string) []Charge {
	if a.repeat {
		return nil
	}
	person, rate := "operator", d.Limits.PerOperator
	if a.self() {
		person, rate = "holder", d.Limits.PerHolder
	}
	var list []Charge
	for _, c := range []struct {
		kind, id string
		rate     Rate
	}{
		{person, a.who.ID, rate}, {"card", serial, d.Limits.PerCard}, {"backend", a.caller.Client, d.Limits.PerBackend},
	} {
		if c.rate.N > 0 && c.id != "" {
			list = append(list, Charge{c.kind + ":" + c.id, "this " + c.kind, c.rate})
		}
	}
	return list
}

// withinLimits leaves the card's own account out: to one who may not know of the card
// it would tell that there is one.
func (d *Desk) withinLimits(ctx context.Context, a *attempt) *Refusal {
	return d.limited(ctx, d.charges(a, ""))
}

// cardWithinLimits looks at the card's account as well, now that the card is found.
func (d *Desk) cardWithinLimits(ctx context.Context, a *attempt) *Refusal {
	if d.Limits.PerCard.N == 0 {
		return nil
	}
	return d.limited(ctx, d.charges(a, a.card.Serial))
}

// limited says no where one of the accounts has no room for a decision now.
func (d *Desk) limited(ctx context.Context, charges []Charge) *Refusal {
	if len(charges) == 0 {
		return nil
	}
	keys := make([]string, len(charges))
	for i, c := range charges {
		keys[i] = c.Key
	}
	arrivals, err := d.Ledger.Arrivals(ctx, keys...)
	if err != nil {
		return fail(StoreUnavailable, "The limits could not be looked up. Try again later.", err)
	}
	return rateLimited(charges, arrivals, d.Now())
}

// rateLimited says no because of the account that takes longest to have room.
func rateLimited(charges []Charge, arrivals map[string]time.Time, now time.Time) *Refusal {
	var wait time.Duration
	var limit Charge
	for _, c := range charges {
		if w := c.Wait(arrivals[c.Key], now); w > wait {
			wait, limit = w, c
		}
	}
	if wait == 0 {
		return nil
	}
	kind, _, _ := strings.Cut(limit.Key, ":")
	no := refuse(RateLimited, fmt.Sprintf("The limit of %d decisions in %s is reached for %s. Wait %.0f s, then try again.",
		limit.N, limit.Per, limit.Whose, math.Ceil(wait.Seconds()),
	)).saying(kind, Facts{"n": limit.N, "per": limit.Per, "count": int(math.Ceil(wait.Seconds()))})
	no.RetryAfter = wait
	return no
}
