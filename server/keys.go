package server

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/card"
	"latchkey/custody"
	"latchkey/dualcontrol"
	"latchkey/identity"
	"latchkey/server/api"
	"latchkey/store"
)

// officer is the authenticated caller as dual control knows it.
func officer(c echo.Context) dualcontrol.Officer {
	t := traceOf(c.Request().Context())
	who := dualcontrol.Officer{Client: t.party.name, Address: t.address, RequestID: t.requestID}
	if t.party.person != nil {
		who.Person, who.Means = t.party.person.ID, t.party.means
	}
	return who
}

func (s *Server) listKeys(c echo.Context) error {
	ctx, cancel := s.inTime(c)
	defer cancel()
	items, err := s.Custody.Inventory(ctx)
	if err != nil {
		return err
	}
	body := api.Keys{Keys: make([]api.Key, len(items))}
	for i, item := range items {
		body.Keys[i] = keyBody(item)
	}
	return reply(c, http.StatusOK, body)
}

func keyBody(i custody.Item) api.Key {
	k := api.Key{
		Label: i.Key, Version: i.Version, State: string(i.State), Registered: i.Registered, Current: i.Current,
		InToken: len(i.InToken) != 0, Type: string(i.Record.Type), Use: string(i.Record.Use), KCV: kcvBodies(i.KCV()),
		Attributes: []string{}, Grade: string(i.Grade), Remarks: append([]string{}, i.Remarks...), Cards: i.Cards,
		Proposal: i.Record.Proposal, ChangedAt: moment(i.Record.ChangedAt),
	}
	if len(i.InToken) == 1 {
		in := i.InToken[0]
		k.Type, k.Use = string(in.Type), string(in.Use)
		for _, a := range []struct {
			name string
			is   bool
		}{
			{"extractable", in.Extractable}, {"never-extractable", in.NeverExtractable},
			{"sensitive", in.Sensitive}, {"always-sensitive", in.AlwaysSensitive}, {"generated-in-token", in.Local},
		} {
			if a.is {
				k.Attributes = append(k.Attributes, a.name)
			}
		}
	}
	return k
}

func kcvBodies(list []custody.KCV) []api.KCV {
	bodies := make([]api.KCV, len(list))
	for i, v := range list {
		bodies[i] = api.KCV{Convention: string(v.Convention), Value: v.Value}
	}
	return bodies
}

