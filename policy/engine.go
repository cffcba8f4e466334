package policy

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
)

// fingerprintLen is the length in bytes of a policy set's fingerprint: half of a
// SHA-256, which still takes 2^64 tries to find two sets for.
const fingerprintLen = 16

// Engine decides by one set of policies. It never changes, and it is safe for
// concurrent use.
type Engine struct {
	policies *cedar.PolicySet
	reasons  map[cedar.PolicyID]string
	// needed is what the set's permits ask for, in words.
	needed  string
	version string
}

// newEngine makes an Engine of policies that were found to be without faults.
func newEngine(policies []named) *Engine {
	policies = slices.SortedFunc(slices.Values(policies), func(a, b named) int { return cmp.Compare(a.id, b.id) })
	e := &Engine{policies: cedar.NewPolicySet(), reasons: make(map[cedar.PolicyID]string, len(policies))}
	text := sha256.New()
	var needed []string
	for _, p := range policies {
		e.policies.Add(p.id, p.policy)
		e.reasons[p.id] = p.reason
		if p.permits() {
			needed = append(needed, p.reason)
		}
		// Cedar's own formatting, so that neither comments nor layout nor the
		// spread over files count.
		text.Write(p.policy.MarshalCedar())
		text.Write([]byte("\n\n"))
	}
	e.needed = strings.Join(needed, " ")
	e.version = hex.EncodeToString(text.Sum(nil)[:fingerprintLen])
	return e
}

// Version is the fingerprint of the policy set: the first half, in hex, of the
// SHA-256 of its policies as Cedar formats them, ordered by @id.
func (e *Engine) Version() string { return e.version }

// Decide answers the request. An error means that there is no answer, which is to
// be taken for a no: a policy could not be evaluated, or the context has ended.
func (e *Engine) Decide(ctx context.Context, r Request) (Decision, error) {
	request, entities := translate(r)
	return e.decide(ctx, request, entities)
}

// View tells whether the operator may know of the card at all. Errors are those
// of Decide.
func (e *Engine) View(ctx context.Context, r ViewRequest) (Decision, error) {
	request, entities := translateView(r)
	return e.decide(ctx, request, entities)
}

func (e *Engine) decide(ctx context.Context, request cedar.Request, entities cedar.EntityMap) (Decision, error) {
	if err := ctx.Err(); err != nil {
		return Decision{}, fmt.Errorf("decide by policy: %w", err)
	}
	verdict, grounds := cedar.Authorize(e.policies, entities, request)
	if len(grounds.Errors) != 0 {
		// Another policy may have permitted or forbidden; what the broken one
		// would have said nobody knows.
		broken := slices.MinFunc(grounds.Errors, func(a, b cedar.DiagnosticError) int { return cmp.Compare(a.PolicyID, b.PolicyID) })
		return Decision{}, fmt.Errorf("policy %s at %s cannot be evaluated: %s", broken.PolicyID, place(broken.Position), broken.Message)
	}
	d := Decision{Allow: verdict == cedar.Allow, Version: e.version}
	for _, reason := range grounds.Reasons {
		d.Policies = append(d.Policies, string(reason.PolicyID))
	}
	slices.Sort(d.Policies)
	d.Why = e.why(d.Policies)
	return d, nil
}

// why joins the reasons of the policies that decided.
func (e *Engine) why(ids []string) string {
	if len(ids) == 0 {
		return strings.TrimSpace("No policy permits this. " + e.needed)
	}
	reasons := make([]string, len(ids))
	for i, id := range ids {
		reasons[i] = e.reasons[cedar.PolicyID(id)]
	}
	return strings.Join(slices.Compact(reasons), " ")
}
