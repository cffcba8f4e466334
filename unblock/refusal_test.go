package unblock_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/identity"
	"latchkey/policy"
	"latchkey/unblock"
)

// checks is the order of checks.
func checks() []unblock.Check {
	return append(unblock.StartChecks(), unblock.ChallengeParsed, unblock.ChallengePlausible, unblock.ResponseDerived, unblock.AuditDurable)
}

// errInside is what nobody outside may read.
var errInside = errors.New("internal: /var/lib/latchkey is on fire")

// outage is an HSM error that says whether the HSM is there at all.
type outage bool

func (o outage) Error() string     { return errInside.Error() }
func (o outage) Unavailable() bool { return bool(o) }

// wrong is one thing that can be wrong: in what is asked, or in the world around it.
type wrong struct {
	name  string
	ask   func(*call)
	world func(*world)
	check unblock.Check // that finds it
	code  unblock.Code
}

// everythingWrong lists what can be wrong, in the order of checks.
func everythingWrong() []wrong {
	short := func() card.Response { return answer()[:7] }
	none := func() card.Response { return nil }
	return []wrong{
		{"caller not authenticated", func(c *call) { c.caller.Client = "" }, nil, unblock.CallerAuthenticated, unblock.CallerUnknown},

		{"client names nobody", func(c *call) { c.begin.Operator = "" }, nil, unblock.OperatorAuthenticated, unblock.OperatorRequired},
		{"client not trusted to name", func(c *call) { c.caller.NamesOperators = false }, nil, unblock.OperatorAuthenticated, unblock.DelegationRefused},
		{"operator names another", func(c *call) { c.caller.Operator = &policy.Operator{ID: "omar"} }, nil, unblock.OperatorAuthenticated, unblock.OperatorMismatch},
		{"operator is somebody else", func(c *call) { c.begin.Operator = "mallory" }, nil, unblock.OperatorAuthenticated, unblock.OperatorUnknown},
		{"operator in other letters", func(c *call) { c.begin.Operator = "Anna" }, nil, unblock.OperatorAuthenticated, unblock.OperatorUnknown},
		{"operator dismissed", nil, func(w *world) { delete(w.operators, "anna") }, unblock.OperatorAuthenticated, unblock.OperatorUnknown},
		{"operator inactive", nil, func(w *world) { w.operatorErr = fmt.Errorf("operator anna: %w", identity.ErrInactive) }, unblock.OperatorAuthenticated, unblock.OperatorInactive},
		{"operators cannot be read", nil, func(w *world) { w.operatorErr = errInside }, unblock.OperatorAuthenticated, unblock.StoreUnavailable},

		{"limit reached", nil, func(w *world) { w.arrivals["operator:anna"] = w.now.Add(time.Hour) }, unblock.WithinLimits, unblock.RateLimited},
		{"limits cannot be read", nil, func(w *world) { w.arrivalsErr = errInside }, unblock.WithinLimits, unblock.StoreUnavailable},

		{"another serial number", func(c *call) { c.begin.Card = "4711 " }, nil, unblock.CardFound, unblock.CardUnknown},
		{"no serial number", func(c *call) { c.begin.Card = "" }, nil, unblock.CardFound, unblock.CardUnknown},
		{"card gone", nil, func(w *world) { w.card.Serial = "4712" }, unblock.CardFound, unblock.CardUnknown},
		{"the source of cards cannot be asked", nil, func(w *world) { w.cardErr = unblock.ErrCardSource }, unblock.CardFound, unblock.CardSourceUnavailable},
		{"cards cannot be read", nil, func(w *world) { w.cardErr = errInside }, unblock.CardFound, unblock.StoreUnavailable},

		{"card not to be seen", nil, func(w *world) { w.unseen = true }, unblock.CardFound, unblock.CardUnknown},
		{"who sees what breaks", nil, func(w *world) { w.viewErr = errInside }, unblock.CardFound, unblock.PolicyFailed},

		{"card revoked", nil, func(w *world) { w.card.State = "revoked" }, unblock.CardActive, unblock.CardNotActive},
		{"card in no state that is known", nil, func(w *world) { w.card.State = "Active" }, unblock.CardActive, unblock.CardNotActive},
		{"card in no state", nil, func(w *world) { w.card.State = "" }, unblock.CardActive, unblock.CardNotActive},

		{"holder left", nil, func(w *world) { w.card.Holder.State = "left" }, unblock.HolderActive, unblock.HolderNotActive},
		{"holder in no state", nil, func(w *world) { w.card.Holder.State = "" }, unblock.HolderActive, unblock.HolderNotActive},

		{"use case off", nil, func(w *world) { w.kind.UnblockRemote["blocked"] = false }, unblock.UseCaseEnabled, unblock.UseCaseOff},
		{"use case on for another state", nil, func(w *world) { w.kind.UnblockRemote = map[string]bool{"active": true} }, unblock.UseCaseEnabled, unblock.UseCaseOff},
		{"card type not registered", nil, func(w *world) { w.card.Type = "visitor" }, unblock.UseCaseEnabled, unblock.UseCaseOff},
		{"card type not registered, says more", nil, func(w *world) { w.kindErr = card.ErrNotFound }, unblock.UseCaseEnabled, unblock.UseCaseOff},
		{"card types cannot be read", nil, func(w *world) { w.kindErr = errInside }, unblock.CardFound, unblock.StoreUnavailable},
		{"profile not configured", nil, func(w *world) { w.kind.Profile = "piv" }, unblock.UseCaseEnabled, unblock.ProfileUnusable},

		{"card data too old", nil, func(w *world) { w.card.SyncedAt = w.now.Add(-maxAge - 1) }, unblock.CardDataFresh, unblock.CardDataStale},
		{"card data never confirmed", nil, func(w *world) { w.card.SyncedAt = time.Time{} }, unblock.CardDataFresh, unblock.CardDataStale},
		{"card data of the future", nil, func(w *world) { w.card.SyncedAt = w.now.Add(maxAge + 1) }, unblock.CardDataFresh, unblock.CardDataStale},
		{"card without KDD", nil, func(w *world) { w.profile.Scheme, w.profile.CardKeyType = card.VISA2, card.TDES2 }, unblock.CardDataFresh, unblock.CardDataMissing},

		{"policy denies", nil, func(w *world) { w.decision.Allow = false }, unblock.PolicyPermits, unblock.PolicyDenied},
		{"policy breaks", nil, func(w *world) { w.policyErr = errInside }, unblock.PolicyPermits, unblock.PolicyFailed},

		{"another operator at the card", nil, func(w *world) {
			w.latest = "other"
			w.processes["other"] = unblock.Process{ID: "other", State: unblock.Started, Card: "4711", Operator: "omar", ExpiresAt: w.now.Add(1)}
		}, unblock.CardFree, unblock.CardBusy},

		{"override by whom a client named", func(c *call) { c.begin.Override = "last try" }, nil, unblock.AttemptsLeft, unblock.OverrideForbidden},
		{"no attempts left", nil, func(w *world) { w.unconfirmed = 4 }, unblock.AttemptsLeft, unblock.AttemptsExhausted},

		{"master key suspended", nil, func(w *world) { w.keyIs = "is suspended" }, unblock.KeyUsable, unblock.KeyNotUsable},
		{"master key of another version", nil, func(w *world) { w.card.MasterKeyVersion = 0; w.profile.MasterKeyVersion = 3 }, unblock.KeyUsable, unblock.KeyNotUsable},
		{"key's state cannot be read", nil, func(w *world) { w.keyErr = errInside }, unblock.KeyUsable, unblock.StoreUnavailable},

		{"no challenge", func(c *call) { c.challenge = "" }, nil, unblock.ChallengeParsed, unblock.ChallengeLength},
		{"challenge too short", func(c *call) { c.challenge = "0123456789abcd" }, nil, unblock.ChallengeParsed, unblock.ChallengeLength},
		{"challenge too long", func(c *call) { c.challenge += "00" }, nil, unblock.ChallengeParsed, unblock.ChallengeLength},
		{"challenge not hex", func(c *call) { c.challenge = "0123456789abcdxf" }, nil, unblock.ChallengeParsed, unblock.ChallengeNotHex},
		{"challenge ambiguous", func(c *call) { c.challenge = "0123456789abcdSf" }, nil, unblock.ChallengeParsed, unblock.ChallengeAmbiguous},

		{"challenge answered before", nil, func(w *world) {
			w.processes["old"] = unblock.Process{ID: "old", State: unblock.Completed, Card: "4711", Challenge: "0123456789ABCDEF"}
		}, unblock.ChallengePlausible, unblock.ChallengeSuspicious},
		{"challenge of one digit", func(c *call) { c.challenge = "AAAA AAAA AAAA AAAA" }, nil, unblock.ChallengePlausible, unblock.ChallengeSuspicious},
		{"challenge that counts", func(c *call) { c.challenge = "0102030405060708" }, nil, unblock.ChallengePlausible, unblock.ChallengeSuspicious},

		{"HSM refuses", nil, func(w *world) { w.hsm.err = errInside }, unblock.ResponseDerived, unblock.HSMRefused},
		{"HSM there, and refuses", nil, func(w *world) { w.hsm.err = outage(false) }, unblock.ResponseDerived, unblock.HSMRefused},
		{"HSM not there", nil, func(w *world) { w.hsm.err = fmt.Errorf("respond: %w", outage(true)) }, unblock.ResponseDerived, unblock.HSMUnavailable},
		{"HSM too slow", nil, func(w *world) { w.hsm.err = context.DeadlineExceeded }, unblock.ResponseDerived, unblock.HSMUnavailable},
		{"HSM answers in part", nil, func(w *world) { w.hsm.give = short }, unblock.ResponseDerived, unblock.HSMRefused},
		{"HSM answers nothing", nil, func(w *world) { w.hsm.give = none }, unblock.ResponseDerived, unblock.HSMRefused},

		{"audit log cannot be written", nil, func(w *world) { w.applyErr = errInside }, unblock.AuditDurable, unblock.AuditUnavailable},
		{"attempts used up meanwhile", nil, func(w *world) { w.applyErr = unblock.ErrAttempts }, unblock.AuditDurable, unblock.AttemptsExhausted},
		{"limit reached meanwhile", nil, func(w *world) { w.applyErr = unblock.ErrRate }, unblock.AuditDurable, unblock.RateLimited},
		{"card taken meanwhile", nil, func(w *world) { w.applyErr = unblock.ErrBusy }, unblock.AuditDurable, unblock.CardBusy},
		{"challenge answered meanwhile", nil, func(w *world) { w.applyErr = unblock.ErrChallenge }, unblock.AuditDurable, unblock.ChallengeSuspicious},
		{"process changed meanwhile", nil, func(w *world) { w.applyErr = unblock.ErrConflict }, unblock.AuditDurable, unblock.ProcessConflict},
	}
}

