package server

import (
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/registry"
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
		UpdatedBy: caller.Client,
	}
	var faults []card.Fault
	if body.ID != "" && body.ID != id {
		faults = append(faults, card.Fault{Field: "id", Detail: "is another one than in the path; leave it out"})
	}
	if body.UnblockRemote == nil {
		faults = append(faults, card.Fault{Field: "unblock_remote", Detail: "is required; {} switches the use case off in every state"})
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	types := registry.Types{Store: s.Directory, Profiles: s.Profiles, CardStates: s.CardStates}
	result, err := types.Put(ctx, t, signed(caller, audit.Entry{Time: s.Now()}), faults...)
	if err != nil {
		return err
	}
	stored, err := s.Directory.CardType(ctx, id)
	if err != nil {
		return storeFailed(err)
	}
	return reply(c, putStatus(result), typeBody(stored))
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
