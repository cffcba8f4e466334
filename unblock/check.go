package unblock

// Check names one step in the order of checks.
type Check string

// The checks, in their order.
const (
	CallerAuthenticated   Check = "caller authenticated"
	OperatorAuthenticated Check = "operator authenticated"
	CardFound             Check = "card found"
	CardActive            Check = "card active"
	HolderActive          Check = "holder active"
	UseCaseEnabled        Check = "use case enabled"
	CardDataFresh         Check = "card data fresh and complete"
	PolicyPermits         Check = "policy permits"
	AttemptsLeft          Check = "attempts left"
	KeyUsable             Check = "master key usable"
	ChallengeParsed       Check = "challenge parsed"
	ResponseDerived       Check = "response derived in the HSM"
	AuditDurable          Check = "audit entry durable"
)

// StartChecks lists the checks that every started process has passed, in their
// order: those that need no challenge.
func StartChecks() []Check {
	return []Check{
		CallerAuthenticated, OperatorAuthenticated, CardFound, CardActive, HolderActive,
		UseCaseEnabled, CardDataFresh, PolicyPermits, AttemptsLeft, KeyUsable,
	}
}
