package policy

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"

	"latchkey/identity"
)

// fingerprintLen is the length in bytes of a policy set's fingerprint: half of a
// SHA-256, which still takes 2^64 tries to find two sets for.
const fingerprintLen = 16

// Engine decides by one set of policies. It never changes, and it is safe for
// concurrent use.
type Engine struct {
	policies            []named // all of them, by their IDs
	unblock, self, view rulings
	version             string
}

// rulings are the policies that take an action in, by their IDs.
type rulings struct {
	policies []named
	// needed is what the permits ask for, in words.
	needed string
	// words are the attributes that are asked for.
	words words
}

// All implements cedar.PolicyIterator.
func (r rulings) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for _, p := range r.policies {
			if !yield(p.id, p.policy) {
				return
			}
		}
	}
}

// find is the policy with the ID, which is there.
func (r rulings) find(id cedar.PolicyID) named {
	i, _ := slices.BinarySearchFunc(r.policies, id, func(p named, id cedar.PolicyID) int { return cmp.Compare(p.id, id) })
	return r.policies[i]
}

// newEngine makes an Engine of policies that were found to be without faults.
func newEngine(policies []named) *Engine {
	e := &Engine{policies: slices.SortedFunc(slices.Values(policies), func(a, b named) int { return cmp.Compare(a.id, b.id) })}
	e.unblock, e.self, e.view = e.rulings(unblockAction()), e.rulings(selfAction()), e.rulings(viewAction())
	text := sha256.New()
	for _, p := range e.policies {
		// Cedar's own formatting, so that neither comments nor layout nor the
		// spread over files count.
		text.Write(p.policy.MarshalCedar())
		text.Write([]byte("\n\n"))
	}
	e.version = hex.EncodeToString(text.Sum(nil)[:fingerprintLen])
	return e
}

func (e *Engine) rulings(action cedar.EntityUID) rulings {
	var r rulings
	var needed []string
	for _, p := range e.policies {
		if !p.applies(action) {
			continue
		}
		r.policies = append(r.policies, p)
		if p.permits() {
			needed = append(needed, p.reason)
		}
	}
	r.needed = strings.Join(needed, " ")
	r.words = asked(r.policies)
	return r
}

// Policy is what one policy of a set says of itself.
type Policy struct {
	ID      string `json:"id"`
	Permits bool   `json:"permits"`
	Reason  string `json:"reason"`
	// Approval is the role whose approval satisfies it, where one does.
	Approval identity.Role `json:"approval,omitempty"`
	// Actions are those of unblock, unblock-self and view that it is about.
	Actions []string `json:"actions"`
	// File and Line are where it begins.
	File string `json:"file"`
	Line int    `json:"line"`
	// Text is the policy as Cedar formats it.
	Text string `json:"text"`
}

// Policies lists the set's policies by their IDs.
func (e *Engine) Policies() []Policy {
	list := make([]Policy, len(e.policies))
	for i, p := range e.policies {
		place := p.policy.Position()
		list[i] = Policy{
			ID: string(p.id), Permits: p.permits(), Reason: p.reason, Approval: p.approval,
			File: place.Filename, Line: place.Line, Text: string(p.policy.MarshalCedar()),
		}
		for _, action := range actions() {
			if p.applies(action) {
				list[i].Actions = append(list[i].Actions, string(action.ID))
			}
		}
	}
	return list
}

// Version is the fingerprint of the policy set: the first half, in hex, of the
// SHA-256 of its policies as Cedar formats them, ordered by @id.
func (e *Engine) Version() string { return e.version }

// Decide tells whether the operator may unblock the card now, or the holder his own. An error means that
// there is no answer, which is to be taken for a no: a policy could not be evaluated,
// the time is not given, or the context has ended.
func (e *Engine) Decide(ctx context.Context, r Request) (Decision, error) {
	if r.Now.IsZero() {
		return Decision{}, errors.New("decide by policy: the request has no time")
	}
	rulings := e.unblock
	if r.Self {
		rulings = e.self
	}
	request, found := rulings.words.translate(r)
	d, err := e.decide(ctx, rulings, request, found)
	d.Counts = err == nil && rulings.words.has("unconfirmed")
	if r.Approver != nil || r.Self {
		d.Approval = "" // what one approval does not satisfy, another will not; holders ask for none
	}
	return d, err
}

// View tells whether the operator may know of the card at all. Errors are those of
// Decide.
func (e *Engine) View(ctx context.Context, r ViewRequest) (Decision, error) {
	request, found := e.view.words.translateView(r)
	return e.decide(ctx, e.view, request, found)
}

func (e *Engine) decide(ctx context.Context, r rulings, request cedar.Request, found *entities) (Decision, error) {
	if err := ctx.Err(); err != nil {
		return Decision{}, fmt.Errorf("decide by policy: %w", err)
	}
	verdict, grounds := cedar.Authorize(r, found, request)
	if len(grounds.Errors) != 0 {
		// Another policy may have permitted or forbidden; what the broken one
		// would have said nobody knows.
		broken := grounds.Errors[0]
		return Decision{}, fmt.Errorf("policy %s at %s:%d cannot be evaluated: %s",
			broken.PolicyID, broken.Position.Filename, broken.Position.Line, broken.Message)
	}
	d := Decision{Allow: verdict == cedar.Allow, Version: e.version}
	if len(grounds.Reasons) == 0 {
		d.Why = strings.TrimSpace("No policy permits this. " + r.needed)
		return d, nil
	}
	d.Policies = make([]string, len(grounds.Reasons))
	reasons := make([]string, len(grounds.Reasons))
	for i, ground := range grounds.Reasons {
		p := r.find(ground.PolicyID)
		d.Policies[i], reasons[i] = string(p.id), p.reason
		if i == 0 {
			d.Approval = p.approval
		} else if d.Approval != p.approval {
			d.Approval = "" // nobody's approval satisfies all of them
		}
	}
	d.Why = strings.Join(slices.Compact(reasons), " ")
	if d.Approval != "" && !permitted(r, found, request) {
		// Whoever approved this would do so for nothing.
		d.Approval = ""
		d.Why += " Besides, no policy permits this. " + r.needed
	}
	return d, nil
}

// permitted tells whether the request would be permitted if no policy forbade it.
func permitted(r rulings, found *entities, request cedar.Request) bool {
	r.policies = slices.DeleteFunc(slices.Clone(r.policies), func(p named) bool { return !p.permits() })
	verdict, _ := cedar.Authorize(r, found, request)
	return verdict == cedar.Allow
}
