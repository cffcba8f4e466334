package rulebook

import (
	"context"

	"latchkey/audit"
	"latchkey/dualcontrol"
	"latchkey/policy"
)

// Change is one durable write, as dualcontrol has it.
type Change = dualcontrol.Change[Record]

// Ledger keeps versions, their proposals, and the last decisions.
type Ledger interface {
	dualcontrol.Book
	// KeepPolicies makes the change durable, or gives dualcontrol.ErrConflict with
	// nothing changed, also where the version is there already.
	KeepPolicies(ctx context.Context, c Change) error
	// ActivePolicies is the number of the active version, 0 where none is stored.
	ActivePolicies(ctx context.Context) (int, error)
	// PolicyVersion finds a version, or gives card.ErrNotFound.
	PolicyVersion(ctx context.Context, number int) (Record, error)
	// PolicyVersions lists the versions below a number, or all where that is 0, the
	// newest first, limit of them at most.
	PolicyVersions(ctx context.Context, below, limit int) ([]Record, error)
	// Decisions gives the decisions kept whose audit entries have numbers below the
	// one given, or all where that is 0, the newest first, limit of them at most.
	Decisions(ctx context.Context, below int64, limit int) ([]Kept, error)
	// PruneDecisions deletes all but so many of the last decisions.
	PruneDecisions(ctx context.Context, keep int) error
}

// Kept is a decision with the audit entry that tells of it.
type Kept struct {
	Entry audit.Entry
	policy.Decided
}
