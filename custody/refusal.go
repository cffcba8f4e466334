package custody

import "latchkey/dualcontrol"

// The codes of this room's own, besides those of package dualcontrol.
const (
	KeyUnknown    dualcontrol.Code = "key-unknown"
	KeyExists     dualcontrol.Code = "key-exists"
	KeyTransition dualcontrol.Code = "key-transition"
	KeyUnfit      dualcontrol.Code = "key-unfit"
	// KeyNotUsable is the code that package unblock refuses with for such a key.
	KeyNotUsable dualcontrol.Code = "key-not-usable"

	// ProposalToken is the code for a proposal that another token's server was meant by.
	ProposalToken dualcontrol.Code = "proposal-other-token"

	HSMUnavailable dualcontrol.Code = "hsm-unavailable"
)
