package policy

// Decided is a request with the decision on it, as it is kept so that other policies
// can be tried on it.
type Decided struct {
	Request  Request
	Decision Decision
}
