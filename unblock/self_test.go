package unblock_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/identity"
	"latchkey/policy"
	"latchkey/unblock"
)

// atHome is a world in which Bo, who holds the card, may unblock it himself, and his
// call.
func atHome(t *testing.T) (*world, call) {
	t.Helper()
	w := newWorld(t)
	w.desk.Holders = identity.ByEmployeeNumber
	w.desk.Limits.PerHolder = unblock.Rate{N: 4, Per: time.Hour}
	w.card.Holder.EmployeeNumber = "E-17"
	w.kind.UnblockRemote, w.kind.UnblockSelf = nil, map[string]bool{"blocked": true}
	w.unseen = true // what operators may see is nothing to a holder
	bo := policy.Operator{ID: "bo@example.org", EmployeeNumber: "E-17", MFA: true, AuthenticatedAt: moment}
	caller := unblock.Caller{Client: bo.ClientName(), Operator: &bo, Means: identity.BySession, Address: "192.0.2.8"}
	return w, call{caller.AsHolder(), unblock.Begin{Card: "4711"}, challenge}
}

func TestSelfService(t *testing.T) {
	w, c := atHome(t)
	p := w.start(t, c)
	a, err := w.desk.Answer(t.Context(), c.caller, p.ID, unblock.Typed{Challenge: challenge})
	if err != nil {
		t.Fatal(err)
	}
	if string(a.Response) != string(answer()) || a.Attempts.Unconfirmed != 1 {
		t.Errorf("answered %v", a)
	}
	if _, err := w.desk.Complete(t.Context(), c.caller, p.ID, unblock.PINChanged); err != nil {
		t.Fatal(err)
	}
	for i, want := range []audit.Action{audit.SelfStart, audit.SelfRespond, audit.SelfComplete} {
		e := w.changes[i].Entry
		if e.Action != want || e.Outcome != audit.Permit || e.Operator != "bo@example.org" || e.Client != "person:bo@example.org" ||
			e.Delegation != "own session, as the card's holder" || e.Card != "4711" {
			t.Errorf("entry %d: %+v", i, e)
		}
	}
	for _, r := range w.asked {
		if !r.Self || r.Means != identity.AsHolder {
			t.Errorf("policy was asked %+v", r)
		}
	}
	if w.views != 0 {
		t.Error("policy was asked whether the holder is an operator who may see the card")
	}
	if _, charged := w.arrivals["operator:bo@example.org"]; charged || w.arrivals["holder:bo@example.org"].IsZero() {
		t.Errorf("charged %v", w.arrivals)
	}
	if seen, err := w.desk.Look(t.Context(), c.caller, "4711"); err != nil || seen.Card.Serial != "4711" {
		t.Errorf("his own card: %v, %v", seen, err)
	}

	// Each call was charged once, two of the four are left.
	w.now = w.now.Add(time.Second)
	c.challenge = "FEDC BA98 7654 3210"
	w.answered(t, c)
	wants(t, w, c, unblock.WithinLimits, unblock.RateLimited)
}

// wants starts and answers a process, of which the one or the other has to be refused,
// with nothing done and an entry of self-service in the log.
func wants(t *testing.T, w *world, c call, check unblock.Check, code unblock.Code) {
	t.Helper()
	calls := len(w.hsm.calls)
	p, err := w.desk.Start(t.Context(), c.caller, c.begin)
	if err == nil {
		_, err = w.desk.Answer(t.Context(), c.caller, p.Process.ID, unblock.Typed{Challenge: c.challenge})
	}
	var no *unblock.Refusal
	if !errors.As(err, &no) || no.Code != code || no.Check != check {
		t.Fatalf("got %v, want %s at %s", err, code, check)
	}
	if len(w.hsm.calls) != calls {
		t.Error("the HSM was asked")
	}
	if last := w.entries[len(w.entries)-1]; !strings.HasPrefix(string(last.Action), "self-unblock.") && c.caller.Operator != nil || last.Outcome == audit.Permit {
		t.Errorf("entry %+v", last)
	}
}

func TestSelfServiceIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		change func(w *world, c *call)
		check  unblock.Check
		code   unblock.Code
	}{
		"not enabled":             {func(w *world, _ *call) { w.desk.Holders = "" }, unblock.OperatorAuthenticated, unblock.SelfServiceOff},
		"enabled by a word":       {func(w *world, _ *call) { w.desk.Holders = "name" }, unblock.OperatorAuthenticated, unblock.SelfServiceOff},
		"one factor":              {func(_ *world, c *call) { c.caller.Operator.MFA = false }, unblock.OperatorAuthenticated, unblock.SecondFactor},
		"another's card":          {func(w *world, _ *call) { w.card.Holder.EmployeeNumber = "E-18" }, unblock.CardFound, unblock.CardUnknown},
		"no such card":            {func(_ *world, c *call) { c.begin.Card = "4712" }, unblock.CardFound, unblock.CardUnknown},
		"numbers in another case": {func(w *world, _ *call) { w.card.Holder.EmployeeNumber = "e-17" }, unblock.CardFound, unblock.CardUnknown},
		"nobody knows the holder's number": {func(w *world, _ *call) { w.card.Holder.EmployeeNumber = "" },
			unblock.CardFound, unblock.CardUnknown},
		"nobody knows either number": {func(w *world, c *call) { w.card.Holder.EmployeeNumber, c.caller.Operator.EmployeeNumber = "", "" },
			unblock.CardFound, unblock.CardUnknown},
		"both are nothing but a space": {func(w *world, c *call) { w.card.Holder.EmployeeNumber, c.caller.Operator.EmployeeNumber = " ", " " },
			unblock.CardFound, unblock.CardUnknown},
		"the same e-mail address is not asked for": {func(w *world, c *call) {
			w.card.Holder = card.Holder{ID: "bo@example.org", Email: "bo@example.org", EmployeeNumber: "", State: "active"}
			c.caller.Operator.Email = "bo@example.org"
		}, unblock.CardFound, unblock.CardUnknown},
		"card lost":        {func(w *world, _ *call) { w.card.State = "lost" }, unblock.CardActive, unblock.CardNotActive},
		"holder left":      {func(w *world, _ *call) { w.card.Holder.State = "left" }, unblock.HolderActive, unblock.HolderNotActive},
		"off for the type": {func(w *world, _ *call) { w.kind.UnblockSelf = nil }, unblock.UseCaseEnabled, unblock.UseCaseOff},
		"on for operators only": {func(w *world, _ *call) {
			w.kind.UnblockRemote, w.kind.UnblockSelf = map[string]bool{"blocked": true}, nil
		},
			unblock.UseCaseEnabled, unblock.UseCaseOff},
		"on for another state": {func(w *world, _ *call) { w.kind.UnblockSelf = map[string]bool{"active": true} }, unblock.UseCaseEnabled, unblock.UseCaseOff},
		"old card data":        {func(w *world, _ *call) { w.card.SyncedAt = moment.Add(-2 * maxAge) }, unblock.CardDataFresh, unblock.CardDataStale},
		"policy denies":        {func(w *world, _ *call) { w.decision.Allow = false }, unblock.PolicyPermits, unblock.PolicyDenied},
		"an operator's process": {func(w *world, _ *call) {
			w.latest = "other"
			w.processes["other"] = unblock.Process{ID: "other", State: unblock.Started, Card: "4711", Operator: "omar", ExpiresAt: w.now.Add(1)}
		}, unblock.CardFree, unblock.CardBusy},
		"no attempts left": {func(w *world, _ *call) { w.unconfirmed = 4 }, unblock.AttemptsLeft, unblock.AttemptsExhausted},
		"a supervisor goes on beyond his own card's": {func(w *world, c *call) {
			w.unconfirmed, c.begin.Override = 4, "last try"
			c.caller.Operator.Roles = []identity.Role{identity.Supervisor}
		}, unblock.OperatorAuthenticated, unblock.OverrideForbidden},
		"key suspended": {func(w *world, _ *call) { w.keyIs = "is suspended" }, unblock.KeyUsable, unblock.KeyNotUsable},
		"no challenge":  {func(_ *world, c *call) { c.challenge = "12" }, unblock.ChallengeParsed, unblock.ChallengeLength},
		"holder gone meanwhile": {func(w *world, _ *call) {
			w.decide = func(policy.Request) policy.Decision {
				w.card.Holder.EmployeeNumber = "E-18" // after the start's decision
				return w.decision
			}
		}, unblock.CardFound, unblock.CardUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			w, c := atHome(t)
			test.change(w, &c)
			wants(t, w, c, test.check, test.code)
		})
	}
}

