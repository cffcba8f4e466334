package server

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"latchkey/custody"
	"latchkey/identity"
	"latchkey/rulebook"
	"latchkey/trust"
	"latchkey/unblock"
)

// route is one operation of openapi.yaml: its path as it stands there, and which
// roles may call it; none means anybody.
type route struct {
	method, path string
	handle       echo.HandlerFunc
	roles        []identity.Role
}

// routes is everything that can be called, and by whom.
func (s *Server) routes() []route {
	var (
		desk     = []identity.Role{identity.Backend, identity.Operator, identity.Supervisor}
		judges   = []identity.Role{identity.Operator, identity.Supervisor, identity.Administrator, identity.SecurityOfficer} // policies name the one
		readers  = []identity.Role{identity.Backend, identity.Operator, identity.Supervisor, identity.Administrator}
		writers  = []identity.Role{identity.Backend, identity.Administrator}
		admins   = []identity.Role{identity.Administrator}
		officers = []identity.Role{identity.SecurityOfficer}
		auditors = []identity.Role{identity.Auditor}
		watchers = []identity.Role{identity.SecurityOfficer, identity.Auditor}
		everyone = []identity.Role{identity.Backend, identity.Operator, identity.Supervisor, identity.Administrator, identity.SecurityOfficer, identity.Auditor}
	)
	keys := proposals[custody.Proposal]{s, s.Custody, func(c echo.Context, p custody.Proposal) any { return proposalBody(c, p) }}
	rules := proposals[rulebook.Proposal]{s, s.Rulebook, func(_ echo.Context, p rulebook.Proposal) any { return policyProposalBody(p) }}
	return []route{
		{http.MethodPost, "/v1/unblocks", s.startUnblock, desk},
		{http.MethodGet, "/v1/unblocks/{id}", s.getUnblock, desk},
		{http.MethodPost, "/v1/unblocks/{id}/response", s.answerUnblock, desk},
		{http.MethodPost, "/v1/unblocks/{id}/complete", s.completeUnblock, desk},
		{http.MethodPost, "/v1/unblocks/{id}/cancel", s.cancelUnblock, desk},
		{http.MethodPost, "/v1/unblocks/{id}/read-back", s.readBack, desk},
		{http.MethodPost, "/v1/unblocks/{id}/approve", s.approveUnblock, judges},
		{http.MethodPost, "/v1/unblocks/{id}/refuse", s.refuseUnblock, judges},
		{http.MethodGet, "/v1/approvals", s.listApprovals, judges},
		{http.MethodPost, "/v1/cards/{serial}/response", s.respond, desk},

		{http.MethodGet, "/v1/cards", s.findCards, readers},
		{http.MethodGet, "/v1/cards/{serial}", s.getCard, readers},
		{http.MethodPut, "/v1/cards/{serial}", s.putCard, writers},
		{http.MethodPost, "/v1/cards:import", s.importCards, writers},
		{http.MethodPost, "/v1/cards:import-keys", s.importKeys, writers},
		{http.MethodGet, "/v1/card-syncs", s.listSyncs, writers},
		{http.MethodPost, "/v1/card-syncs", s.beginSync, writers},
		{http.MethodGet, "/v1/card-syncs/{id}", s.getSync, writers},

		{http.MethodGet, "/v1/card-types", s.listCardTypes, everyone},
		{http.MethodGet, "/v1/card-types/{id}", s.getCardType, everyone},
		{http.MethodPut, "/v1/card-types/{id}", s.putCardType, admins},

		{http.MethodGet, "/v1/operators", s.listOperators, admins},
		{http.MethodGet, "/v1/operators/{id}", s.getOperator, admins},
		{http.MethodPut, "/v1/operators/{id}", s.putOperator, admins},

		{http.MethodGet, "/v1/keys", s.listKeys, watchers},
		{http.MethodGet, "/v1/keys/{label}/plan", s.getKeyPlan, watchers},
		{http.MethodGet, "/v1/keys/{label}/{version}/cards", s.listAffectedCards, watchers},
		{http.MethodGet, "/v1/key-proposals", s.listProposals, watchers},
		{http.MethodPost, "/v1/key-proposals", s.propose, officers},
		{http.MethodGet, "/v1/key-proposals/{id}", keys.get, watchers},
		{http.MethodPost, "/v1/key-proposals/{id}/approve", keys.approve, officers},
		{http.MethodPost, "/v1/key-proposals/{id}/reject", keys.reject, officers},
		{http.MethodPost, "/v1/key-proposals/{id}/withdraw", keys.withdraw, officers},
		{http.MethodGet, "/v1/transport-key", s.getTransportKey, officers},

		{http.MethodGet, "/v1/policy", s.getPolicy, watchers},
		{http.MethodGet, "/v1/policy/versions", s.listPolicyVersions, watchers},
		{http.MethodGet, "/v1/policy/versions/{version}", s.getPolicyVersion, watchers},
		{http.MethodGet, "/v1/policy/versions/{version}/diff", s.getPolicyVersionDiff, watchers},
		{http.MethodPost, "/v1/policy/dry-run", s.tryPolicies, watchers},
		{http.MethodGet, "/v1/policy-proposals", s.listPolicyProposals, watchers},
		{http.MethodPost, "/v1/policy-proposals", s.proposePolicies, officers},
		{http.MethodGet, "/v1/policy-proposals/{id}", rules.get, watchers},
		{http.MethodGet, "/v1/policy-proposals/{id}/diff", s.getPolicyProposalDiff, watchers},
		{http.MethodPost, "/v1/policy-proposals/{id}/approve", rules.approve, officers},
		{http.MethodPost, "/v1/policy-proposals/{id}/reject", rules.reject, officers},
		{http.MethodPost, "/v1/policy-proposals/{id}/withdraw", rules.withdraw, officers},

		{http.MethodGet, "/v1/audit", s.exportAudit, auditors},
		{http.MethodGet, "/v1/audit/state", s.getAuditState, watchers},
		{http.MethodGet, "/v1/audit/{sequence}/proof", s.proveAudit, auditors},

		{http.MethodGet, "/healthz", s.getHealth, nil},
		{http.MethodGet, "/readyz", s.getReadiness, nil},
		{http.MethodGet, "/openapi.yaml", s.getOpenAPI, nil},
		{http.MethodGet, "/problems/{code}", s.getProblem, nil},
	}
}

