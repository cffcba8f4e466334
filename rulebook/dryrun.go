package rulebook

import (
	"context"
	"fmt"
	"time"

	"latchkey/audit"
	"latchkey/dualcontrol"
	"latchkey/identity"
	"latchkey/policy"
)

const (
	// MaxDecisions is how many of the last decisions may be kept, and tried at once.
	MaxDecisions = 100_000
	// MaxDifferences is how many differences a dry run lists.
	MaxDifferences = 1000
	// decisionsAtOnce is how many decisions are read together.
	decisionsAtOnce = 500
)

// Outcome is how a decision of policies went.
type Outcome string

// The outcomes.
const (
	Permit  Outcome = "permit"
	Ask     Outcome = "approval" // denied until a second person approves
	Deny    Outcome = "deny"
	Failure Outcome = "failure" // a policy could not be evaluated, which denies
)

// Verdict is one decision of one set of policies.
type Verdict struct {
	Outcome  Outcome
	Approval identity.Role // of Ask
	Policies []string      // that decided
	Why      string        // in words for the operator, or what failed
}

func verdict(d policy.Decision, err error) Verdict {
	v := Verdict{Outcome: Deny, Approval: d.Approval, Policies: d.Policies, Why: d.Why}
	switch {
	case err != nil:
		return Verdict{Outcome: Failure, Why: err.Error()}
	case d.Allow:
		v.Outcome, v.Approval = Permit, ""
	case d.Approval != "":
		v.Outcome = Ask
	}
	return v
}

// Difference is a decision that would have gone another way.
type Difference struct {
	Entry         audit.Entry // that tells of the decision as it was made
	Before, After Verdict
}

// DryRun is what other policies would have decided.
type DryRun struct {
	Fingerprint string    // of those policies
	Decisions   int       // that were tried
	Since       time.Time // of the oldest; zero where there is none
	// Denied, Permitted, Asked and Failed count the decisions that would have gone
	// another way, by what they would have been.
	Denied, Permitted, Asked, Failed int
	// Differences are those, the newest first, MaxDifferences at most.
	Differences []Difference
}

// DryRun tries policies on the last decisions, the newest first, at most so many of
// them. Faults of the policies come as policy.Faults.
func (r *Rulebook) DryRun(ctx context.Context, policies []policy.Source, last int) (DryRun, error) {
	engine, err := policy.Load(policies)
	if err != nil {
		return DryRun{}, err
	}
	run := DryRun{Fingerprint: engine.Version()}
	for below := int64(0); run.Decisions < last; {
		page, err := r.Ledger.Decisions(ctx, below, min(decisionsAtOnce, last-run.Decisions))
		if err != nil {
			return DryRun{}, dualcontrol.Fail(dualcontrol.StoreUnavailable, "The last decisions could not be read. Try again later.", err)
		}
		if len(page) == 0 {
			break
		}
		for _, k := range page {
			d, err := engine.Decide(ctx, k.Request)
			if ctx.Err() != nil {
				return DryRun{}, fmt.Errorf("dry run: %w", ctx.Err())
			}
			run.add(k, verdict(d, err))
		}
		below = page[len(page)-1].Entry.Sequence
	}
	return run, nil
}

// add counts one decision.
func (run *DryRun) add(k Kept, after Verdict) {
	run.Decisions++
	run.Since = k.Entry.Time
	before := verdict(k.Decision, nil)
	if before.Outcome == after.Outcome && before.Approval == after.Approval {
		return
	}
	switch after.Outcome {
	case Deny:
		run.Denied++
	case Permit:
		run.Permitted++
	case Ask:
		run.Asked++
	case Failure:
		run.Failed++
	}
	if len(run.Differences) < MaxDifferences {
		run.Differences = append(run.Differences, Difference{k.Entry, before, after})
	}
}
