package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/identity"
	"latchkey/server/api"
	"latchkey/store"
)

// Records keeps what administrators register of people, as *store.Store does. It
// gives card.ErrNotFound for what is not there.
type Records interface {
	PutOperator(ctx context.Context, r identity.Record, e audit.Entry) (store.Result, error)
	Operator(ctx context.Context, id string) (identity.Record, error)
	Operators(ctx context.Context, after string, limit int) (page []identity.Record, next string, err error)
}

// The states of a record as the API writes them.
const (
	stateActive   = "active"
	stateInactive = "inactive"
)

func (s *Server) listOperators(c echo.Context) error {
	values, limit, faults := pageOf(c.Request().URL.RawQuery, store.MaxOperators, "limit", "after")
	after := values.Get("after")
	if wrong := card.TextFault(after, card.MaxText, false); wrong != "" {
		faults = append(faults, card.Fault{Field: "after", Detail: wrong})
	}
	if err := invalid(faults); err != nil {
		return err
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	found, next, err := s.Records.Operators(ctx, after, limit)
	if err != nil {
		return storeFailed(err)
	}
	page := api.Operators{Operators: make([]api.Operator, len(found)), Next: next}
	for i, r := range found {
		page.Operators[i] = operatorBody(r)
	}
	return reply(c, http.StatusOK, page)
}

func (s *Server) getOperator(c echo.Context) error {
	id, err := parameter(c, "id")
	if err != nil {
		return err
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	found, err := s.Records.Operator(ctx, id)
	switch {
	case errors.Is(err, card.ErrNotFound):
		return refuse(codeRecordUnknown, "No operator is registered under this ID.")
	case err != nil:
		return storeFailed(err)
	}
	return reply(c, http.StatusOK, operatorBody(found))
}

func (s *Server) putOperator(c echo.Context) error {
	id, err := parameter(c, "id")
	if err != nil {
		return err
	}
	var body api.Operator
	if err := read(c, &body); err != nil {
		return err
	}
	caller := traceOf(c.Request().Context()).party
	record, faults := recordOf(id, body)
	if err := invalid(faults); err != nil {
		return err
	}
	record.UpdatedBy, record.UpdatedAt = caller.self(), s.Now()
	if err := mayPut(caller, record); err != nil {
		return err
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	result, err := s.Records.PutOperator(ctx, record, signed(who(c), audit.Entry{
		Time: record.UpdatedAt, Action: audit.OperatorPut, Outcome: audit.Permit,
		Subject: record.ID, Detail: describeRecord(record),
	}))
	switch {
	case errors.Is(err, store.ErrTokenTaken):
		return refuse(codeTokenTaken, "Another operator's record is tied to this token. Take it from that one first.")
	case err != nil:
		return storeFailed(err)
	}
	stored, err := s.Records.Operator(ctx, id)
	if err != nil {
		return storeFailed(err)
	}
	return reply(c, putStatus(result), operatorBody(stored))
}

// mayPut refuses what no administrator may do alone: to change what is registered
// of himself, or to hand out, without being a person, the roles by which others are
// kept in check. One who is no person could be handing them to himself.
func mayPut(caller *party, r identity.Record) error {
	if caller.self() == r.ID {
		return refuse(codeOwnRecord, "Nobody changes what is registered of himself.")
	}
	for _, role := range []identity.Role{identity.Administrator, identity.SecurityOfficer} {
		if caller.person == nil && r.Active && slices.Contains(r.Roles, role) {
			return refuse(codeGrant, fmt.Sprintf("Client %s is nobody's, and so puts no record that is active with the role %s.", caller.name, role))
		}
	}
	return nil
}

// recordOf reads a body, and lists what is wrong with it.
func recordOf(id string, b api.Operator) (identity.Record, []card.Fault) {
	var faults []card.Fault
	fault := func(field, detail string) { faults = append(faults, card.Fault{Field: field, Detail: detail}) }
	text := func(field, value string, required bool) {
		if wrong := card.TextFault(value, card.MaxText, required); wrong != "" {
			fault(field, wrong)
		}
	}
	text("id", id, true)
	if b.ID != "" && b.ID != id {
		fault("id", "is another one than in the path; leave it out")
	}
	text("name", b.Name, true)
	text("unit", b.Unit, false)
	text("email", b.Email, false)
	text("employee_number", b.EmployeeNumber, false)
	for _, g := range b.Groups {
		text("groups", g, true)
	}
	r := identity.Record{
		Person: identity.Person{ID: id, Name: b.Name, Groups: b.Groups, Unit: b.Unit, Email: b.Email, EmployeeNumber: b.EmployeeNumber},
		Active: b.State == stateActive,
	}
	for _, name := range b.Roles {
		role := identity.Role(name)
		switch {
		case role == identity.Backend:
			fault("roles", "backend is a client's role and no person's")
		case !slices.Contains(identity.Roles(), role):
			fault("roles", fmt.Sprintf("%q is not one of %s", brief(name), card.Join(identity.Roles())))
		case slices.Contains(r.Roles, role):
			fault("roles", fmt.Sprintf("%s is there twice", role))
		}
		r.Roles = append(r.Roles, role)
	}
	if b.Roles == nil {
		fault("roles", "is required; [] gives none")
	}
	if b.State != stateActive && b.State != stateInactive {
		fault("state", "must be active or inactive")
	}
	if t := b.Token; t != nil {
		text("token.issuer", t.Issuer, true)
		text("token.subject", t.Subject, true)
		r.Issuer, r.Subject = t.Issuer, t.Subject
	}
	return r, faults
}

// describeRecord tells the audit log what was registered.
func describeRecord(r identity.Record) string {
	text := "inactive"
	if r.Active {
		text = "active"
	}
	if len(r.Roles) == 0 {
		text += ", no role"
	} else {
		text += ", " + card.Join(r.Roles)
	}
	if len(r.Groups) != 0 {
		text += ", in " + strings.Join(r.Groups, ", ")
	}
	if r.Subject != "" {
		text += fmt.Sprintf(", token %s of %s", r.Subject, r.Issuer)
	}
	return text
}

func operatorBody(r identity.Record) api.Operator {
	b := api.Operator{
		ID: r.ID, Name: r.Name, Roles: make([]string, len(r.Roles)), Groups: r.Groups, Unit: r.Unit,
		Email: r.Email, EmployeeNumber: r.EmployeeNumber, State: stateInactive,
		UpdatedBy: r.UpdatedBy, UpdatedAt: r.UpdatedAt,
	}
	for i, role := range r.Roles {
		b.Roles[i] = string(role)
	}
	if r.Active {
		b.State = stateActive
	}
	if r.Subject != "" {
		b.Token = &api.OperatorToken{Issuer: r.Issuer, Subject: r.Subject}
	}
	return b
}
