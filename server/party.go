package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/identity"
	"latchkey/unblock"
)

// party is who calls, with all that is established of it.
type party struct {
	// name is the client's, in logs and as the owner of processes.
	name  string
	roles []identity.Role // in effect for this call
	// person is who calls, nil for a client that is nobody; means is how that was
	// established.
	person         *identity.Person
	means          identity.Means
	namesOperators bool
	*share
}

// authenticate finds out who calls, from the certificate of the connection.
func (s *Server) authenticate(ctx context.Context, connection *tls.ConnectionState) (*party, error) {
	known, err := s.identify(connection)
	if err != nil {
		return nil, err
	}
	p := &party{name: known.Name, roles: known.Roles, namesOperators: known.NamesOperators, share: known.share}
	if known.Operator == "" {
		return p, nil
	}
	person, err := s.Operators.Operator(ctx, known.Operator)
	switch {
	case errors.Is(err, card.ErrNotFound):
		return nil, refuse(string(unblock.OperatorUnknown), fmt.Sprintf("Client %s is operator %s's, who is not registered.", known.Name, known.Operator))
	case err != nil:
		return nil, fmt.Errorf("look up operator %s: %w", known.Operator, err)
	}
	p.person, p.means = &person, identity.ByCertificate
	return p, nil
}

// may tells whether the caller has one of the roles.
func (p *party) may(roles []identity.Role) bool {
	return slices.ContainsFunc(roles, func(r identity.Role) bool { return slices.Contains(p.roles, r) })
}

// signed is the entry with who called.
func signed(c unblock.Caller, e audit.Entry) audit.Entry {
	e.Client, e.Address, e.RequestID = c.Client, c.Address, c.RequestID
	if c.Operator != nil {
		e.Operator, e.Delegation = c.Operator.ID, string(c.Means)
	}
	return e
}
