package server

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/server/api"
)

func (s *Server) listCardTypes(c echo.Context) error {
	ctx, cancel := s.inTime(c)
	defer cancel()
	types, err := s.Directory.CardTypes(ctx)
	if err != nil {
		return storeFailed(err)
	}
	list := api.CardTypes{CardTypes: make([]api.CardType, len(types))}
	for i, t := range types {
		list.CardTypes[i] = typeBody(t)
	}
	return reply(c, http.StatusOK, list)
}

func (s *Server) getCardType(c echo.Context) error {
	id, err := parameter(c, "id")
	if err != nil {
		return err
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	t, err := s.Directory.CardType(ctx, id)
	switch {
	case errors.Is(err, card.ErrNotFound):
		return refuse(codeTypeUnknown, "No card type has this ID.")
	case err != nil:
		return storeFailed(err)
	}
	return reply(c, http.StatusOK, typeBody(t))
}

func (s *Server) putCardType(c echo.Context) error {
	id, err := parameter(c, "id")
	if err != nil {
		return err
	}
	var body api.CardType
	if err := read(c, &body); err != nil {
		return err
	}
	caller := who(c)
	t := card.Type{
		ID: id, Name: body.Name, Profile: body.Profile, UnblockRemote: body.UnblockRemote, UnblockSelf: body.UnblockSelf,
		UpdatedBy: caller.Client, UpdatedAt: s.Now(),
	}
	faults := t.Faults(s.CardStates)
	if body.ID != "" && body.ID != id {
		faults = append(faults, card.Fault{Field: "id", Detail: "is another one than in the path; leave it out"})
	}
	if body.UnblockRemote == nil {
		faults = append(faults, card.Fault{Field: "unblock_remote", Detail: "is required; {} switches the use case off in every state"})
	}
	if err := invalid(faults); err != nil {
		return err
	}
	if _, err := s.Profiles.Profile(t.Profile); err != nil {
		return refuse(codeProfileUnknown, fmt.Sprintf("No profile %s is configured.", t.Profile))
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	result, err := s.Directory.PutCardType(ctx, t, signed(caller, audit.Entry{
		Time: t.UpdatedAt, Action: audit.CardTypePut, Outcome: audit.Permit,
		CardType: t.ID, Profile: t.Profile, Detail: switches(t),
	}))
	if err != nil {
		return storeFailed(err)
	}
	stored, err := s.Directory.CardType(ctx, id)
	if err != nil {
		return storeFailed(err)
	}
	return reply(c, putStatus(result), typeBody(stored))
}

// switches tells the audit log where the use case is on, and self-service.
func switches(t card.Type) string {
	text := "unblock card remote is " + onFor(t.UnblockRemote)
	if self := onFor(t.UnblockSelf); self != "off" {
		text += "; unblock PIN offline is " + self
	}
	return text
}

func onFor(switches map[string]bool) string {
	var on []string
	for state, is := range switches {
		if is {
			on = append(on, state)
		}
	}
	if len(on) == 0 {
		return "off"
	}
	slices.Sort(on)
	return "on for " + strings.Join(on, ", ")
}

func typeBody(t card.Type) api.CardType {
	remote, self := t.UnblockRemote, t.UnblockSelf
	if remote == nil {
		remote = map[string]bool{}
	}
	if self == nil {
		self = map[string]bool{}
	}
	return api.CardType{
		ID: t.ID, Name: t.Name, Profile: t.Profile, UnblockRemote: remote, UnblockSelf: self,
		UpdatedBy: t.UpdatedBy, UpdatedAt: t.UpdatedAt,
	}
}
