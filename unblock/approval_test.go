package unblock_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"latchkey/identity"
	"latchkey/policy"
	"latchkey/unblock"
)

// supervisor is a caller who is one, authenticated as such.
func supervisor(id string) unblock.Caller {
	return unblock.Caller{
		Client: id + "-laptop", Means: identity.ByCertificate,
		Operator: &policy.Operator{ID: id, Name: id, Roles: []identity.Role{identity.Operator, identity.Supervisor}},
	}
}

// askApproval has policy ask for a supervisor until somebody approved.
func askApproval(w *world) {
	w.decide = func(r policy.Request) policy.Decision {
		if r.Approver == nil {
			return policy.Decision{Why: "A supervisor has to approve.", Approval: identity.Supervisor}
		}
		return w.decision
	}
}

// Who decides on a process that waits: a supervisor in person, and nobody for
// themselves, whatever they are known by.
func TestWhoApproves(t *testing.T) {
	byName := supervisor("sue")
	byName.Means = identity.ByName
	client := unblock.Caller{Client: "idm", NamesOperators: true}
	operator := operatorCaller("omar-laptop", "omar", identity.ByCertificate)
	number, mail := supervisor("sue"), supervisor("sue")
	number.Operator.EmployeeNumber, mail.Operator.Email = "000017", "BO@example.org"
	for name, test := range map[string]struct {
		caller unblock.Caller
		code   unblock.Code // "" where it is approved
	}{
		"supervisor":              {supervisor("sue"), ""},
		"operator of the process": {supervisor("anna"), unblock.ApprovalOwn},
		"holder":                  {supervisor("bo"), unblock.ApprovalOwn},
		"holder by number":        {number, unblock.ApprovalOwn},
		"holder by mail":          {mail, unblock.ApprovalOwn},
		"named by a client":       {byName, unblock.ApprovalForbidden},
		"backend for nobody":      {client, unblock.ApprovalForbidden},
		"operator":                {operator, unblock.ProcessUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			w, c := newWorld(t), backend()
			w.card.Holder.EmployeeNumber, w.card.Holder.Email = "000017", "bo@example.org"
			askApproval(w)
			p := w.start(t, c)
			if p.State != unblock.Waiting || p.ExpiresAt != moment.Add(approvalLifetime) {
				t.Fatalf("process %+v", p)
			}
			statement := p.Statement(w.card)
			for range 2 { // a second time it is decided
				_, err := w.desk.Approve(t.Context(), test.caller, p.ID, statement, "known")
				want := test.code
				if want == "" && w.processes[p.ID].State == unblock.Started && err != nil {
					want = unblock.ProcessNotWaiting
				}
				if want == "" && err != nil || want != "" && refusal(t, err).Code != want {
					t.Fatalf("error %v, want %q", err, want)
				}
			}
			if approved := w.processes[p.ID].State == unblock.Started; approved != (test.code == "") {
				t.Errorf("process is %s", w.processes[p.ID].State)
			}
		})
	}
}

// An approval is of what the process said when it was given, and of nothing else.
func TestApprovalIsOfAStatement(t *testing.T) {
	for name, change := range map[string]func(*unblock.Process){
		"operator": func(p *unblock.Process) { p.Operator = "omar" },
		"reason":   func(p *unblock.Process) { p.Reason = "another" },
		"override": func(p *unblock.Process) { p.Override = "another" },
		"card":     func(p *unblock.Process) { p.Card = "4712" },
	} {
		t.Run(name, func(t *testing.T) {
			w, c := newWorld(t), backend()
			askApproval(w)
			p := w.start(t, c)
			if _, err := w.desk.Approve(t.Context(), supervisor("sue"), p.ID, p.Statement(w.card), "known"); err != nil {
				t.Fatal(err)
			}
			p = w.processes[p.ID]
			change(&p)
			w.processes[p.ID] = p
			w.card.Serial = p.Card
			a, err := w.desk.Answer(t.Context(), c.caller, p.ID, unblock.Typed{Challenge: challenge})
			gaveNothing(t, a)
			if no := refusal(t, err); no.Code != unblock.ApprovalHash || len(w.hsm.calls) != 0 {
				t.Errorf("%v, %d calls of the HSM", err, len(w.hsm.calls))
			}
		})
	}
	w, c := newWorld(t), backend()
	askApproval(w)
	a, err := w.desk.Respond(t.Context(), c.caller, c.begin, unblock.Typed{Challenge: challenge})
	gaveNothing(t, a)
	if no := refusal(t, err); no.Code != unblock.ApprovalRequired || no.Check != unblock.PolicyPermits {
		t.Errorf("in one call: %v", err)
	}
}

