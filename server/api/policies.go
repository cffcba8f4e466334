package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// PolicyText is one file of operator policies, in Cedar.
type PolicyText struct {
	Name string `json:"name"` // ends in .cedar
	Text string `json:"text"`
}

// PolicyVersion is a set of operator policies that is or was active. Of version 0,
// which is built in, nobody approved anything.
type PolicyVersion struct {
	Version     int          `json:"version"`
	Fingerprint string       `json:"fingerprint"`
	Note        string       `json:"note,omitempty"`
	Restores    *int         `json:"restores,omitempty"` // the version whose texts these are
	Proposal    string       `json:"proposal,omitempty"` // ID
	Proposer    string       `json:"proposer,omitempty"`
	Person      string       `json:"person,omitempty"`
	Approvals   []Approval   `json:"approvals"`
	ActivatedAt *time.Time   `json:"activated_at,omitempty"`
	Policies    []PolicyText `json:"policies,omitempty"` // not in lists
}

// PolicyVersions is a page of versions, the newest first. Next is the cursor of the
// page after.
type PolicyVersions struct {
	Versions []PolicyVersion `json:"versions"`
	Next     string          `json:"next,omitempty"`
}

// ActivePolicy is what the node that answers decides by.
type ActivePolicy struct {
	// Source is built-in, versions or directory. Of a directory there are no versions.
	Source    string    `json:"source"`
	Directory string    `json:"directory,omitempty"`
	Since     time.Time `json:"since"` // this node decides by it
	PolicyVersion
	Fault *PolicyFault `json:"fault,omitempty"`
}

// PolicyFault is why the node decides by other policies than it ought to.
type PolicyFault struct {
	What  string    `json:"what"` // a line for each fault
	Since time.Time `json:"since"`
}

// PolicyDiff is what changes from one set of policies to another, as a unified diff.
type PolicyDiff struct {
	From string `json:"from"`
	To   string `json:"to"`
	Diff string `json:"diff"` // empty where nothing changes
}

// ProposePolicies proposes policies in place of the active ones: the texts of the
// whole set, or the version whose texts are to hold again.
type ProposePolicies struct {
	Policies []PolicyText `json:"policies,omitempty"`
	Restores *int         `json:"restores,omitempty"`
	Note     string       `json:"note,omitempty"`
}

// PolicyProposal is a change of the operator policies on its way. Its texts are in the
// statement.
type PolicyProposal struct {
	Proposal
	Base        int    `json:"base"` // the version that it takes the place of
	Fingerprint string `json:"fingerprint"`
	Restores    *int   `json:"restores,omitempty"`
	Note        string `json:"note,omitempty"`
	Error       string `json:"error,omitempty"` // why it failed
}

// PolicyProposals is a page of proposals, the newest first.
type PolicyProposals struct {
	Proposals []PolicyProposal `json:"proposals"`
	Next      string           `json:"next,omitempty"`
}

// TryPolicies asks what policies would have decided on the last decisions.
type TryPolicies struct {
	Policies []PolicyText `json:"policies"`
	Last     int          `json:"last,omitempty"` // 1000 where it is not said
}

// DryRun is what policies would have decided. The counts are of decisions that would
// have gone another way.
type DryRun struct {
	Fingerprint string           `json:"fingerprint"`
	Decisions   int              `json:"decisions"` // that they were tried on
	Since       *time.Time       `json:"since,omitempty"`
	Denied      int              `json:"denied"`
	Permitted   int              `json:"permitted"`
	Asked       int              `json:"asked_for_approval"`
	Failed      int              `json:"failed"`
	Differences []PolicyOutcomes `json:"differences"`        // the newest first
	LeftOff     int              `json:"left_off,omitempty"` // differences that are not listed
}

// PolicyOutcomes is a decision as it was made and as it would have been.
type PolicyOutcomes struct {
	Sequence  int64         `json:"sequence"` // of the audit entry
	Time      time.Time     `json:"time"`
	Action    string        `json:"action"`
	Process   string        `json:"process,omitempty"`
	RequestID string        `json:"request_id,omitempty"`
	Card      string        `json:"card"`
	Operator  string        `json:"operator"`
	Before    PolicyOutcome `json:"before"`
	After     PolicyOutcome `json:"after"`
}

