package server

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"latchkey/card"
	"latchkey/server/api"
	"latchkey/unblock"
)

func (s *Server) listApprovals(c echo.Context) error {
	ctx, cancel := s.inTime(c)
	defer cancel()
	waiting, err := s.Desk.Pending(ctx, who(c))
	if err != nil {
		return err
	}
	list := api.PendingUnblocks{Approvals: make([]api.PendingUnblock, len(waiting))}
	for i, p := range waiting {
		list.Approvals[i] = approvalBody(p)
	}
	return reply(c, http.StatusOK, list)
}

func (s *Server) approveUnblock(c echo.Context) error {
	var body api.ApproveUnblock
	id, err := verdict(c, &body, &body.Reason)
	if err != nil {
		return err
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	p, err := s.Desk.Approve(ctx, who(c), id, body.Statement, body.Reason)
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, approvalBody(p))
}

func (s *Server) refuseUnblock(c echo.Context) error {
	var body api.RefuseUnblock
	id, err := verdict(c, &body, &body.Reason)
	if err != nil {
		return err
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	p, err := s.Desk.Refuse(ctx, who(c), id, body.Reason)
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, approvalBody(p))
}

// verdict reads what a second person decides on which process. A verdict has a reason,
// which goes into the audit log.
func verdict(c echo.Context, body any, reason *string) (id string, err error) {
	if id, err = processID(c); err != nil {
		return "", err
	}
	if err := read(c, body); err != nil {
		return "", err
	}
	if fault := card.TextFault(*reason, card.MaxText, true); fault != "" {
		return "", invalid([]card.Fault{{Field: "reason", Detail: fault}})
	}
	return id, nil
}

func approvalBody(p unblock.Pending) api.PendingUnblock {
	return api.PendingUnblock{Unblock: unblockBody(p.Process, p.Card), Statement: p.Statement}
}