// handler puts the routes behind what every request goes through.
func (s *Server) handler() http.Handler {
	e := echo.New()
	// X-Forwarded-For is text that anybody can send; the connection is not.
	e.IPExtractor = echo.ExtractIPDirect()
	e.Pre(s.traced)
	for _, r := range s.routes() {
		e.Add(r.method, pattern(r.path), s.guarded(r))
	}
	if s.Console != nil {
		e.Any(consolePath+"*", s.console)
		e.GET("/", func(c echo.Context) error { return c.Redirect(http.StatusSeeOther, consolePath) })
	}
	return e
}

// pattern is a path of openapi.yaml as echo writes it.
func pattern(path string) string {
	return strings.NewReplacer(":", `\:`, "{", ":", "}", "").Replace(path)
}

// guarded runs, in this order and before the body is looked at: who calls, not
// too often, not for another site's page, with a role that may, and not more than
// the server can do in time.
func (s *Server) guarded(r route) echo.HandlerFunc {
	return func(c echo.Context) error {
		t := traceOf(c.Request().Context())
		t.route = r.path
		if len(r.roles) == 0 {
			return r.handle(c)
		}
		if err := s.admit(c, t); err != nil {
			return err
		}
		if fromElsewhere(c.Request()) {
			return refuse(codeCrossSite, "A browser sent this for a page of another site. Nothing was done.")
		}
		if !t.party.may(r.roles) {
			return refuse(codeRole, fmt.Sprintf("Client %s may not do this. It takes %s.", t.party.name, roleNames(r.roles)))
		}
		return shed(c, s.work, r.handle)
	}
}