// PolicyOutcome is a decision of policies: permit, approval, deny or failure.
type PolicyOutcome struct {
	Outcome  string   `json:"outcome"`
	Approval string   `json:"approval,omitempty"` // the role of the second person
	Policies []string `json:"policies"`           // that decided
	Why      string   `json:"why,omitempty"`
}

// ActivePolicy is what the node that answers decides by.
func (c *Client) ActivePolicy(ctx context.Context) (ActivePolicy, error) {
	return call[ActivePolicy](ctx, c, http.MethodGet, "/v1/policy", nil)
}

// PolicyVersions gives one page of the versions, the newest first. Limit 0 leaves its
// length to the server.
func (c *Client) PolicyVersions(ctx context.Context, limit int, after string) (PolicyVersions, error) {
	return call[PolicyVersions](ctx, c, http.MethodGet, "/v1/policy/versions?"+pageQuery(limit, after).Encode(), nil)
}

// PolicyVersion finds a version; 0 is built in.
func (c *Client) PolicyVersion(ctx context.Context, number int) (PolicyVersion, error) {
	return call[PolicyVersion](ctx, c, http.MethodGet, fmt.Sprintf("/v1/policy/versions/%d", number), nil)
}

// PolicyDiff tells what changed from one version to another.
func (c *Client) PolicyDiff(ctx context.Context, from, to int) (PolicyDiff, error) {
	return call[PolicyDiff](ctx, c, http.MethodGet, fmt.Sprintf("/v1/policy/versions/%d/diff?from=%d", to, from), nil)
}

// PolicyProposalDiff tells what a proposal changes in what is active.
func (c *Client) PolicyProposalDiff(ctx context.Context, id string) (PolicyDiff, error) {
	return call[PolicyDiff](ctx, c, http.MethodGet, "/v1/policy-proposals/"+url.PathEscape(id)+"/diff", nil)
}

// ProposePolicies proposes policies in place of the active ones.
func (c *Client) ProposePolicies(ctx context.Context, p ProposePolicies) (PolicyProposal, error) {
	return call[PolicyProposal](ctx, c, http.MethodPost, "/v1/policy-proposals", p)
}

// PolicyProposals gives one page of the proposals, the newest first; state is "" for
// all.
func (c *Client) PolicyProposals(ctx context.Context, state string, limit int, after string) (PolicyProposals, error) {
	query := pageQuery(limit, after)
	if state != "" {
		query.Set("state", state)
	}
	return call[PolicyProposals](ctx, c, http.MethodGet, "/v1/policy-proposals?"+query.Encode(), nil)
}

// PolicyProposal finds a proposal by its ID.
func (c *Client) PolicyProposal(ctx context.Context, id string) (PolicyProposal, error) {
	return call[PolicyProposal](ctx, c, http.MethodGet, "/v1/policy-proposals/"+url.PathEscape(id), nil)
}

// ApprovePolicyProposal approves a proposal by the hash of its statement. Compute it
// from the statement that was looked at.
func (c *Client) ApprovePolicyProposal(ctx context.Context, id, hash string) (PolicyProposal, error) {
	return call[PolicyProposal](ctx, c, http.MethodPost, "/v1/policy-proposals/"+url.PathEscape(id)+"/approve", ApproveProposal{hash})
}

// RejectPolicyProposal ends a proposal.
func (c *Client) RejectPolicyProposal(ctx context.Context, id, reason string) (PolicyProposal, error) {
	return call[PolicyProposal](ctx, c, http.MethodPost, "/v1/policy-proposals/"+url.PathEscape(id)+"/reject", RejectProposal{reason})
}

// WithdrawPolicyProposal ends a proposal of the client's own.
func (c *Client) WithdrawPolicyProposal(ctx context.Context, id string) (PolicyProposal, error) {
	return call[PolicyProposal](ctx, c, http.MethodPost, "/v1/policy-proposals/"+url.PathEscape(id)+"/withdraw", nil)
}

// DryRun asks what policies would have decided on the last decisions.
func (c *Client) DryRun(ctx context.Context, t TryPolicies) (DryRun, error) {
	return call[DryRun](ctx, c, http.MethodPost, "/v1/policy/dry-run", t)
}
