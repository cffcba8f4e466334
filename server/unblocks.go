package server

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"latchkey/card"
	"latchkey/server/api"
	"latchkey/unblock"
)

func (s *Server) startUnblock(c echo.Context) error {
	var body api.StartUnblock
	if err := read(c, &body); err != nil {
		return err
	}
	begin := unblock.Begin{Card: body.Card, Operator: body.Operator, Reason: body.Reason}
	if err := invalid(beginFaults("card", begin)); err != nil {
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
	begin := unblock.Begin{Card: serial, Operator: body.Operator, Reason: body.Reason}
	if err := invalid(beginFaults("serial", begin)); err != nil {
		return err
	}
	ctx, done := s.answering(c)
	defer done()
	answer, err := s.Desk.Respond(ctx, who(c), begin, unblock.Typed{Challenge: body.Challenge})
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
	ctx, done := s.answering(c)
	defer done()
	answer, err := s.Desk.Answer(ctx, who(c), id, unblock.Typed{Challenge: body.Challenge})
	if err != nil {
		return err
	}
	return replyResponse(c, answer)
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
	} {
		if fault := card.TextFault(f.value, f.limit, f.required); fault != "" {
			faults = append(faults, card.Fault{Field: f.field, Detail: fault})
		}
	}
	return faults
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
	return reply(c, http.StatusOK, api.Response{
		Unblock: a.Process.ID, Response: a.Response.Hex(), Grouped: a.Response.Grouped(), Spoken: a.Response.Spoken(),
		Checks: names(a.Checks),
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
	return api.Unblock{
		ID: p.ID, State: string(p.State), Outcome: string(p.Outcome), Operator: p.Operator, Reason: p.Reason,
		StartedAt: p.StartedAt, ExpiresAt: p.ExpiresAt, AnsweredAt: moment(p.AnsweredAt), FinishedAt: moment(p.FinishedAt),
		Card: cardBody(about),
	}
}

func names(checks []unblock.Check) []string {
	list := make([]string, len(checks))
	for i, check := range checks {
		list[i] = string(check)
	}
	return list
}
