package identity

import (
	"errors"
	"time"
)

// ErrInactive says that somebody is registered and may do nothing.
var ErrInactive = errors.New("the person is registered as inactive")

// Record is what an administrator has registered of a person.
type Record struct {
	Person // MFA and AuthenticatedAt have no meaning here
	// Issuer and Subject are those of the person's tokens, both empty where no
	// token is tied to the record.
	Issuer, Subject string
	// Active is false for somebody who may do nothing, by whatever means he comes.
	Active    bool
	UpdatedBy string
	UpdatedAt time.Time
}

// ClientName is what a person who calls without a configured client is called in
// logs and as the owner of processes. No configured client has such a name.
func (p Person) ClientName() string { return PersonPrefix + p.ID }

// PersonPrefix begins the name that stands in a client's place for a person.
const PersonPrefix = "person:"