func (s *Server) getKeyPlan(c echo.Context) error {
	label, err := parameter(c, "label")
	if err != nil {
		return err
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	plan, err := s.Custody.Plan(ctx, label)
	if err != nil {
		return err
	}
	body := api.KeyPlan{Label: plan.Key, Left: plan.Left, Versions: make([]api.KeyPlanVersion, len(plan.Versions))}
	for i, v := range plan.Versions {
		body.Versions[i] = api.KeyPlanVersion{
			Version: v.Version, State: string(v.State), Current: v.Current, Cards: v.Cards, ByType: make(map[string]int),
		}
		for _, g := range v.ByType {
			body.Versions[i].ByType[g.Type] += g.Cards
		}
	}
	return reply(c, http.StatusOK, body)
}

func (s *Server) listAffectedCards(c echo.Context) error {
	label, err := parameter(c, "label")
	if err != nil {
		return err
	}
	version, err := strconv.Atoi(c.Param("version"))
	if err != nil || version < 1 || version > card.MaxKeyVersion {
		return invalid([]card.Fault{{Field: "version", Detail: fmt.Sprintf("must be from 1 to %d", card.MaxKeyVersion)}})
	}
	values, limit, faults := pageOf(c.Request().URL.RawQuery, custody.MaxAffected, "limit", "after")
	if err := invalid(faults); err != nil {
		return err
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	cards, next, err := s.Custody.Affected(ctx, label, version, values.Get("after"), limit)
	if err != nil {
		return paged(err)
	}
	page := api.Cards{Cards: make([]api.Card, len(cards)), Next: next}
	for i, found := range cards {
		page.Cards[i] = cardBody(found)
	}
	return reply(c, http.StatusOK, page)
}

// paged tells the caller of a cursor that is none.
func paged(err error) error {
	if errors.Is(err, dualcontrol.ErrQuery) {
		return noSuchPage()
	}
	return err
}

func (s *Server) propose(c echo.Context) error {
	var body api.Propose
	if err := read(c, &body); err != nil {
		return err
	}
	p := body.Parameters
	draft := custody.Draft{Act: custody.Act(body.Act), Parameters: custody.Parameters{
		Key: p.Key, Version: p.Version, Reason: p.Reason, Type: card.KeyType(p.Type), Use: custody.Use(p.Use), KCV: p.KCV,
		Wrapped: p.Wrapped, Under: p.Under, UnderVersion: p.UnderVersion, Wrapping: card.Wrapping(p.Wrapping), BackupKey: p.BackupKey,
	}}
	if err := invalid(draft.Faults()); err != nil {
		return err
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	proposal, err := s.Custody.Propose(ctx, officer(c), draft)
	if err != nil {
		return err
	}
	c.Response().Header().Set(echo.HeaderLocation, "/v1/key-proposals/"+proposal.ID)
	return reply(c, http.StatusCreated, proposalBody(c, proposal))
}

func (s *Server) listProposals(c echo.Context) error {
	q, err := proposalQuery(c, store.MaxCards)
	if err != nil {
		return err
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	found, next, err := s.Custody.Proposals(ctx, q)
	if err != nil {
		return paged(err)
	}
	page := api.KeyProposals{Proposals: make([]api.KeyProposal, len(found)), Next: next}
	for i, p := range found {
		page.Proposals[i] = proposalBody(c, p)
	}
	return reply(c, http.StatusOK, page)
}

func (s *Server) getTransportKey(c echo.Context) error {
	ctx, cancel := s.inTime(c)
	defer cancel()
	key, err := s.Custody.TransportKey(ctx, officer(c))
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public)
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, api.TransportKey{
		PublicKey:   string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		Fingerprint: key.Fingerprint,
	})
}

func proposalBody(c echo.Context, p custody.Proposal) api.KeyProposal {
	body := api.KeyProposal{
		Proposal: proposed(p.Canonical(), p.Words(), p.Header, p.Progress),
		Act:      string(p.Act), Key: p.Parameters.Key, Version: p.Parameters.Version,
	}
	switch p.State {
	case dualcontrol.Executed, dualcontrol.Failed, dualcontrol.Unknown:
		body.Result = &api.KeyResult{KCV: kcvBodies(p.Result.KCV), BackupUnder: p.Result.BackupUnder, Error: p.Result.Error}
		if traceOf(c.Request().Context()).party.may([]identity.Role{identity.SecurityOfficer}) {
			body.Result.Backup = p.Result.Backup
		}
	case dualcontrol.Open, dualcontrol.Executing, dualcontrol.Rejected, dualcontrol.Withdrawn, dualcontrol.Expired:
	}
	return body
}

// proposed is the part of a proposal's body that every kind has.
func proposed(statement, words string, h dualcontrol.Header, p dualcontrol.Progress) api.Proposal {
	return api.Proposal{
		ID: h.ID, Statement: statement, Hash: dualcontrol.Hash(statement), Words: words, State: string(p.State),
		Proposer: h.Proposer, Person: h.Person, CreatedAt: h.CreatedAt, ExpiresAt: h.ExpiresAt, Wanted: p.Wanted,
		Approvals: approvals(p.Approved), EndedBy: p.EndedBy, Reason: p.EndReason, EndedAt: moment(p.EndedAt),
	}
}

func approvals(list []dualcontrol.Approval) []api.Approval {
	bodies := make([]api.Approval, len(list))
	for i, a := range list {
		bodies[i] = api.Approval(a)
	}
	return bodies
}

// moment is a time, or nil for none.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
