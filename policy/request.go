package policy

import "latchkey/card"

// Operator is the person whom a decision is about.
type Operator struct {
	ID     string
	Name   string
	Roles  []string
	Groups []string
	Unit   string
}

// Request is what a decision is made from: may this operator, through this
// client, unblock this card now?
type Request struct {
	Operator Operator
	// Client is the name of the authenticated caller, and Delegated tells that it
	// named the operator instead of being the operator.
	Client    string
	Delegated bool
	Card      card.Card
	Type      card.Type
	Reason    string
}

// Decision is the answer, with its grounds.
type Decision struct {
	Allow bool
	// Policies are the IDs of the policies that decided: the permits of a
	// permission, the forbids of a denial; empty where nothing permitted.
	Policies []string
	// Why says the same in words for the operator.
	Why string
	// Version is the fingerprint of the policy set.
	Version string
}
