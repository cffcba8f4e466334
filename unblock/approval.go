package unblock

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/identity"
	"latchkey/policy"
)

// Pending is a process that waits for approval, as the second person sees it.
type Pending struct {
	Process Process
	Card    card.Card
	Type    card.Type
	// Statement is the hash by which the process is approved.
	Statement string
}

// Pending lists the processes that wait for approval and that the caller may
// decide on, the oldest first.
func (d *Desk) Pending(ctx context.Context, caller Caller) ([]Pending, error) {
	if no := caller.judge(); no != nil {
		return nil, no
	}
	waiting, err := d.Ledger.WaitingProcesses(ctx, d.Now())
	if err != nil {
		return nil, fail(StoreUnavailable, "The processes that wait could not be looked up. Try again later.", err)
	}
	var list []Pending
	for _, p := range waiting {
		switch pending, no := d.mayJudge(ctx, caller, p); {
		case no == nil:
			list = append(list, pending)
		case no.failure():
			return nil, no
		}
	}
	return list, nil
}

// Approve lets a process start that waits for approval. The hash is that of the
// statement that the caller saw. The answer runs every check again.
func (d *Desk) Approve(ctx context.Context, caller Caller, id, hash, reason string) (Pending, error) {
	done := func(p Process) bool { return p.Approved != "" && p.Approved == hash && p.Verdict == reason }
	return d.judge(ctx, caller, id, audit.UnblockApprove, done, func(pending Pending, p *Process) *Refusal {
		if hash != pending.Statement {
			return refuse(ApprovalHash, "This is not the hash of what the process asks for. Look at it again.")
		}
		p.State, p.ExpiresAt = Started, d.Now().Add(d.Lifetime)
		p.Approved, p.Verdict = hash, reason
		return nil
	})
}

// Refuse ends a process that waits for approval.
func (d *Desk) Refuse(ctx context.Context, caller Caller, id, reason string) (Pending, error) {
	done := func(p Process) bool { return p.State == Refused && p.Verdict == reason }
	return d.judge(ctx, caller, id, audit.UnblockRefuse, done, func(_ Pending, p *Process) *Refusal {
		p.State, p.FinishedAt, p.Verdict = Refused, d.Now(), reason
		return nil
	})
}

// judge makes a second person's decision durable. One that this person made before,
// in the same words, is done: nothing is written again.
func (d *Desk) judge(
	ctx context.Context, caller Caller, id string, action audit.Action, done func(Process) bool, move func(Pending, *Process) *Refusal,
) (Pending, error) {
	now := d.Now()
	entry := audit.Entry{Time: now, Action: action, Process: id}
	caller.sign(&entry)
	if caller.Operator != nil {
		entry.Operator = caller.Operator.ID
	}
	p, err := d.Ledger.Process(ctx, id)
	unknown := errors.Is(err, card.ErrNotFound)
	var pending Pending
	no := caller.judge()
	switch {
	case no != nil:
	case err != nil && !unknown:
		no = fail(StoreUnavailable, "The process could not be looked up. Try again later.", err)
	case unknown || p.Approval == "":
		no = unknownProcess()
	default:
		pending, no = d.mayJudge(ctx, caller, p)
	}
	repeated := func(p Process) bool { return p.Approver != nil && p.Approver.ID == caller.Operator.ID && done(p) }
	if no == nil && repeated(p) {
		return pending, nil
	}
	if no == nil {
		entry.Card, entry.CardType, entry.Reason = p.Card, pending.Card.Type, p.Reason
		entry.Ticket, entry.Verification, entry.Override = p.Ticket, string(p.Verification), p.Override
		if p.at(now) != Waiting {
			no = refuse(ProcessNotWaiting, fmt.Sprintf("This process is %s and waits for no approval.", p.at(now))).of(Facts{"state": string(p.at(now))})
		}
	}
	from := p.Revision
	if no == nil {
		no = move(pending, &p)
	}
	if no != nil {
		return Pending{}, d.refused(ctx, entry, no)
	}
	p.Approver, p.DecidedAt = caller.Operator, now
	p.Revision++
	entry.Outcome, entry.LatencyMicros = audit.Permit, d.Now().Sub(now).Microseconds()
	entry.Detail = fmt.Sprintf("asked for by operator %s, statement %s: %s", p.Operator, pending.Statement, p.Verdict)
	if err := d.Ledger.Apply(ctx, Change{Process: p, From: from, Entry: entry}); err != nil {
		if now, found := d.Ledger.Process(ctx, id); errors.Is(err, ErrConflict) && found == nil && repeated(now) {
			pending.Process = now
			return pending, nil
		}
		return Pending{}, d.refused(ctx, entry, notWritten(err))
	}
	pending.Process = p
	return pending, nil
}

// judge refuses a caller who decides on nobody's process: nobody is named into it.
func (c Caller) judge() *Refusal {
	if c.Operator == nil || c.means() == "" || c.means() == identity.ByName || c.holds() {
		return refuse(ApprovalForbidden, "Whoever approves has to be authenticated as themselves.")
	}
	return nil
}

// mayJudge tells whether the caller may decide on the process: one with the role that
// it asks for, who may know of the card, and who is neither its operator nor the
// card's holder. To one without the role it is as if it were not there.
func (d *Desk) mayJudge(ctx context.Context, caller Caller, p Process) (Pending, *Refusal) {
	who := *caller.Operator
	if !slices.Contains(who.Roles, p.Approval) {
		return Pending{}, unknownProcess()
	}
	pending := Pending{Process: p}
	var err error
	if pending.Card, err = d.Cards.Card(ctx, p.Card); err == nil {
		pending.Type, err = d.Cards.CardType(ctx, pending.Card.Type)
	}
	switch {
	case errors.Is(err, card.ErrNotFound):
		return Pending{}, unknownProcess()
	case err != nil:
		return Pending{}, CardUnread(err)
	}
	pending.Statement = p.Statement(pending.Card)
	view, err := d.Policy.View(ctx, policy.ViewRequest{Operator: who, Client: caller.Client, Card: pending.Card, Type: pending.Type})
	switch {
	case err != nil:
		return Pending{}, policyFailed(err)
	case !view.Allow:
		return Pending{}, unknownProcess()
	case same(who.ID, p.Operator) || is(who, pending.Card.Holder):
		return Pending{}, ownApproval()
	}
	return pending, nil
}

func ownApproval() *Refusal {
	return refuse(ApprovalOwn, "Nobody approves a process of their own, or one for their own card.")
}

// same tells whether two texts name the same, in whichever case. What is empty names
// nothing.
func same(a, b string) bool { return a != "" && strings.EqualFold(a, b) }

// is tells whether the person is the card's holder, by whatever both are known by.
func is(p policy.Operator, h card.Holder) bool {
	return same(p.ID, h.ID) || same(p.ID, h.EmployeeNumber) || same(p.Email, h.Email) || same(p.EmployeeNumber, h.EmployeeNumber)
}

// unknownProcess is what everybody is told whose business a process is not.
func unknownProcess() *Refusal {
	return refuse(ProcessUnknown, "There is no such unblock process of yours.")
}
