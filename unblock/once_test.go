package unblock_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"latchkey/identity"
	"latchkey/policy"
	"latchkey/unblock"
)

// A repetition gives a response again only where it would be given for the first time:
// to the same caller, for the same call, and with everything as it has to be still.
func TestRepetitionPassesEveryCheck(t *testing.T) {
	const key = "one"
	anna, omar := operatorCaller("idm", "anna", identity.ByPassedToken), operatorCaller("idm", "omar", identity.ByPassedToken)
	other := anna
	other.Client = "other"
	for name, test := range map[string]struct {
		change  func(w *world)
		caller  unblock.Caller
		another bool         // challenge is sent
		code    unblock.Code // "" where the response is given again
		process unblock.Code // instead, in a process that was started before
	}{
		"nothing":             {caller: anna},
		"challenge":           {caller: anna, another: true, code: unblock.IdempotencyKeyReused},
		"operator":            {caller: omar, code: unblock.CardBusy, process: unblock.ProcessUnknown},
		"client":              {caller: other, code: unblock.ChallengeSuspicious, process: unblock.ProcessUnknown},
		"nobody's token":      {caller: backend().caller, code: unblock.OperatorRequired, process: unblock.ProcessUnknown},
		"card revoked":        {change: func(w *world) { w.card.State = "revoked" }, caller: anna, code: unblock.CardNotActive},
		"holder left":         {change: func(w *world) { w.card.Holder.State = "left" }, caller: anna, code: unblock.HolderNotActive},
		"not to be seen":      {change: func(w *world) { w.unseen = true }, caller: anna, code: unblock.CardUnknown},
		"use case off":        {change: func(w *world) { w.kind.UnblockRemote = nil }, caller: anna, code: unblock.UseCaseOff},
		"data old":            {change: func(w *world) { w.card.SyncedAt = w.now.Add(-2 * maxAge) }, caller: anna, code: unblock.CardDataStale},
		"policy":              {change: func(w *world) { w.decision = policy.Decision{Why: "No."} }, caller: anna, code: unblock.PolicyDenied},
		"approval wanted":     {change: func(w *world) { w.decision = policy.Decision{Approval: identity.Supervisor} }, caller: anna, code: unblock.ApprovalRequired},
		"key suspended":       {change: func(w *world) { w.keyIs = "is suspended" }, caller: anna, code: unblock.KeyNotUsable},
		"its time is over":    {change: func(w *world) { w.now = w.now.Add(lifetime) }, caller: anna, code: unblock.ProcessExpired},
		"its time is to come": {change: func(w *world) { w.now = w.now.Add(-time.Hour) }, caller: anna, code: unblock.ProcessExpired},
		"key not known":       {change: func(w *world) { w.keyErr = errors.New("disk") }, caller: anna, code: unblock.StoreUnavailable},
	} {
		for _, started := range []bool{false, true} {
			w := newWorld(t)
			begin := unblock.Begin{Card: "4711", Reason: "PIN forgotten"}
			give := func(c unblock.Caller, id, challenge string) (unblock.Answer, error) {
				typed := unblock.Typed{Challenge: challenge, IdempotencyKey: key}
				if started {
					return w.desk.Answer(t.Context(), c, id, typed)
				}
				return w.desk.Respond(t.Context(), c, begin, typed)
			}
			id := ""
			if started {
				id = w.start(t, call{caller: anna, begin: begin}).ID
			}
			first, err := give(anna, id, challenge)
			if err != nil {
				t.Fatal(err)
			}
			if test.change != nil {
				test.change(w)
			}
			typed := challenge
			if test.another {
				typed = "0123 4567 89ab cde0"
			}
			want := test.code
			if started && test.process != "" {
				want = test.process
			}
			again, err := give(test.caller, id, typed)
			if want == "" {
				if err != nil || !again.Repeated || !slices.Equal(again.Response, first.Response) || again.Process.ID != first.Process.ID || w.unconfirmed != 1 {
					t.Errorf("%s (started before: %v): %v, %+v", name, started, err, again)
				}
				continue
			}
			gaveNothing(t, again)
			if no := refusal(t, err); no.Code != want {
				t.Errorf("%s (started before: %v): %v, want %s", name, started, err, want)
			}
			if w.unconfirmed != 1 || len(w.entries) != 1 {
				t.Errorf("%s (started before: %v): %d counted, %d refusals in the log", name, started, w.unconfirmed, len(w.entries))
			}
		}
	}
}
