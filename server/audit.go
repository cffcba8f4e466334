package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/server/api"
	"latchkey/unblock"
)

// logged writes an entry about the audit log itself.
func (s *Server) logged(ctx context.Context, c echo.Context, action audit.Action, detail string) error {
	t := traceOf(c.Request().Context())
	e := audit.Entry{
		Time: s.Now(), Action: action, Outcome: audit.Permit, Detail: detail,
		Client: t.party.name, Address: t.address, RequestID: t.requestID,
	}
	if t.party.person != nil {
		e.Operator = t.party.person.ID
	}
	if err := s.Audit.Append(ctx, e); err != nil {
		return &refusal{code: string(unblock.AuditUnavailable), detail: "The audit entry could not be written, so nothing was given out. Try again later.", cause: err}
	}
	return nil
}

// signed has a checkpoint signed. Without one there is still the last.
func (s *Server) signed(ctx context.Context) {
	if err := s.Audit.Sign(ctx); err != nil {
		s.Logger.Warn("no checkpoint could be signed for an auditor", zap.Error(err))
	}
}

// exportAudit streams the log, with the entry of this very export in it.
func (s *Server) exportAudit(c echo.Context) error {
	from := int64(1)
	if text := c.QueryParam("from"); text != "" {
		var err error
		if from, err = strconv.ParseInt(text, 10, 64); err != nil || from < 1 {
			return invalid([]card.Fault{{Field: "from", Detail: "must be the number of an entry, from 1"}})
		}
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	head, err := s.Audit.Head(ctx)
	if err != nil {
		return storeFailed(err)
	}
	if from > head.Size+1 {
		return invalid([]card.Fault{{Field: "from", Detail: fmt.Sprintf("is beyond the end: there are %d entries", head.Size)}})
	}
	if err := s.logged(ctx, c, audit.AuditExport, fmt.Sprintf("from entry %d", from)); err != nil {
		return err
	}
	s.signed(ctx)
	c.Response().Header().Set("Content-Type", api.NDJSON)
	control := http.NewResponseController(c.Response())
	_, err = audit.Export(c.Request().Context(), patientWriter{c.Response(), control, s.times.patience}, s.Audit, from)
	return err
}

// patientWriter waits a while for each piece to be taken.
type patientWriter struct {
	http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration
}

func (w patientWriter) Write(b []byte) (int, error) {
	if err := w.control.SetWriteDeadline(time.Now().Add(w.patience)); err != nil {
		return 0, err
	}
	return w.ResponseWriter.Write(b)
}

func (s *Server) getAuditState(c echo.Context) error {
	ctx, cancel := s.inTime(c)
	defer cancel()
	head, err := s.Audit.Head(ctx)
	if err != nil {
		return storeFailed(err)
	}
	newest, err := s.Audit.Newest(ctx)
	if err != nil {
		return storeFailed(err)
	}
	sinks, err := s.Audit.Sinks(ctx)
	if err != nil {
		return storeFailed(err)
	}
	body := api.AuditState{
		Origin: head.Origin, Size: head.Size, Signed: newest.Size, Pruned: head.Pruned,
		Checkpoint: newest.Note, Sinks: make([]api.AuditSink, len(sinks)),
	}
	for i, k := range sinks {
		body.Sinks[i] = api.AuditSink{Name: k.Name, Sent: k.Sent, Lag: k.Lag, Error: k.Error, Since: k.Since}
	}
	return reply(c, http.StatusOK, body)
}

func (s *Server) proveAudit(c echo.Context) error {
	text, err := parameter(c, "sequence")
	if err != nil {
		return err
	}
	sequence, err := strconv.ParseInt(text, 10, 64)
	if err != nil || sequence < 1 {
		return refuse(codeEntryUnproved, "There is no entry of this number.")
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	if err := s.logged(ctx, c, audit.AuditExport, fmt.Sprintf("proof of entry %d", sequence)); err != nil {
		return err
	}
	s.signed(ctx)
	proof, err := audit.Prove(ctx, s.Audit, sequence)
	switch {
	case errors.Is(err, audit.ErrUnproved):
		return refuse(codeEntryUnproved, "There is no such entry, its body was pruned, or no checkpoint is over it.")
	case err != nil:
		return storeFailed(err)
	}
	return reply(c, http.StatusOK, api.AuditProof{Proof: proof})
}