// A holder is somebody in a session of his own, and what he began is no operator's.
func TestHoldersAndOperatorsAreApart(t *testing.T) {
	w, c := atHome(t)
	for _, means := range []identity.Means{identity.ByCertificate, identity.ByToken, identity.ByPassedToken, identity.ByName, ""} {
		other := c
		other.caller.Means = means
		other.caller = other.caller.AsHolder()
		wants(t, w, other, unblock.CallerAuthenticated, unblock.CallerUnknown)
	}

	operator := c.caller
	operator.Means = identity.BySession
	unknown := func(what string, err error) {
		t.Helper()
		var no *unblock.Refusal
		if !errors.As(err, &no) || no.Code != unblock.ProcessUnknown {
			t.Errorf("%s: %v", what, err)
		}
	}
	p := w.start(t, c)
	_, err := w.desk.Answer(t.Context(), operator, p.ID, unblock.Typed{Challenge: challenge})
	unknown("an operator answers what he began as a holder", err)
	_, err = w.desk.Cancel(t.Context(), operator, p.ID)
	unknown("an operator cancels what he began as a holder", err)
	stranger := c.caller
	stranger.Operator = &policy.Operator{ID: "eve", EmployeeNumber: "E-17", MFA: true}
	_, err = w.desk.Answer(t.Context(), stranger, p.ID, unblock.Typed{Challenge: challenge})
	unknown("somebody else with the same number answers", err)
	if _, err := w.desk.Cancel(t.Context(), c.caller, p.ID); err != nil {
		t.Fatal(err)
	}

	w.unseen = false
	w.kind.UnblockRemote = map[string]bool{"blocked": true}
	begun := c
	begun.caller, begun.begin.Reason = operator, "PIN forgotten"
	p = w.start(t, begun)
	_, err = w.desk.Answer(t.Context(), c.caller, p.ID, unblock.Typed{Challenge: challenge})
	unknown("a holder answers what he began as an operator", err)
	if _, err := w.desk.Pending(t.Context(), c.caller); err == nil {
		t.Error("a holder is asked for approvals")
	}
}

// A call that is sent twice is answered alike, and counts once.
func TestSelfServiceIsRepeated(t *testing.T) {
	w, c := atHome(t)
	c.begin.IdempotencyKey = "k1"
	first, second := w.start(t, c), w.start(t, c)
	if first.ID != second.ID {
		t.Errorf("two processes, %s and %s", first.ID, second.ID)
	}
	typed := unblock.Typed{Challenge: challenge, IdempotencyKey: "k2"}
	for range 2 {
		if a, err := w.desk.Answer(t.Context(), c.caller, first.ID, typed); err != nil || a.Attempts.Unconfirmed != 1 {
			t.Fatalf("%v, %v", a, err)
		}
	}
	if _, err := w.desk.Answer(t.Context(), c.caller, first.ID, unblock.Typed{Challenge: challenge}); err == nil {
		t.Error("a challenge was answered twice")
	}
}
