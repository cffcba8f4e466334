package unblock_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/identity"
	"latchkey/policy"
	"latchkey/unblock"
)

func TestNewSaysAllThatIsMissing(t *testing.T) {
	_, err := unblock.New(unblock.Config{MaxAge: time.Hour})
	const want = "unblock desk: not set: ApprovalLifetime, CardStates, Cards, HSM, HolderStates, Keys, Ledger, Lifetime, NewID, Now, Operators, Policy, Profiles"
	if err == nil || err.Error() != want {
		t.Errorf("error %v\nwant %s", err, want)
	}
}

// A process from its start to a new PIN: what the operator is shown, what is
// written down at each step, and what the HSM is asked.
func TestUnblock(t *testing.T) {
	w, c := newWorld(t), backend()
	opened, err := w.desk.Start(t.Context(), c.caller, c.begin)
	if err != nil {
		t.Fatal(err)
	}
	started := unblock.Process{
		ID: "process-1", State: unblock.Started, Card: "4711", Client: "idm", Operator: "anna", Means: identity.ByName, Reason: "PIN forgotten",
		StartedAt: moment, ExpiresAt: moment.Add(lifetime), Revision: 1,
	}
	ignore := cmpopts.IgnoreUnexported(card.Template{})
	if diff := cmp.Diff(unblock.Opened{Process: started, Card: w.card, Type: w.kind, Profile: w.profile, Attempts: unblock.Attempts{Limit: 4}, Checks: unblock.StartChecks()}, opened, ignore); diff != "" {
		t.Errorf("opened (-want +got):\n%s", diff)
	}

	w.now = moment.Add(time.Minute)
	answeredProcess := started
	answeredProcess.State, answeredProcess.AnsweredAt, answeredProcess.Revision = unblock.Answered, w.now, 2
	answeredProcess.Challenge = "0123456789ABCDEF"
	a, err := w.desk.Answer(t.Context(), c.caller, "process-1", unblock.Typed{Challenge: c.challenge})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(answeredProcess, a.Process); diff != "" {
		t.Errorf("answered process (-want +got):\n%s", diff)
	}
	if got, want := a.Response.Hex(), answer().Hex(); got != want {
		t.Errorf("response %s, want %s", got, want)
	}
	if diff := cmp.Diff(checks(), a.Checks); diff != "" {
		t.Errorf("checks (-want +got):\n%s", diff)
	}
	asked := card.AdminKey{Master: "cards", Version: 2, Scheme: card.LatchkeyV1, Type: card.TDES3, Data: []byte("4711")}
	if call := w.hsm.calls[0]; !cmp.Equal(asked, call.key) || call.algorithm != card.TDESECB || call.challenge.Hex() != "0123456789ABCDEF" {
		t.Errorf("the HSM was asked for key %+v, algorithm %s, challenge %s", call.key, call.algorithm, call.challenge.Hex())
	}

	w.now = moment.Add(time.Hour)
	completed := answeredProcess
	completed.State, completed.Outcome, completed.FinishedAt, completed.Revision = unblock.Completed, unblock.PINChanged, w.now, 3
	p, err := w.desk.Complete(t.Context(), c.caller, "process-1", unblock.PINChanged)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(completed, p); diff != "" {
		t.Errorf("completed process (-want +got):\n%s", diff)
	}

	common := audit.Entry{
		Outcome: audit.Permit, Client: "idm", Operator: "anna", Delegation: "named by the client", Address: "192.0.2.1", RequestID: "r-1",
		Process: "process-1", Card: "4711", Reason: "PIN forgotten",
	}
	decided := common
	decided.CardType, decided.Profile, decided.MasterKey, decided.KeyVersion = "staff", "gids", "cards", 2
	decided.Policies, decided.PolicyVersion = []string{"operators"}, "v1"
	entry := func(e audit.Entry, action audit.Action, at time.Time, challenge, detail string) audit.Entry {
		e.Action, e.Time, e.Challenge, e.Detail = action, at, challenge, detail
		return e
	}
	charges := []unblock.Charge{{Key: "operator:anna", Whose: "this operator", Rate: limits().PerOperator}}
	want := []unblock.Change{
		{Process: started, Charges: charges, Entry: entry(decided, audit.UnblockStart, moment, "", "")},
		{
			Process: answeredProcess, From: 1, Answer: true, MaxUnconfirmed: 4,
			Grounds: &unblock.Grounds{Card: w.card, Type: w.kind, Master: "cards", Version: 2},
			Charges: charges, Entry: entry(decided, audit.UnblockRespond, moment.Add(time.Minute), "0123456789ABCDEF", ""),
		},
		{Process: completed, From: 2, Confirm: true, Entry: entry(common, audit.UnblockComplete, moment.Add(time.Hour), "", "pin-changed")},
	}
	if diff := cmp.Diff(want, w.changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if len(w.entries) != 0 {
		t.Errorf("refusals in the log: %+v", w.entries)
	}
	text, err := json.Marshal(w.changes)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(strings.ToUpper(string(text)), answer().Hex()) {
		t.Error("the response is written down")
	}
}

// The answer in one call is one durable write of a process that was never seen
// before, and its challenge may come as late as any.
func TestRespondInOneCall(t *testing.T) {
	w, c := newWorld(t), backend()
	a, err := w.desk.Respond(t.Context(), c.caller, c.begin, unblock.Typed{Challenge: c.challenge})
	if err != nil {
		t.Fatal(err)
	}
	want := unblock.Process{
		ID: "process-1", State: unblock.Answered, Card: "4711", Client: "idm", Operator: "anna", Means: identity.ByName, Reason: "PIN forgotten",
		Challenge: "0123456789ABCDEF",
		StartedAt: moment, ExpiresAt: moment.Add(lifetime), AnsweredAt: moment, Revision: 1,
	}
	if diff := cmp.Diff(want, a.Process); diff != "" {
		t.Errorf("process (-want +got):\n%s", diff)
	}
	if len(w.changes) != 1 || w.changes[0].From != 0 || !w.changes[0].Answer || w.changes[0].Entry.Process != "process-1" {
		t.Errorf("changes %+v; want one, of a new process", w.changes)
	}
	if a.Response.Hex() != answer().Hex() {
		t.Errorf("response %s", a.Response.Hex())
	}
	if _, err := w.desk.Complete(t.Context(), c.caller, a.Process.ID, unblock.PINChanged); err != nil {
		t.Errorf("complete: %v", err)
	}
}

// An operator is who its certificate says, or who a trusted client names. The
// policy and the log hear which.
func TestOperator(t *testing.T) {
	backendCaller := backend().caller
	own := operatorCaller("anna-laptop", "anna", identity.ByCertificate)
	passed := operatorCaller("idm", "anna", identity.ByPassedToken)
	passed.NamesOperators = true
	for name, test := range map[string]struct {
		caller     unblock.Caller
		named      string
		operator   string
		delegation string
	}{
		"named by a backend":          {backendCaller, "omar", "omar", "named by the client"},
		"own certificate":             {own, "", "anna", "own certificate"},
		"own certificate, names self": {own, "anna", "anna", "own certificate"},
		"own token, passed":           {passed, "", "anna", "own token, passed by the client"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			begin := unblock.Begin{Card: "4711", Operator: test.named, Reason: "PIN forgotten"}
			a, err := w.desk.Respond(t.Context(), test.caller, begin, unblock.Typed{Challenge: challenge})
			if err != nil {
				t.Fatal(err)
			}
			// An operator who is authenticated is taken with the attributes that came with
			// that, and not looked up again.
			operator := w.operators[test.operator]
			if test.caller.Operator != nil {
				operator = *test.caller.Operator
			}
			want := policy.Request{
				Operator: operator, Client: test.caller.Client, Now: moment,
				Means: identity.Means(test.delegation), Address: netip.MustParseAddr(test.caller.Address),
				Card: w.card, Type: w.kind, Reason: "PIN forgotten",
			}
			if diff := cmp.Diff([]policy.Request{want}, w.asked, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Errorf("policy request (-want +got):\n%s", diff)
			}
			e := w.changes[0].Entry
			if a.Process.Operator != test.operator || e.Operator != test.operator || e.Delegation != test.delegation {
				t.Errorf("process of %s, entry of %s, %s", a.Process.Operator, e.Operator, e.Delegation)
			}
		})
	}
}

