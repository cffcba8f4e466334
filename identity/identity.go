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
	// AsHolder is somebody in a session of his own who is not at work as an operator,
	// but unblocks a card of his own.
	AsHolder Means = "own session, as the card's holder"
)

// Client is a program or a device that calls, as the configuration knows it.
type Client struct {
	Name string
	// Exactly one of the three: the certificate's subject as RFC 2253 text, such as
	// "CN=identity-manager,O=Example"; one of the certificate's names, as in
	// "dns:idm.example.org", "uri:spiffe://example/idm", "email:anna@example.org";
	// or the subject of the tokens that an OpenID provider issues to it.
	Subject, SAN, TokenSubject string
	Roles                      []Role
	// Operator is the ID of the person whose certificate it is; NamesOperators
	// tells that it is trusted to name others. Never both.
	Operator       string
	NamesOperators bool
}

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