// A supervisor goes one beyond the limit for each reason that they give, and tells
// the policy so; nobody else does.
func TestOverride(t *testing.T) {
	w := newWorld(t)
	w.unconfirmed = 4
	sue := supervisor("sue")
	begin := unblock.Begin{Card: "4711", Reason: "PIN forgotten", Override: "holder abroad, card seen"}
	for i := range 2 {
		w.now = w.now.Add(time.Minute)
		a, err := w.desk.Respond(t.Context(), sue, begin, unblock.Typed{Challenge: challenge, Confirmed: true})
		if err != nil {
			t.Fatal(err)
		}
		last := w.changes[len(w.changes)-1]
		if last.MaxUnconfirmed != 5+i || last.Entry.Override != begin.Override || last.Entry.Detail == "" || !w.asked[i].Override || w.asked[i].Unconfirmed != 4+i {
			t.Errorf("change %+v", last)
		}
		if left, limited := a.Attempts.Left(); left != 0 || !limited || a.Attempts.Warning() == "" {
			t.Errorf("attempts %+v", a.Attempts)
		}
	}
	begin.Override = ""
	if _, err := w.desk.Respond(t.Context(), sue, begin, unblock.Typed{Challenge: challenge, Confirmed: true}); refusal(t, err).Code != unblock.AttemptsExhausted {
		t.Errorf("without a reason: %v", err)
	}
	w.now, begin.Override = w.now.Add(lifetime), "please"
	if _, err := w.desk.Respond(t.Context(), operatorCaller("anna-laptop", "anna", identity.ByCertificate), begin, unblock.Typed{Challenge: challenge, Confirmed: true}); refusal(t, err).Code != unblock.OverrideForbidden {
		t.Errorf("by an operator: %v", err)
	}
}

// A card that may not be seen is answered as one that is not there: the same words,
// after the same questions.
func TestUnseenIsUnknown(t *testing.T) {
	ask := func(change func(*world, *call)) (*unblock.Refusal, int) {
		w, c := newWorld(t), backend()
		change(w, &c)
		_, err := w.desk.Start(t.Context(), c.caller, c.begin)
		return refusal(t, err), w.views
	}
	unknown, looked := ask(func(_ *world, c *call) { c.begin.Card = "4712" })
	unseen, lookedToo := ask(func(w *world, _ *call) { w.unseen = true })
	if unknown.Code != unblock.CardUnknown || !reflect.DeepEqual(unknown, unseen) || looked != 1 || lookedToo != 1 {
		t.Errorf("unknown: %+v after %d questions; not to be seen: %+v after %d", unknown, looked, unseen, lookedToo)
	}
}

// Every state is in the table of moves, and what is over does not go on.
func TestMoves(t *testing.T) {
	over := []unblock.State{unblock.Completed, unblock.Failed, unblock.Cancelled, unblock.Refused, unblock.Expired}
	for _, from := range unblock.States() {
		goes := slices.ContainsFunc(unblock.States(), from.May)
		if goes == slices.Contains(over, from) {
			t.Errorf("%s goes on: %v", from, goes)
		}
		if from.May(from) || from.May("") {
			t.Errorf("%s goes to itself or back to the beginning", from)
		}
	}
}
