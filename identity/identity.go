// Package identity holds the words for who somebody is: people, their roles, and
// how it was found out. It is on the ground floor and imports nothing of ours.
package identity

import "time"

// Role is what a person or a client is here to do.
type Role string

// The roles.
const (
	Backend         Role = "backend"
	Operator        Role = "operator"
	Supervisor      Role = "supervisor"
	Administrator   Role = "administrator"
	SecurityOfficer Role = "security-officer"
	Auditor         Role = "auditor"
)

// Roles lists every role.
func Roles() []Role {
	return []Role{Backend, Operator, Supervisor, Administrator, SecurityOfficer, Auditor}
}

// Means is how a person or a client was established, in the words of the audit
// log. Its zero value says that it was not.
type Means string

// The means.
const (
	ByCertificate Means = "own certificate"
	ByToken       Means = "own token"
	BySession     Means = "own session"
	ByPassedToken Means = "own token, passed by the client"
	ByName        Means = "named by the client"
)

// Person is somebody who acts, or on whose behalf a client acts.
type Person struct {
	ID     string
	Name   string
	Roles  []Role
	Groups []string
	Unit   string
	// Email and EmployeeNumber are empty where nobody told them. Policies compare
	// them with a card holder's.
	Email          string
	EmployeeNumber string
	// MFA tells that the person was authenticated by more than one factor, and
	// AuthenticatedAt when; its zero value is "not known".
	MFA             bool
	AuthenticatedAt time.Time
}
