package server

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"latchkey/card"
	"latchkey/dualcontrol"
	"latchkey/server/api"
)

// Proposals is what a room under dual control does with what was proposed in it.
type Proposals[P any] interface {
	Approve(ctx context.Context, who dualcontrol.Officer, id, hash string) (P, error)
	Reject(ctx context.Context, who dualcontrol.Officer, id, reason string) (P, error)
	Withdraw(ctx context.Context, who dualcontrol.Officer, id string) (P, error)
	Proposal(ctx context.Context, id string) (P, error)
	Proposals(ctx context.Context, q dualcontrol.Query) (page []P, next string, err error)
}

// proposals answers the routes by which officers decide on what was proposed in a
// room.
type proposals[P any] struct {
	*Server
	room Proposals[P]
	body func(c echo.Context, p P) any
}

func (s proposals[P]) get(c echo.Context) error {
	id, err := proposalID(c)
	if err != nil {
		return err
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	p, err := s.room.Proposal(ctx, id)
	return s.tell(c, p, err)
}

func (s proposals[P]) approve(c echo.Context) error {
	id, err := proposalID(c)
	if err != nil {
		return err
	}
	var body api.ApproveProposal
	if err := read(c, &body); err != nil {
		return err
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	p, err := s.room.Approve(ctx, officer(c), id, body.Hash)
	return s.tell(c, p, err)
}

func (s proposals[P]) reject(c echo.Context) error {
	id, reason, err := rejection(c)
	if err != nil {
		return err
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	p, err := s.room.Reject(ctx, officer(c), id, reason)
	return s.tell(c, p, err)
}

func (s proposals[P]) withdraw(c echo.Context) error {
	id, err := proposalID(c)
	if err != nil {
		return err
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	p, err := s.room.Withdraw(ctx, officer(c), id)
	return s.tell(c, p, err)
}

func (s proposals[P]) tell(c echo.Context, p P, err error) error {
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, s.body(c, p))
}

// proposalQuery reads which proposals are to be listed.
func proposalQuery(c echo.Context, most int) (dualcontrol.Query, error) {
	values, limit, faults := pageOf(c.Request().URL.RawQuery, most, "state", "limit", "after")
	state := dualcontrol.State(values.Get("state"))
	if values.Has("state") && !slices.Contains(dualcontrol.States(), state) {
		faults = append(faults, card.Fault{Field: "state", Detail: fmt.Sprintf("is not one of %s", card.Join(dualcontrol.States()))})
	}
	return dualcontrol.Query{State: state, Limit: limit, After: values.Get("after")}, invalid(faults)
}

// rejection reads which proposal is rejected, and why.
func rejection(c echo.Context) (id, reason string, err error) {
	if id, err = proposalID(c); err != nil {
		return "", "", err
	}
	var body api.RejectProposal
	if err := read(c, &body); err != nil {
		return "", "", err
	}
	if fault := card.TextFault(body.Reason, card.MaxText, false); fault != "" {
		return "", "", invalid([]card.Fault{{Field: "reason", Detail: fault}})
	}
	return id, body.Reason, nil
}

// proposalID is the ID in the path. One that could not be of ours is as unknown as
// one that is not.
func proposalID(c echo.Context) (string, error) {
	id, err := parameter(c, "id")
	if err != nil {
		return "", err
	}
	if card.TextFault(id, card.MaxID, true) != "" {
		return "", refuse(string(dualcontrol.ProposalUnknown), "There is no such proposal.")
	}
	return id, nil
}
