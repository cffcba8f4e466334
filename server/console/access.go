package console

import (
	"net/http"
	"slices"

	"latchkey/identity"
)

// route is what the console answers, and whom. This table and places are all there is
// to who sees what.
type route struct {
	pattern string // as net/http's mux takes it
	roles   []identity.Role
	serve   func(visit)
}

// place is a page that the head of every page leads to, for those whom it is for.
type place struct {
	path  string
	name  string // the key of its name
	roles []identity.Role
	// count is how much there waits for somebody, nil where nothing does.
	count func(visit) int
}

// Whom pages are for.
func everybody() []identity.Role {
	return []identity.Role{identity.Operator, identity.Supervisor, identity.Administrator, identity.SecurityOfficer, identity.Auditor}
}

func desk() []identity.Role { return []identity.Role{identity.Operator, identity.Supervisor} }

func supervisors() []identity.Role { return []identity.Role{identity.Supervisor} }

func administrators() []identity.Role { return []identity.Role{identity.Administrator} }

// places lists the pages of the head, in their order.
func (s *console) places() []place {
	return []place{
		{Path, "nav.search", desk(), nil},
		{approvalsPath, "nav.approvals", supervisors(), s.waiting},
		{cardTypesPath, "nav.card-types", administrators(), nil},
		{profilesPath, "nav.profiles", administrators(), nil},
		{peoplePath, "nav.people", administrators(), nil},
	}
}

// routes lists every page. An operator who goes to the address of a form instead of
// sending it, or goes back to it, lands on the page that the form is on.
func (s *console) routes() []route {
	return []route{
		{"GET /console/{$}", everybody(), s.home},
		{"GET /console/cards/{serial}", desk(), s.card},
		{"GET /console/cards/{serial}/unblock", desk(), s.toCard},
		{"POST /console/cards/{serial}/unblock", desk(), s.start},
		{"GET /console/unblocks/{id}", desk(), s.process},
		{"GET /console/unblocks/{id}/challenge", desk(), s.toProcess},
		{"GET /console/unblocks/{id}/response", desk(), s.toProcess},
		{"GET /console/unblocks/{id}/complete", desk(), s.toProcess},
		{"GET /console/unblocks/{id}/cancel", desk(), s.toProcess},
		{"POST /console/unblocks/{id}/challenge", desk(), s.readBack},
		{"POST /console/unblocks/{id}/response", desk(), s.respond},
		{"POST /console/unblocks/{id}/complete", desk(), s.complete},
		{"POST /console/unblocks/{id}/cancel", desk(), s.cancel},
		{"GET /console/approvals", supervisors(), s.approvals},
		{"GET /console/approvals/{id}", supervisors(), func(v visit) { s.see(v, approvalsPath) }},
		{"POST /console/approvals/{id}", supervisors(), s.judge},

		{"GET /console/card-types", administrators(), s.cardTypes},
		{"GET /console/card-types/{id}", administrators(), s.cardType},
		{"GET /console/card-types/{id}/turn", administrators(), s.askToTurn},
		{"POST /console/card-types/{id}/turn", administrators(), s.turn},
		{"GET /console/profiles", administrators(), s.profiles},
		{"GET /console/people", administrators(), s.people},

		{Path, everybody(), s.nowhere},
	}
}

// is tells whether the person has one of the roles.
func (v visit) is(roles []identity.Role) bool {
	return v.caller.Operator != nil && slices.ContainsFunc(roles, func(r identity.Role) bool { return slices.Contains(v.caller.Operator.Roles, r) })
}

// home is the search for those who have it, and else the first page that they have.
func (s *console) home(v visit) {
	if v.is(desk()) {
		s.search(v)
		return
	}
	for _, p := range s.places() {
		if v.is(p.roles) {
			s.see(v, p.path)
			return
		}
	}
	s.tell(v, http.StatusForbidden, v.message("no-page"))
}

// menu lists the places that the person has, with how much waits there.
func (s *console) menu(v visit) []item {
	var list []item
	for _, p := range s.places() {
		if !v.is(p.roles) {
			continue
		}
		i := item{Path: p.path, Name: p.name, Here: v.r.URL.Path == p.path}
		if p.count != nil {
			i.Count = p.count(v)
		}
		list = append(list, i)
	}
	return list
}
