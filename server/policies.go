package server

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"latchkey/card"
	"latchkey/policy"
	"latchkey/rulebook"
	"latchkey/server/api"
)

const (
	// maxPolicyBody is the most bytes of a body with policies: rulebook.MaxTexts, as
	// JSON may write them.
	maxPolicyBody = 4 * rulebook.MaxTexts
	// maxPolicyProposals is how many proposals a page has at most: each holds all texts.
	maxPolicyProposals = 20
	// maxPolicyVersions is how many versions a page has at most.
	maxPolicyVersions = 100
	// lastDecisions is how many decisions policies are tried on where nothing is said.
	lastDecisions = 1000
)

func (s *Server) getPolicy(c echo.Context) error {
	a := s.Rulebook.Active()
	body := api.ActivePolicy{Source: string(a.Origin), Directory: a.Directory, Since: a.Since, PolicyVersion: versionBody(a.Version)}
	if a.Fault != nil {
		body.Fault = (*api.PolicyFault)(a.Fault)
	}
	return reply(c, http.StatusOK, body)
}

func (s *Server) listPolicyVersions(c echo.Context) error {
	values, limit, faults := pageOf(c.Request().URL.RawQuery, maxPolicyVersions, "limit", "after")
	if err := invalid(faults); err != nil {
		return err
	}
	below := 0
	if values.Has("after") {
		var err error
		if below, err = strconv.Atoi(values.Get("after")); err != nil || below < 1 {
			return noSuchPage()
		}
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	found, err := s.Rulebook.Versions(ctx, below, limit)
	if err != nil {
		return err
	}
	page := api.PolicyVersions{Versions: make([]api.PolicyVersion, len(found))}
	for i, v := range found {
		page.Versions[i] = versionBody(v)
		page.Versions[i].Policies = nil
	}
	if n := len(found); n == limit && found[n-1].Number > 0 {
		page.Next = strconv.Itoa(found[n-1].Number)
	}
	return reply(c, http.StatusOK, page)
}

func versionBody(v rulebook.Version) api.PolicyVersion {
	return api.PolicyVersion{
		Version: v.Number, Fingerprint: v.Fingerprint, Note: v.Note, Restores: v.Restores, Proposal: v.Proposal,
		Proposer: v.Proposer, Person: v.Person, Approvals: approvals(v.Approved), ActivatedAt: moment(v.ActivatedAt), Policies: texts(v.Policies),
	}
}

func texts(sources []policy.Source) []api.PolicyText {
	list := make([]api.PolicyText, len(sources))
	for i, s := range sources {
		list[i] = api.PolicyText(s)
	}
	return list
}

func sources(texts []api.PolicyText) []policy.Source {
	list := make([]policy.Source, len(texts))
	for i, t := range texts {
		list[i] = policy.Source(t)
	}
	return list
}

func (s *Server) getPolicyVersion(c echo.Context) error {
	number, err := versionNumber(c.Param("version"))
	if err != nil {
		return err
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	v, err := s.Rulebook.Version(ctx, number)
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, versionBody(v))
}

// versionNumber reads a version's number. What could be none is as unknown as one that
// is not there.
func versionNumber(text string) (int, error) {
	number, err := strconv.Atoi(text)
	if err != nil || number < 0 {
		return 0, refuse(string(rulebook.PolicyVersionUnknown), "Versions of the operator policies are numbers, from 0.")
	}
	return number, nil
}

func (s *Server) getPolicyVersionDiff(c echo.Context) error {
	number, err := versionNumber(c.Param("version"))
	if err != nil {
		return err
	}
	values, _, faults := pageOf(c.Request().URL.RawQuery, 1, "from")
	if err := invalid(faults); err != nil {
		return err
	}
	before := max(0, number-1)
	if values.Has("from") {
		if before, err = versionNumber(values.Get("from")); err != nil {
			return err
		}
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	from, err := s.Rulebook.Version(ctx, before)
	if err != nil {
		return err
	}
	to, err := s.Rulebook.Version(ctx, number)
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, diffBody(from.Policies, to.Policies, fmt.Sprintf("version %d", before), fmt.Sprintf("version %d", number)))
}

func diffBody(from, to []policy.Source, fromName, toName string) api.PolicyDiff {
	return api.PolicyDiff{From: fromName, To: toName, Diff: rulebook.Diff(from, to, fromName, toName)}
}

func (s *Server) getPolicyProposalDiff(c echo.Context) error {
	id, err := proposalID(c)
	if err != nil {
		return err
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	p, err := s.Rulebook.Proposal(ctx, id)
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, diffBody(s.Rulebook.Active().Policies, p.Policies, "active", "proposal"))
}

func (s *Server) proposePolicies(c echo.Context) error {
	var body api.ProposePolicies
	if err := readUpTo(c, maxPolicyBody, &body); err != nil {
		return err
	}
	draft := rulebook.Draft{Policies: sources(body.Policies), Restores: body.Restores, Note: body.Note}
	if err := invalid(draft.Faults()); err != nil {
		return err
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	p, err := s.Rulebook.Propose(ctx, officer(c), draft)
	if err != nil {
		return faulty(err)
	}
	c.Response().Header().Set(echo.HeaderLocation, "/v1/policy-proposals/"+p.ID)
	return reply(c, http.StatusCreated, policyProposalBody(p))
}

// faulty tells the caller of every fault of policies, each with its place.
func faulty(err error) error {
	var faults policy.Faults
	if !errors.As(err, &faults) {
		return err
	}
	number := "1 fault"
	if len(faults) != 1 {
		number = fmt.Sprintf("%d faults", len(faults))
	}
	no := refuse(string(rulebook.PolicyInvalid), "The policies have "+number+". Each is told with its file, line and column.")
	for _, f := range faults {
		field := f.File
		if f.Line != 0 {
			field = fmt.Sprintf("%s:%d:%d", f.File, f.Line, f.Column)
		}
		no.faults = append(no.faults, card.Fault{Field: field, Detail: f.What})
	}
	return no
}

func (s *Server) listPolicyProposals(c echo.Context) error {
	q, err := proposalQuery(c, maxPolicyProposals)
	if err != nil {
		return err
	}
	q.Limit = min(q.Limit, maxPolicyProposals)
	ctx, cancel := s.inTime(c)
	defer cancel()
	found, next, err := s.Rulebook.Proposals(ctx, q)
	if err != nil {
		return paged(err)
	}
	page := api.PolicyProposals{Proposals: make([]api.PolicyProposal, len(found)), Next: next}
	for i, p := range found {
		page.Proposals[i] = policyProposalBody(p)
	}
	return reply(c, http.StatusOK, page)
}

func policyProposalBody(p rulebook.Proposal) api.PolicyProposal {
	return api.PolicyProposal{
		Proposal: proposed(p.Canonical(), p.Words(), p.Header, p.Progress),
		Base:     p.Base, Fingerprint: p.Fingerprint, Restores: p.Restores, Note: p.Note, Error: p.Error,
	}
}

func (s *Server) tryPolicies(c echo.Context) error {
	body := api.TryPolicies{Last: lastDecisions}
	if err := readUpTo(c, maxPolicyBody, &body); err != nil {
		return err
	}
	tried := sources(body.Policies)
	faults := rulebook.TextFaults(tried)
	if len(tried) == 0 {
		faults = append(faults, card.Fault{Field: "policies", Detail: "is required: the texts of the whole set"})
	}
	if body.Last < 1 || body.Last > rulebook.MaxDecisions {
		faults = append(faults, card.Fault{Field: "last", Detail: fmt.Sprintf("must be from 1 to %d", rulebook.MaxDecisions)})
	}
	if err := invalid(faults); err != nil {
		return err
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	run, err := s.Rulebook.DryRun(ctx, tried, body.Last)
	if err != nil {
		return faulty(err)
	}
	result := api.DryRun{
		Fingerprint: run.Fingerprint, Decisions: run.Decisions, Since: moment(run.Since),
		Denied: run.Denied, Permitted: run.Permitted, Asked: run.Asked, Failed: run.Failed,
		Differences: make([]api.PolicyOutcomes, len(run.Differences)),
		LeftOff:     run.Denied + run.Permitted + run.Asked + run.Failed - len(run.Differences),
	}
	for i, d := range run.Differences {
		result.Differences[i] = api.PolicyOutcomes{
			Sequence: d.Entry.Sequence, Time: d.Entry.Time, Action: string(d.Entry.Action), Process: d.Entry.Process, RequestID: d.Entry.RequestID,
			Card: d.Entry.Card, Operator: d.Entry.Operator, Before: outcomeBody(d.Before), After: outcomeBody(d.After),
		}
	}
	return reply(c, http.StatusOK, result)
}

func outcomeBody(v rulebook.Verdict) api.PolicyOutcome {
	return api.PolicyOutcome{
		Outcome: string(v.Outcome), Approval: string(v.Approval), Policies: append([]string{}, v.Policies...), Why: v.Why,
	}
}