// fromElsewhere tells whether a browser says that a page of another site makes it
// send this. The browser adds the client certificate all the same, and not every
// call has a body whose type such a page could not choose.
func fromElsewhere(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site != "same-origin" && site != "none"
	}
	return http.NewCrossOriginProtection().Check(r) != nil
}

// admit finds out who calls and counts the call.
func (s *Server) admit(c echo.Context, t *trace) error {
	var err error
	if t.party, err = s.authenticate(c.Request()); err != nil {
		return err
	}
	return s.count(c, t)
}

// count counts a call of whoever is known to call.
func (s *Server) count(c echo.Context, t *trace) error {
	s.spanned(c, t)
	turn := t.party.calls.ReserveN(s.Now(), 1)
	wait := turn.DelayFrom(s.Now())
	if wait <= 0 {
		return nil
	}
	turn.CancelAt(s.Now())
	seconds := max(1, math.Ceil(wait.Seconds()))
	c.Response().Header().Set("Retry-After", fmt.Sprintf("%.0f", seconds))
	return refuse(codeRate, fmt.Sprintf("Client %s calls too often. Wait %.0f s, then try again.", t.party.name, seconds))
}

// consolePath is where the console is mounted.
const consolePath = "/console/"

// console hands a request on to the console, which tells a browser in its own
// words if the caller is not known or is no operator. A certificate of a client
// comes before a session.
func (s *Server) console(c echo.Context) error {
	t := traceOf(c.Request().Context())
	t.route = consolePath + "*"
	switch _, err := s.identify(c.Request()); {
	case errors.As(err, new(*trust.Error)):
		return err
	case err == nil:
		if err := s.admit(c, t); err != nil {
			return err
		}
	case s.Sessions != nil:
		if err := s.admitSession(c, t); err != nil {
			return err
		}
	}
	if t.party != nil && t.party.person != nil && !MayUseConsole(*t.party.person) {
		return refuse(codeRole, fmt.Sprintf("The console takes %s.", roleNames(consoleRoles())))
	}
	return shed(c, s.pages, func(c echo.Context) error {
		s.Console.ServeHTTP(c.Response(), c.Request())
		return nil
	})
}

// consoleRoles are those that a person can have: the console tells each which of its
// pages are theirs.
func consoleRoles() []identity.Role {
	return slices.DeleteFunc(identity.Roles(), func(r identity.Role) bool { return r == identity.Backend })
}

// MayUseConsole tells whether the console is for this person.
func MayUseConsole(p identity.Person) bool {
	return slices.ContainsFunc(consoleRoles(), func(r identity.Role) bool { return slices.Contains(p.Roles, r) })
}

func roleNames(roles []identity.Role) string {
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = string(r)
	}
	if len(names) == 1 {
		return "the role " + names[0]
	}
	return "one of the roles " + strings.Join(names, ", ")
}

// inTime bounds the work on a request whose body was read.
func (s *Server) inTime(c echo.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.Request().Context(), s.times.answer)
}

// answering is inTime for the work on an answer; done tells the gate how long it
// took.
func (s *Server) answering(c echo.Context) (ctx context.Context, done func()) {
	began := s.Now()
	ctx, cancel := s.inTime(c)
	return ctx, func() {
		cancel()
		s.work.answered(s.Now().Sub(began))
	}
}

// who is the authenticated caller.
func who(c echo.Context) unblock.Caller { return traceOf(c.Request().Context()).caller() }

// parameter is a path parameter, decoded once.
func parameter(c echo.Context, name string) (string, error) {
	value, err := url.PathUnescape(c.Param(name))
	if err != nil {
		return "", refuse(codeRoute, "The path is not percent-encoded as it should be.")
	}
	return value, nil
}
