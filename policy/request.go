package policy

import (
	"net/netip"
	"time"

	"latchkey/card"
	"latchkey/identity"
)

// Operator is the person whom a decision is about.
type Operator = identity.Person

// Verification is how the operator made sure of who the card's holder is.
type Verification string

// The ways to verify a holder. The zero value says that nobody told of one.
const (
	CallBack Verification = "call-back" // called back on the number that is on file
	Video    Verification = "video"     // face and identity document seen in a call
	Manager  Verification = "manager"   // the holder's manager vouched
	Code     Verification = "code"      // a code sent to the holder by another way
	Document Verification = "document"  // an identity document seen in person
)

// Verifications lists every way to verify a holder.
func Verifications() []Verification {
	return []Verification{CallBack, Video, Manager, Code, Document}
}

// Request is what a decision on unblocking is made from: may this operator,
// through this client, unblock this card now?
type Request struct {
	Operator Operator
	// Means is how the operator was established.
	Means identity.Means
	// Client is the name of the authenticated caller.
	Client string
	// Address is where the call came from; its zero value is "not known".
	Address netip.Addr
	// Now is the time in the zone whose hours policies speak of.
	Now    time.Time
	Card   card.Card
	Type   card.Type
	Reason string
	// Ticket is the help desk's own reference, empty where none was given.
	Ticket       string
	Verification Verification
	// Unconfirmed counts the responses given out for the card since one last
	// worked.
	Unconfirmed int
	// Override tells that a supervisor asks to go on beyond the card's limit of
	// attempts.
	Override bool
	// Approver is who approved the request, nil where nobody did.
	Approver *identity.Person
	// Self tells that Operator is the card's holder, who asks for himself. Of what is
	// above, Reason to Verification, Override and Approver are not asked for then.
	Self bool
}

// ViewRequest is what a decision on seeing a card is made from: may this operator,
// through this client, know this card at all?
type ViewRequest struct {
	Operator Operator
	Client   string
	Card     card.Card
	Type     card.Type
}

// Decision is the answer, with its grounds.
type Decision struct {
	Allow bool
	// Policies are the IDs of the policies that decided: the permits of a
	// permission, the forbids of a denial; empty where nothing permitted.
	Policies []string
	// Why says the same in words for the operator.
	Why string
	// Approval is the role of a second person whose approval would satisfy every
	// policy that forbids. Empty where the request is permitted, and where no
	// approval would help.
	Approval identity.Role
	// Counts tells that policies of the set ask how many responses are unconfirmed.
	Counts bool
	// Version is the fingerprint of the policy set.
	Version string
}
