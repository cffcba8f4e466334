package rulebook

import "latchkey/dualcontrol"

// The codes of this room's own, besides those of package dualcontrol.
const (
	// PolicyInvalid is for policies with faults. Those of a draft come as policy.Faults
	// in place of a refusal.
	PolicyInvalid        dualcontrol.Code = "policy-invalid"
	PolicyOutdated       dualcontrol.Code = "policy-outdated"
	PolicyFiles          dualcontrol.Code = "policy-files-govern"
	PolicyVersionUnknown dualcontrol.Code = "policy-version-unknown"
)
