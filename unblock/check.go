package unblock

// Check names one step in the order of checks.
type Check string

// The checks, in their order.
const (
	CallerAuthenticated   Check = "caller authenticated"
	OperatorAuthenticated Check = "operator authenticated"
	WithinLimits          Check = "within the limits of rate"
	CardFound             Check = "card found"
	CardActive            Check = "card active"
	HolderActive          Check = "holder active"
	UseCaseEnabled        Check = "use case enabled"
	CardDataFresh         Check = "card data fresh and complete"
	PolicyPermits         Check = "policy permits"
	CardFree              Check = "card free of other processes"
	AttemptsLeft          Check = "attempts left"
	KeyUsable             Check = "master key usable"
	ChallengeParsed       Check = "challenge parsed"
	ChallengePlausible    Check = "challenge plausible"
	ResponseDerived       Check = "response derived in the HSM"
	AuditDurable          Check = "audit entry durable"
)

// StartChecks lists the checks that every started process has passed, in their
// order: those that need no challenge.
func StartChecks() []Check {
	return []Check{
		CallerAuthenticated, OperatorAuthenticated, WithinLimits, CardFound, CardActive, HolderActive,
		UseCaseEnabled, CardDataFresh, PolicyPermits, CardFree, AttemptsLeft, KeyUsable,
	}
}
