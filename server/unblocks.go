package server

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"latchkey/card"
	"latchkey/policy"
	"latchkey/server/api"
	"latchkey/unblock"
)

func (s *Server) startUnblock(c echo.Context) error {
	var body api.StartUnblock
	if err := read(c, &body); err != nil {
		return err
	}
	begin := unblock.Begin{
		Card: body.Card, Operator: body.Operator, Reason: body.Reason, Ticket: body.Ticket,
		Verification: policy.Verification(body.Verification), Override: body.Override, IdempotencyKey: idempotencyKey(c),
	}
	if err := invalid(append(beginFaults("card", begin), keyFaults(c)...)); err != nil {
		return err
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	opened, err := s.Desk.Start(ctx, who(c), begin)
	if err != nil {
		return err
	}
	answer := unblockBody(opened.Process, opened.Card)
	answer.ChallengeDigits = 2 * opened.Profile.ChallengeLen
	attempts, warnings := attemptsBody(opened.Attempts)
	answer.Attempts, answer.Warnings = &attempts, warnings
	answer.Checks = names(opened.Checks)
	c.Response().Header().Set(echo.HeaderLocation, "/v1/unblocks/"+opened.Process.ID)
	return reply(c, http.StatusCreated, answer)
}

func (s *Server) respond(c echo.Context) error {
	serial, err := parameter(c, "serial")
	if err != nil {
		return err
	}
	var body api.Respond
	if err := read(c, &body); err != nil {
		return err
	}
	begin := unblock.Begin{
		Card: serial, Operator: body.Operator, Reason: body.Reason, Ticket: body.Ticket,
		Verification: policy.Verification(body.Verification), Override: body.Override,
	}
	if err := invalid(append(beginFaults("serial", begin), keyFaults(c)...)); err != nil {
		return err
	}
	ctx, done := s.answering(c)
	defer done()
	answer, err := s.Desk.Respond(ctx, who(c), begin, unblock.Typed{Challenge: body.Challenge, Confirmed: body.Confirmed, IdempotencyKey: idempotencyKey(c)})
	if err != nil {
		return err
	}
	return replyResponse(c, answer)
}

func (s *Server) answerUnblock(c echo.Context) error {
	id, err := processID(c)
	if err != nil {
		return err
	}
	var body api.Challenge
	if err := read(c, &body); err != nil {
		return err
	}
	if err := invalid(keyFaults(c)); err != nil {
		return err
	}
	ctx, done := s.answering(c)
	defer done()
	answer, err := s.Desk.Answer(ctx, who(c), id, unblock.Typed{Challenge: body.Challenge, Confirmed: body.Confirmed, IdempotencyKey: idempotencyKey(c)})
	if err != nil {
		return err
	}
	return replyResponse(c, answer)
}

func (s *Server) readBack(c echo.Context) error {
	id, err := processID(c)
	if err != nil {
		return err
	}
	var body api.ReadChallenge
	if err := read(c, &body); err != nil {
		return err
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	back, err := s.Desk.ReadBack(ctx, who(c), id, body.Challenge)
	if err != nil {
		return err
	}
	attempts, _ := attemptsBody(back.Attempts)
	return reply(c, http.StatusOK, api.ReadBack{
		Challenge: back.Challenge.Hex(), Grouped: back.Challenge.Grouped(), Spoken: back.Challenge.Spoken(),
		Attempts: attempts, Warnings: append([]string{}, back.Warnings...),
	})
}

func (s *Server) completeUnblock(c echo.Context) error {
	id, err := processID(c)
	if err != nil {
		return err
	}
	var body api.Complete
	if err := read(c, &body); err != nil {
		return err
	}
	outcome := unblock.Outcome(body.Outcome)
	if !slices.Contains(unblock.Outcomes(), outcome) {
		return invalid([]card.Fault{{Field: "outcome", Detail: fmt.Sprintf("is not one of %s", card.Join(unblock.Outcomes()))}})
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	process, err := s.Desk.Complete(ctx, who(c), id, outcome)
	if err != nil {
		return err
	}
	return s.replyUnblock(c, process)
}

func (s *Server) cancelUnblock(c echo.Context) error {
	id, err := processID(c)
	if err != nil {
		return err
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	process, err := s.Desk.Cancel(ctx, who(c), id)
	if err != nil {
		return err
	}
	return s.replyUnblock(c, process)
}

func (s *Server) getUnblock(c echo.Context) error {
	id, err := processID(c)
	if err != nil {
		return err
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	process, err := s.Desk.Process(ctx, who(c), id)
	if err != nil {
		return err
	}
	return s.replyUnblock(c, process)
}

// beginFaults lists what is wrong with the texts of a start. They go into the
// audit log, so they are one short line each.
func beginFaults(serialField string, b unblock.Begin) []card.Fault {
	var faults []card.Fault
	for _, f := range []struct {
		field, value string
		limit        int
		required     bool
	}{
		{serialField, b.Card, card.MaxSerial, true},
		{"operator", b.Operator, card.MaxID, false},
		{"reason", b.Reason, card.MaxText, false},
		{"ticket", b.Ticket, card.MaxText, false},
		{"override", b.Override, card.MaxText, false},
	} {
		if fault := card.TextFault(f.value, f.limit, f.required); fault != "" {
			faults = append(faults, card.Fault{Field: f.field, Detail: fault})
		}
	}
	if b.Verification != "" && !slices.Contains(policy.Verifications(), b.Verification) {
		faults = append(faults, card.Fault{Field: "verification", Detail: fmt.Sprintf("is not one of %s", card.Join(policy.Verifications()))})
	}
	return faults
}

// idempotencyHeader names the call, so that its repetition is known as one; see
// draft-ietf-httpapi-idempotency-key-header.
const idempotencyHeader = "Idempotency-Key"

func idempotencyKey(c echo.Context) string { return c.Request().Header.Get(idempotencyHeader) }

// keyFaults says what is wrong with the idempotency key. It is opaque, and taken with
// the quotes that the draft puts around it as it is without.
func keyFaults(c echo.Context) []card.Fault {
	given := c.Request().Header.Values(idempotencyHeader)
	switch {
	case len(given) == 0:
		return nil
	case len(given) > 1:
		return []card.Fault{{Field: idempotencyHeader, Detail: "is there more than once"}}
	}
	if fault := card.TextFault(given[0], card.MaxText, true); fault != "" {
		return []card.Fault{{Field: idempotencyHeader, Detail: fault}}
	}
	return nil
}

// processID is the ID in the path. One that could not be of ours is as unknown as
// one that is not.
func processID(c echo.Context) (string, error) {
	id, err := parameter(c, "id")
	if err != nil {
		return "", err
	}
	if card.TextFault(id, card.MaxID, true) != "" {
		return "", refuse(string(unblock.ProcessUnknown), "There is no such unblock process of yours.")
	}
	return id, nil
}

// replyResponse shows the response, the one time.
func replyResponse(c echo.Context, a unblock.Answer) error {
	defer a.Response.Wipe()
	attempts, warnings := attemptsBody(a.Attempts)
	return reply(c, http.StatusOK, api.Response{
		Unblock: a.Process.ID, Response: a.Response.Hex(), Grouped: a.Response.Grouped(), Spoken: a.Response.Spoken(),
		Attempts: attempts, Warnings: warnings, Repeated: a.Repeated, Checks: names(a.Checks),
	})
}

func (s *Server) replyUnblock(c echo.Context, p unblock.Process) error {
	ctx, cancel := s.inTime(c)
	defer cancel()
	about, err := s.Directory.Card(ctx, p.Card)
	if err != nil {
		return storeFailed(err)
	}
	return reply(c, http.StatusOK, unblockBody(p, about))
}

func unblockBody(p unblock.Process, about card.Card) api.Unblock {
	body := api.Unblock{
		ID: p.ID, State: string(p.State), Outcome: string(p.Outcome), Operator: p.Operator, Reason: p.Reason,
		Client: p.Client, Delegation: string(p.Means), Ticket: p.Ticket, Verification: string(p.Verification), Override: p.Override,
		Approval: string(p.Approval), Verdict: p.Verdict, DecidedAt: moment(p.DecidedAt),
		StartedAt: p.StartedAt, ExpiresAt: p.ExpiresAt, AnsweredAt: moment(p.AnsweredAt), FinishedAt: moment(p.FinishedAt),
		Card: cardBody(about),
	}
	if p.Approver != nil {
		body.Approver = p.Approver.ID
	}
	return body
}

func attemptsBody(a unblock.Attempts) (body api.Attempts, warnings []string) {
	body = api.Attempts{Unconfirmed: a.Unconfirmed, Limit: a.Limit}
	if left, limited := a.Left(); limited {
		body.Left = &left
	}
	if warning := a.Warning(); warning != "" {
		warnings = append(warnings, warning)
	}
	return body, warnings
}

func names(checks []unblock.Check) []string {
	list := make([]string, len(checks))
	for i, check := range checks {
		list[i] = string(check)
	}
	return list
}
