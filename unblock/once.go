package unblock

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"latchkey/audit"
	"latchkey/card"
)

// once makes hashes of an idempotency key and of what is asked under it. The key's
// owner is the client, and the operator where that one is authenticated.
func (c Caller) once(action audit.Action, key string, content ...string) Once {
	if key == "" || c.Client == "" {
		return Once{}
	}
	owner := ""
	if c.Operator != nil {
		owner = c.Operator.ID
	}
	return Once{Key: digest(string(action), c.Client, owner, key), Content: digest(content...)}
}

// digest is the SHA-256, in hex, of the texts as netstrings, in which none can pass
// for part of another.
func digest(texts ...string) string {
	h := sha256.New()
	for _, text := range texts {
		_, _ = fmt.Fprintf(h, "%d:%s,", len(text), text) // a hash takes everything
	}
	return hex.EncodeToString(h.Sum(nil))
}

// content is what a repetition has to say again.
func (b Begin) content() []string {
	return []string{b.Card, b.Operator, b.Reason, b.Ticket, string(b.Verification), b.Override}
}

// content is what a repetition has to say again.
func (t Typed) content() []string { return []string{t.Challenge, strconv.FormatBool(t.Confirmed)} }

// recall looks whether the attempt is a call that was carried out before, under the
// same idempotency key: it is a repetition then, and goes on with that call's
// process. It says no where the key was used for something else, and where the
// process is one that nothing is repeated of.
func (d *Desk) recall(ctx context.Context, a *attempt) *Refusal {
	if a.once.Key == "" {
		return nil
	}
	p, err := d.Ledger.ProcessOf(ctx, a.once.Key)
	switch {
	case errors.Is(err, card.ErrNotFound):
		return nil
	case err != nil:
		return fail(StoreUnavailable, "The idempotency key could not be looked up. Try again later.", err)
	}
	if p.Begun != a.once && p.Given != a.once {
		return refuse(IdempotencyKeyReused, "This idempotency key was sent before with something else. Make a new one for each call.")
	}
	if no := d.inState(p, Waiting, Started, Answered); no != nil {
		return no
	}
	if p.late(d.Now()) {
		return refuse(ProcessExpired, "The process that this call began or answered has expired, and nothing of it is repeated. Start another.")
	}
	a.resume(p)
	a.repeat = true
	return nil
}

// given is how many responses were given out in the process.
func (p Process) given() int {
	if p.State == Answered {
		return 1
	}
	return 0
}