// Whatever is wrong, each way to a response ends at the check that looks for it:
// no response leaves, nothing is changed, the HSM is not asked before its turn, and
// the audit log says what was refused and why.
func TestRefusals(t *testing.T) {
	for _, way := range []struct {
		name   string
		action audit.Action
		last   unblock.Check
		asks   bool // takes all of a call, and not the challenge alone
		run    func(t *testing.T, w *world, c *call, spoil func()) error
	}{
		{"start", audit.UnblockStart, unblock.KeyUsable, true, func(t *testing.T, w *world, c *call, spoil func()) error {
			spoil()
			opened, err := w.desk.Start(t.Context(), c.caller, c.begin)
			if opened.Process.ID != "" || opened.Card.Serial != "" || opened.Type.ID != "" || opened.Profile.ID != "" || opened.Checks != nil {
				t.Errorf("a start that was refused gives away %+v", opened)
			}
			return err
		}},
		{"one call", audit.UnblockRespond, unblock.AuditDurable, true, func(t *testing.T, w *world, c *call, spoil func()) error {
			spoil()
			a, err := w.desk.Respond(t.Context(), c.caller, c.begin, unblock.Typed{Challenge: c.challenge})
			gaveNothing(t, a)
			return err
		}},
		{"answer", audit.UnblockRespond, unblock.AuditDurable, false, func(t *testing.T, w *world, c *call, spoil func()) error {
			p := w.start(t, *c)
			w.changes = nil
			spoil()
			a, err := w.desk.Answer(t.Context(), c.caller, p.ID, unblock.Typed{Challenge: c.challenge})
			gaveNothing(t, a)
			if diff := cmp.Diff(p, w.processes[p.ID]); diff != "" {
				t.Errorf("the process was changed (-before +after):\n%s", diff)
			}
			return err
		}},
	} {
		for _, test := range everythingWrong() {
			place := slices.Index(checks(), test.check)
			if place > slices.Index(checks(), way.last) ||
				!way.asks && test.ask != nil && test.check != unblock.ChallengeParsed && test.check != unblock.ChallengePlausible {
				continue
			}
			t.Run(way.name+"/"+test.name, func(t *testing.T) {
				w, c := newWorld(t), backend()
				err := way.run(t, w, &c, func() {
					if test.ask != nil {
						test.ask(&c)
					}
					if test.world != nil {
						test.world(w)
					}
				})
				no := refusal(t, err)
				if no.Check != test.check || no.Code != test.code {
					t.Errorf("refused by check %q with code %s, want %q with %s", no.Check, no.Code, test.check, test.code)
				}
				if strings.Contains(no.Detail, errInside.Error()) {
					t.Errorf("detail %q tells the inside", no.Detail)
				}
				if len(w.changes) != 0 {
					t.Errorf("%d changes were made", len(w.changes))
				}
				if asked := place >= slices.Index(checks(), unblock.ResponseDerived); (len(w.hsm.calls) == 1) != asked {
					t.Errorf("the HSM was asked %d times", len(w.hsm.calls))
				}
				if !w.hsm.wiped() {
					t.Error("the response was not wiped")
				}
				outcome := audit.Deny
				if slices.Contains(failures(), test.code) {
					outcome = audit.Failure
				}
				if len(w.entries) != 1 {
					t.Fatalf("%d audit entries, want one", len(w.entries))
				}
				type told struct {
					Action               audit.Action
					Outcome              audit.Outcome
					Check, Code          string
					Client, Card, Detail string
					Process              string
				}
				e, card, process := w.entries[0], "4711", "process-1"
				if way.asks { // and there is no process yet
					card, process = c.begin.Card, ""
				}
				want := told{way.action, outcome, string(test.check), string(test.code), c.caller.Client, card, no.Detail, process}
				if diff := cmp.Diff(want, told{e.Action, e.Outcome, e.Check, e.Code, e.Client, e.Card, e.Detail, e.Process}); diff != "" {
					t.Errorf("audit entry (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// failures are the codes of parts that did not work, as against checks that did.
func failures() []unblock.Code {
	return []unblock.Code{
		unblock.StoreUnavailable, unblock.ProfileUnusable, unblock.PolicyFailed,
		unblock.HSMRefused, unblock.HSMUnavailable, unblock.AuditUnavailable, unblock.CardSourceUnavailable,
	}
}

func gaveNothing(t *testing.T, a unblock.Answer) {
	t.Helper()
	if len(a.Response) != 0 || a.Process.ID != "" || a.Checks != nil {
		t.Errorf("a refused call gives away %d bytes, process %q, checks %v", len(a.Response), a.Process.ID, a.Checks)
	}
}

// With something wrong for every check, the checks refuse in their order: mended
// one by one from the front, it is always the next that says no.
func TestOrderOfChecks(t *testing.T) {
	firsts := make(map[unblock.Check]wrong)
	for _, test := range slices.Backward(everythingWrong()) {
		firsts[test.check] = test
	}
	for i, next := range checks() {
		t.Run(string(next), func(t *testing.T) {
			w, c := newWorld(t), backend()
			for _, check := range checks()[i:] {
				if spoil := firsts[check]; spoil.ask != nil {
					spoil.ask(&c)
				} else {
					spoil.world(w)
				}
			}
			_, err := w.desk.Respond(t.Context(), c.caller, c.begin, unblock.Typed{Challenge: c.challenge})
			if no := refusal(t, err); no.Check != next {
				t.Errorf("refused by check %q, want %q", no.Check, next)
			}
		})
	}
}

// Foresee says what Start would say and leaves no trace.
func TestForesee(t *testing.T) {
	for _, test := range everythingWrong() {
		if !slices.Contains(unblock.StartChecks(), test.check) {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			w, c := newWorld(t), backend()
			if test.ask != nil {
				test.ask(&c)
			} else {
				test.world(w)
			}
			no := w.desk.Foresee(t.Context(), c.caller, c.begin)
			if no == nil || no.Check != test.check || no.Code != test.code {
				t.Errorf("foreseen: %v, want code %s", no, test.code)
			}
			untouched(t, w)
		})
	}
	t.Run("nothing wrong", func(t *testing.T) {
		w, c := newWorld(t), backend()
		if no := w.desk.Foresee(t.Context(), c.caller, c.begin); no != nil {
			t.Errorf("foreseen: %v", no)
		}
		untouched(t, w)
	})
}

func untouched(t *testing.T, w *world) {
	t.Helper()
	if len(w.hsm.calls) != 0 || len(w.changes) != 0 || len(w.entries) != 0 {
		t.Errorf("%d calls of the HSM, %d changes, %d audit entries; want none", len(w.hsm.calls), len(w.changes), len(w.entries))
	}
}

// The bounds of what is fresh and of the attempts, to the nanosecond and the one.
func TestBounds(t *testing.T) {
	for name, test := range map[string]struct {
		world func(*world)
		max   int // of the change
	}{
		"as old as may be":         {func(w *world) { w.card.SyncedAt = w.now.Add(-maxAge) }, 4},
		"a clock that is fast":     {func(w *world) { w.card.SyncedAt = w.now.Add(time.Minute) }, 4},
		"one attempt left":         {func(w *world) { w.unconfirmed = 3 }, 4},
		"one left of two":          {func(w *world) { w.profile.Retry = 2 }, 1},
		"a card without a counter": {func(w *world) { w.profile.Retry, w.unconfirmed = card.RetryUnlimited, 99 }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w, c := newWorld(t), backend()
			test.world(w)
			if _, err := w.desk.Respond(t.Context(), c.caller, c.begin, unblock.Typed{Challenge: c.challenge}); err != nil {
				t.Fatal(err)
			}
			if got := w.changes[0].MaxUnconfirmed; got != test.max || !w.changes[0].Answer {
				t.Errorf("change counts the answer: %v, up to %d; want up to %d", w.changes[0].Answer, got, test.max)
			}
		})
	}
}

// Where the log cannot be written at all, the answer is still no, and the cause
// says both things.
func TestRefusalWithoutLog(t *testing.T) {
	w, c := newWorld(t), backend()
	errLog := errors.New("disk full")
	w.hsm.err, w.appendErr = errInside, errLog
	a, err := w.desk.Respond(t.Context(), c.caller, c.begin, unblock.Typed{Challenge: c.challenge})
	gaveNothing(t, a)
	if no := refusal(t, err); no.Code != unblock.HSMRefused || !errors.Is(err, errInside) || !errors.Is(err, errLog) {
		t.Errorf("error %v; want %s with both causes", err, unblock.HSMRefused)
	}
}

// A caller who hangs up, whenever that is, gets nothing and stays in the log.
func TestHangUp(t *testing.T) {
	for name, test := range map[string]struct {
		during func(*world, func())
		run    func(context.Context, *world, call) error
		code   unblock.Code
		action audit.Action
	}{
		"before the start": {
			func(_ *world, hangUp func()) { hangUp() },
			func(ctx context.Context, w *world, c call) error {
				_, err := w.desk.Start(ctx, c.caller, c.begin)
				return err
			},
			unblock.AuditUnavailable, audit.UnblockStart,
		},
		"while the HSM works": {
			func(w *world, hangUp func()) { w.hsm.during = hangUp },
			func(ctx context.Context, w *world, c call) error {
				a, err := w.desk.Respond(ctx, c.caller, c.begin, unblock.Typed{Challenge: c.challenge})
				if len(a.Response) != 0 {
					return errors.New("a response was given out")
				}
				return err
			},
			unblock.AuditUnavailable, audit.UnblockRespond,
		},
		"after a refusal was due": {
			func(w *world, hangUp func()) { w.card.State = "lost"; hangUp() },
			func(ctx context.Context, w *world, c call) error {
				_, err := w.desk.Respond(ctx, c.caller, c.begin, unblock.Typed{Challenge: c.challenge})
				return err
			},
			unblock.CardNotActive, audit.UnblockRespond,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, c := newWorld(t), backend()
			ctx, hangUp := context.WithCancel(t.Context())
			defer hangUp()
			test.during(w, hangUp)
			if no := refusal(t, test.run(ctx, w, c)); no.Code != test.code {
				t.Errorf("code %s, want %s", no.Code, test.code)
			}
			if len(w.entries) != 1 || w.entries[0].Code != string(test.code) || w.entries[0].Action != test.action {
				t.Fatalf("audit entries %+v; want one of %s with code %s", w.entries, test.action, test.code)
			}
			if len(w.changes) != 0 || w.entries[0].Process != "" || !w.hsm.wiped() {
				t.Errorf("%d changes, process %q in the log; response wiped: %v", len(w.changes), w.entries[0].Process, w.hsm.wiped())
			}
		})
	}
}