// A process belongs to the client that started it. To everybody else it is as if it
// were not there, whatever they ask; what they try is written down, a look is not.
func TestProcessIsItsClientsOnly(t *testing.T) {
	mine := call{
		operatorCaller("anna-laptop", "anna", identity.ByCertificate),
		unblock.Begin{Card: "4711", Reason: "PIN forgotten"}, challenge,
	}
	actions := map[string]struct {
		action audit.Action // empty: a look
		run    func(*testing.T, *world, unblock.Caller, string) error
	}{
		"answer": {audit.UnblockRespond, func(t *testing.T, w *world, c unblock.Caller, id string) error {
			a, err := w.desk.Answer(t.Context(), c, id, unblock.Typed{Challenge: challenge})
			gaveNothing(t, a)
			return err
		}},
		"complete": {audit.UnblockComplete, func(t *testing.T, w *world, c unblock.Caller, id string) error {
			_, err := w.desk.Complete(t.Context(), c, id, unblock.PINChanged)
			return err
		}},
		"cancel": {audit.UnblockCancel, func(t *testing.T, w *world, c unblock.Caller, id string) error {
			_, err := w.desk.Cancel(t.Context(), c, id)
			return err
		}},
		"look": {"", func(t *testing.T, w *world, c unblock.Caller, id string) error {
			p, err := w.desk.Process(t.Context(), c, id)
			if p != (unblock.Process{}) {
				t.Errorf("a look shows %+v", p)
			}
			return err
		}},
	}
	for name, foreign := range map[string]unblock.Caller{
		"backend":                        backend().caller,
		"other operator":                 operatorCaller("omar-laptop", "omar", identity.ByCertificate),
		"same operator, other client":    operatorCaller("anna-phone", "anna", identity.ByCertificate),
		"client given to other operator": operatorCaller("anna-laptop", "omar", identity.ByCertificate),
		"nobody":                         {},
	} {
		for action, do := range actions {
			t.Run(name+"/"+action, func(t *testing.T) {
				w := newWorld(t)
				given, started := w.answered(t, mine), w.start(t, mine)
				calls, changes := len(w.hsm.calls), len(w.changes)
				var details []string
				w.processes["nobody's"] = unblock.Process{ID: "nobody's", State: unblock.Started, Card: "4711", Operator: "anna", Revision: 1}
				ids := []string{started.ID, given.ID, "nobody's", "process-99", ""}
				for _, id := range ids {
					no := refusal(t, do.run(t, w, foreign, id))
					if no.Code != unblock.ProcessUnknown {
						t.Errorf("%q: code %s, want %s", id, no.Code, unblock.ProcessUnknown)
					}
					details = append(details, no.Detail+string(no.Check))
				}
				if len(slices.Compact(details)) != 1 {
					t.Errorf("the answers tell what is there: %q", details)
				}
				if len(w.hsm.calls) != calls || len(w.changes) != changes {
					t.Errorf("%d calls of the HSM, %d changes", len(w.hsm.calls)-calls, len(w.changes)-changes)
				}
				var logged []string
				tried := "" // whoever did is in the log
				if foreign.Operator != nil {
					tried = foreign.Operator.ID
				}
				for _, e := range w.entries {
					if e.Action != do.action || e.Outcome != audit.Deny || e.Client != foreign.Client || e.Operator != tried || e.Card != "" {
						t.Errorf("audit entry %+v", e)
					}
					logged = append(logged, e.Process)
				}
				if do.action == "" {
					ids = nil
				}
				if diff := cmp.Diff(ids, logged); diff != "" {
					t.Errorf("processes in the log (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// What can be done with a process in each of its states.
func TestStates(t *testing.T) {
	type bench struct {
		*world
		c  call
		id string // of the process
	}
	states := map[unblock.State]func(*testing.T, *bench){
		unblock.Started:  func(t *testing.T, w *bench) { w.id = w.start(t, w.c).ID },
		unblock.Answered: func(t *testing.T, w *bench) { w.id = w.answered(t, w.c).ID },
		unblock.Completed: func(t *testing.T, w *bench) {
			w.id = w.answered(t, w.c).ID
			if _, err := w.desk.Complete(t.Context(), w.c.caller, w.id, unblock.OutcomeUnknown); err != nil {
				t.Fatal(err)
			}
		},
		unblock.Failed: func(t *testing.T, w *bench) {
			w.id = w.answered(t, w.c).ID
			if _, err := w.desk.Complete(t.Context(), w.c.caller, w.id, unblock.OutcomeFailed); err != nil {
				t.Fatal(err)
			}
		},
		unblock.Cancelled: func(t *testing.T, w *bench) {
			w.id = w.start(t, w.c).ID
			if _, err := w.desk.Cancel(t.Context(), w.c.caller, w.id); err != nil {
				t.Fatal(err)
			}
		},
		unblock.Expired: func(t *testing.T, w *bench) {
			w.id = w.start(t, w.c).ID
			w.now = w.now.Add(lifetime)
		},
	}
	const done = ""
	for state, want := range map[unblock.State]struct{ answer, complete, cancel unblock.Code }{
		unblock.Started:   {done, unblock.ProcessNotAnswered, done},
		unblock.Answered:  {unblock.ProcessAnswered, done, done},
		unblock.Completed: {unblock.ProcessFinished, unblock.ProcessFinished, unblock.ProcessFinished},
		unblock.Failed:    {unblock.ProcessFinished, unblock.ProcessFinished, unblock.ProcessFinished},
		unblock.Cancelled: {unblock.ProcessCancelled, unblock.ProcessCancelled, unblock.ProcessCancelled},
		unblock.Expired:   {unblock.ProcessExpired, unblock.ProcessExpired, unblock.ProcessExpired},
	} {
		for _, action := range []struct {
			name audit.Action
			code unblock.Code
			run  func(*testing.T, *bench) error
		}{
			{audit.UnblockRespond, want.answer, func(t *testing.T, w *bench) error {
				_, err := w.desk.Answer(t.Context(), w.c.caller, w.id, unblock.Typed{Challenge: challenge})
				return err
			}},
			{audit.UnblockComplete, want.complete, func(t *testing.T, w *bench) error {
				_, err := w.desk.Complete(t.Context(), w.c.caller, w.id, unblock.PINChanged)
				return err
			}},
			{audit.UnblockCancel, want.cancel, func(t *testing.T, w *bench) error {
				_, err := w.desk.Cancel(t.Context(), w.c.caller, w.id)
				return err
			}},
		} {
			t.Run(fmt.Sprintf("%s/%s", state, action.name), func(t *testing.T) {
				w := &bench{world: newWorld(t), c: backend()}
				states[state](t, w)
				if p, err := w.desk.Process(t.Context(), w.c.caller, w.id); err != nil || p.State != state {
					t.Fatalf("process is %s, %v", p.State, err)
				}
				before, calls := w.processes[w.id], len(w.hsm.calls)
				err := action.run(t, w)
				if action.code == done {
					if err != nil {
						t.Error(err)
					}
					return
				}
				if no := refusal(t, err); no.Code != action.code || no.Check != "" {
					t.Errorf("code %s of check %q, want %s", no.Code, no.Check, action.code)
				}
				if w.processes[w.id] != before || len(w.hsm.calls) != calls {
					t.Errorf("process %+v, %d calls of the HSM", w.processes[w.id], len(w.hsm.calls)-calls)
				}
				if len(w.entries) != 1 || w.entries[0].Action != action.name || w.entries[0].Code != string(action.code) ||
					w.entries[0].Process != w.id || w.entries[0].Card != "4711" || w.entries[0].Operator != "anna" {
					t.Errorf("audit entries %+v", w.entries)
				}
			})
		}
	}
}

// A process waits to the end of its lifetime and not a moment longer. One that was
// answered does not expire: its outcome may come late.
func TestExpiry(t *testing.T) {
	w, c := newWorld(t), backend()
	p := w.start(t, c)
	w.now = p.ExpiresAt.Add(-1)
	if _, err := w.desk.Answer(t.Context(), c.caller, p.ID, unblock.Typed{Challenge: c.challenge}); err != nil {
		t.Errorf("answer in the last moment: %v", err)
	}
	w.now = p.ExpiresAt.Add(1000 * time.Hour)
	if p, err := w.desk.Process(t.Context(), c.caller, p.ID); err != nil || p.State != unblock.Answered {
		t.Errorf("process is %s, %v", p.State, err)
	}
	if p, err := w.desk.Complete(t.Context(), c.caller, p.ID, unblock.PINChanged); err != nil || p.State != unblock.Completed {
		t.Errorf("process is %s, %v", p.State, err)
	}
}

func TestOutcomes(t *testing.T) {
	for outcome, want := range map[unblock.Outcome]struct {
		state   unblock.State
		confirm bool
	}{
		unblock.PINChanged:     {unblock.Completed, true},
		unblock.OutcomeFailed:  {unblock.Failed, false},
		unblock.OutcomeUnknown: {unblock.Completed, false},
	} {
		t.Run(string(outcome), func(t *testing.T) {
			w, c := newWorld(t), backend()
			p, err := w.desk.Complete(t.Context(), c.caller, w.answered(t, c).ID, outcome)
			if err != nil {
				t.Fatal(err)
			}
			last := w.changes[len(w.changes)-1]
			if p.State != want.state || p.Outcome != outcome || last.Confirm != want.confirm || last.Answer {
				t.Errorf("process is %s with outcome %s, change confirms: %v, answers: %v", p.State, p.Outcome, last.Confirm, last.Answer)
			}
		})
	}
	t.Run("none of them", func(t *testing.T) {
		w, c := newWorld(t), backend()
		id, changes := w.answered(t, c).ID, len(w.changes)
		for _, outcome := range []unblock.Outcome{"", "PIN-changed", "answered"} {
			if _, err := w.desk.Complete(t.Context(), c.caller, id, outcome); err == nil || len(w.changes) != changes {
				t.Errorf("%q: error %v, %d changes", outcome, err, len(w.changes)-changes)
			}
		}
	})
}

// An outcome or a cancellation that cannot be written down did not happen.
func TestFinishNeedsTheLog(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		code unblock.Code
	}{
		"log out of order":          {errInside, unblock.AuditUnavailable},
		"process changed meanwhile": {unblock.ErrConflict, unblock.ProcessConflict},
	} {
		t.Run(name, func(t *testing.T) {
			w, c := newWorld(t), backend()
			before := w.answered(t, c)
			w.applyErr = test.err
			for _, finish := range []func() (unblock.Process, error){
				func() (unblock.Process, error) {
					return w.desk.Complete(t.Context(), c.caller, before.ID, unblock.PINChanged)
				},
				func() (unblock.Process, error) { return w.desk.Cancel(t.Context(), c.caller, before.ID) },
			} {
				w.entries = nil
				p, err := finish()
				if no := refusal(t, err); no.Code != test.code || p != (unblock.Process{}) || w.processes[before.ID] != before {
					t.Errorf("code %s, process %+v", no.Code, p)
				}
				if len(w.entries) != 1 || w.entries[0].Code != string(test.code) || w.entries[0].Process != before.ID {
					t.Errorf("audit entries %+v", w.entries)
				}
			}
		})
	}
}

func TestProcessCannotBeRead(t *testing.T) {
	w, c := newWorld(t), backend()
	id := w.start(t, c).ID
	w.findErr = errInside
	_, look := w.desk.Process(t.Context(), c.caller, id)
	_, answer := w.desk.Answer(t.Context(), c.caller, id, unblock.Typed{Challenge: c.challenge})
	for _, err := range []error{look, answer} {
		if no := refusal(t, err); no.Code != unblock.StoreUnavailable || strings.Contains(no.Detail, errInside.Error()) {
			t.Errorf("code %s, detail %q", no.Code, no.Detail)
		}
	}
	if len(w.entries) != 1 || w.entries[0].Outcome != audit.Failure || len(w.hsm.calls) != 0 {
		t.Errorf("audit entries %+v, %d calls of the HSM", w.entries, len(w.hsm.calls))
	}
}

// However many answer one process at once, one response leaves.
func TestOneResponsePerProcess(t *testing.T) {
	w, c := newWorld(t), backend()
	id := w.start(t, c).ID
	var given atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			a, err := w.desk.Answer(t.Context(), c.caller, id, unblock.Typed{Challenge: c.challenge})
			if err == nil {
				given.Add(1)
				a.Response.Wipe()
				return
			}
			var no *unblock.Refusal
			if !errors.As(err, &no) || no.Code != unblock.ProcessConflict && no.Code != unblock.ProcessAnswered {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if given.Load() != 1 || w.unconfirmed != 1 || !w.hsm.wiped() {
		t.Errorf("%d responses left, %d are counted, the others are wiped: %v", given.Load(), w.unconfirmed, w.hsm.wiped())
	}
	if len(w.changes)+len(w.entries) != 1+16 {
		t.Errorf("%d changes and %d refusals in the log, want 17 in all", len(w.changes), len(w.entries))
	}
}

// Everything is about the card and the operator that were found, though a store
// should find them by another spelling.
func TestFoundBySpelling(t *testing.T) {
	w, c := newWorld(t), backend()
	w.operators["ANNA"] = w.operators["anna"]
	c.begin.Operator = "ANNA"
	p := w.start(t, c)
	if e := w.changes[0].Entry; p.Operator != "anna" || e.Operator != "anna" || w.asked[0].Operator.ID != "anna" {
		t.Errorf("process of %s, entry of %s, policy asked about %s", p.Operator, e.Operator, w.asked[0].Operator.ID)
	}
}

// An approval is of a process for the holder whom the second person was shown, and of
// somebody else than its operator, by whatever the two turn out to be known by.
func TestApprovalOfAnother(t *testing.T) {
	for name, test := range map[string]struct {
		approver policy.Operator
		change   func(*world)
		approve  unblock.Code // "" where it is approved
		answer   unblock.Code // "" where it is answered
	}{
		"nothing":                {policy.Operator{ID: "sue"}, func(*world) {}, "", ""},
		"data confirmed":         {policy.Operator{ID: "sue"}, func(w *world) { w.card.SyncedAt = w.now }, "", ""},
		"another holder":         {policy.Operator{ID: "sue"}, func(w *world) { w.card.Holder = card.Holder{ID: "li", Name: "Li", State: "active"} }, "", unblock.ApprovalHash},
		"another type":           {policy.Operator{ID: "sue"}, func(w *world) { w.card.Type, w.kind.ID = "chief", "chief" }, "", unblock.ApprovalHash},
		"operator, in capitals":  {policy.Operator{ID: "ANNA"}, func(*world) {}, unblock.ApprovalOwn, ""},
		"operator, by number":    {policy.Operator{ID: "a2", EmployeeNumber: "17"}, func(*world) {}, "", unblock.ApprovalOwn},
		"holder, by e-mail":      {policy.Operator{ID: "b2", Email: "bo@example.org"}, func(*world) {}, unblock.ApprovalOwn, ""},
		"another by no number":   {policy.Operator{ID: "sue", EmployeeNumber: "18"}, func(*world) {}, "", ""},
		"nobody's number either": {policy.Operator{ID: "sue", Name: "Anna Blom"}, func(*world) {}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w, c := newWorld(t), backend()
			anna := w.operators["anna"]
			anna.EmployeeNumber = "17"
			w.operators["anna"], w.card.Holder.Email = anna, "Bo@Example.org"
			w.decision = policy.Decision{Approval: identity.Supervisor}
			p := w.start(t, c)
			shown := p.Statement(w.card)
			test.approver.Roles = []identity.Role{identity.Supervisor}
			second := unblock.Caller{Client: "sue-laptop", Operator: &test.approver, Means: identity.ByCertificate}
			_, err := w.desk.Approve(t.Context(), second, p.ID, shown, "known to me")
			var no *unblock.Refusal
			if errors.As(err, &no) != (test.approve != "") || no != nil && no.Code != test.approve {
				t.Fatalf("approved: %v, want %q", err, test.approve)
			}
			if no != nil {
				return
			}
			w.decision = policy.Decision{Allow: true}
			test.change(w)
			a, err := w.desk.Answer(t.Context(), c.caller, p.ID, unblock.Typed{Challenge: c.challenge})
			if errors.As(err, &no) != (test.answer != "") || no != nil && (no.Code != test.answer || a.Response != nil || len(w.hsm.calls) != 0) {
				t.Errorf("answered: %v, want %q", err, test.answer)
			}
		})
	}
}

// Where policies ask for the card's count, one that was raised while the HSM worked is
// put before them: many answers at once are not each taken for the first.
func TestCountThatChangesMeanwhile(t *testing.T) {
	for _, counts := range []bool{true, false} {
		w, c := newWorld(t), backend()
		w.decision.Counts = counts
		w.hsm.during = func() { w.unconfirmed = 1 }
		w.ledger.stands = func(g unblock.Grounds) bool { return !g.Counted || g.Unconfirmed == w.unconfirmed }
		if _, err := w.desk.Respond(t.Context(), c.caller, c.begin, unblock.Typed{Challenge: c.challenge}); err != nil {
			t.Fatal(err)
		}
		want := []int{0, 1}
		if !counts {
			want = want[:1]
		}
		var asked []int
		for _, r := range w.asked {
			asked = append(asked, r.Unconfirmed)
		}
		if !slices.Equal(asked, want) {
			t.Errorf("policies that ask for the count (%v) were told %v, want %v", counts, asked, want)
		}
	}
}

// What is taken away while the HSM works is not answered for any more.
func TestGroundsThatChangeMeanwhile(t *testing.T) {
	for name, test := range map[string]struct {
		change func(w *world, calls int)
		code   unblock.Code // "" where it is answered
		calls  int
	}{
		"card revoked":        {func(w *world, _ int) { w.card.State = "revoked" }, unblock.CardNotActive, 1},
		"use case off":        {func(w *world, _ int) { w.kind.UnblockRemote = nil }, unblock.UseCaseOff, 1},
		"key suspended":       {func(w *world, _ int) { w.keyIs = "is suspended" }, unblock.KeyNotUsable, 1},
		"holder renamed once": {func(w *world, _ int) { w.card.Holder.Name = "Bo Berg" }, "", 2},
		"other ever again": {
			func(w *world, calls int) { w.card.Holder.Unit = strings.Repeat("x", calls) }, unblock.ProcessConflict, 3,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, c := newWorld(t), backend()
			calls := 0
			w.hsm.during = func() { calls++; test.change(w, calls) }
			w.ledger.stands = func(g unblock.Grounds) bool {
				return w.keyIs == "" && cmp.Equal(g, unblock.Grounds{Card: w.card, Type: w.kind, Master: "cards", Version: 2})
			}
			a, err := w.desk.Respond(t.Context(), c.caller, c.begin, unblock.Typed{Challenge: c.challenge})
			var no *unblock.Refusal
			switch {
			case test.code == "" && err != nil:
				t.Fatal(err)
			case test.code != "" && (!errors.As(err, &no) || no.Code != test.code || a.Response != nil):
				t.Errorf("answer %v, error %v; want %s", a.Response != nil, err, test.code)
			}
			if calls != test.calls {
				t.Errorf("%d calls of the HSM, want %d", calls, test.calls)
			}
			if test.code != "" && (len(w.changes) != 0 || len(w.entries) != 1) {
				t.Errorf("%d changes and %d refusals in the log", len(w.changes), len(w.entries))
			}
			if test.code == "" && !cmp.Equal(checks(), a.Checks) {
				t.Errorf("checks %v", a.Checks)
			}
		})
	}
}

// What policies were asked and said is kept once for each decision: with the change
// that it leads to, or with the refusal; and not where it is not to be kept.
func TestDecisionsKept(t *testing.T) {
	w := newWorld(t)
	w.desk.KeepDecisions = true
	c := backend()
	started := w.start(t, c)
	if d := w.ledger.changes[0].Decided; d == nil || d.Request.Card.Serial != started.Card || d.Request.Operator.ID != started.Operator || !d.Decision.Allow {
		t.Errorf("kept of the start: %+v", d)
	}
	w.decision = policy.Decision{Why: "No."}
	if _, err := w.desk.Answer(t.Context(), c.caller, started.ID, unblock.Typed{Challenge: c.challenge}); err == nil {
		t.Fatal("answered")
	}
	if d := w.ledger.decided[len(w.ledger.decided)-1]; d == nil || d.Decision.Allow || d.Decision.Why != "No." {
		t.Errorf("kept of the refusal: %+v", d)
	}
	w.desk.KeepDecisions = false
	if _, err := w.desk.Answer(t.Context(), c.caller, started.ID, unblock.Typed{Challenge: c.challenge}); err == nil {
		t.Fatal("answered")
	}
	if d := w.ledger.decided[len(w.ledger.decided)-1]; d != nil {
		t.Errorf("kept all the same: %+v", d)
	}
}
