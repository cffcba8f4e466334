package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/identity"
	"latchkey/server/session"
	"latchkey/unblock"
)

// Headers that say who calls, and on whose behalf. No other does.
const (
	authorizationHeader = "Authorization"
	operatorHeader      = "Latchkey-Operator-Token"
)

// Tokens verifies the tokens of an OpenID provider, as *oidc.Provider does. Errors
// are *identity.TokenError and identity.ErrProviderAway.
type Tokens interface {
	Verify(ctx context.Context, token string) (identity.Token, error)
}

// People says who a person is, as people.Registry does. It gives card.ErrNotFound
// for somebody nobody knows, and identity.ErrInactive for somebody who may do
// nothing.
type People interface {
	unblock.Operators
	Bearer(ctx context.Context, t identity.Token) (identity.Person, error)
}

// party is who calls, with all that is established of it.
type party struct {
	// name is the client's, in logs and as the owner of processes.
	name  string
	roles []identity.Role // in effect for this call
	// person is who calls, or whose token the client passed, nil for a client that is
	// nobody and passed none; means is how that was established.
	person         *identity.Person
	means          identity.Means
	namesOperators bool
	*share
}

// self is the ID of the person who calls himself, and else the client's name: by
// it one officer is told from another, whatever he comes with.
func (p *party) self() string {
	if p.person != nil && p.means != identity.ByPassedToken {
		return p.person.ID
	}
	return p.name
}

// authenticate finds out who calls: from the certificate of the connection, or
// from a token. Two of them, or anything that is not quite one, are nobody.
func (s *Server) authenticate(r *http.Request) (*party, error) {
	own, err := tokenOf(r.Header, authorizationHeader, "Bearer ")
	if err != nil {
		return nil, err
	}
	passed, err := tokenOf(r.Header, operatorHeader, "")
	if err != nil {
		return nil, err
	}
	var p *party
	switch certificate := r.TLS != nil && len(r.TLS.VerifiedChains) != 0; {
	case certificate && own != "":
		return nil, refuse(codeTwoIdentities, "This call came with a client certificate and with a token. Send one of the two.")
	case own != "":
		p, err = s.byToken(r.Context(), own)
	default:
		p, err = s.byCertificate(r)
	}
	if err != nil || passed == "" {
		return p, err
	}
	switch {
	case p.person != nil:
		return nil, refuse(codeTwoIdentities, fmt.Sprintf("Operator %s calls himself, and with another operator's token. Send one of the two.", p.person.ID))
	case !p.may([]identity.Role{identity.Backend}):
		return nil, refuse(string(unblock.DelegationRefused), fmt.Sprintf("Client %s is no backend, and passes nobody's token.", p.name))
	}
	token, err := s.verified(r.Context(), passed)
	if err != nil {
		return nil, err
	}
	if s.clients.Load().byToken[token.Subject] != nil {
		return nil, refuse(codeToken, "The token passed is a client's and no operator's.")
	}
	person, err := s.bearer(r.Context(), token)
	if err != nil {
		return nil, err
	}
	p.person, p.means = person, identity.ByPassedToken
	return p, nil
}

// tokenOf is the header's token, empty where the header is not there.
func tokenOf(h http.Header, name, scheme string) (string, error) {
	values := h.Values(name)
	switch {
	case len(values) == 0:
		return "", nil
	case len(values) > 1:
		return "", refuse(codeIdentity, fmt.Sprintf("The header %s is there %d times. Send it once.", name, len(values)))
	}
	value := values[0]
	if len(value) < len(scheme) || !strings.EqualFold(value[:len(scheme)], scheme) {
		return "", refuse(codeIdentity, fmt.Sprintf("The header %s does not begin with %q.", name, scheme))
	}
	token := value[len(scheme):]
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r == ',' || r > '~' }) {
		return "", refuse(codeIdentity, fmt.Sprintf("The header %s does not hold one token.", name))
	}
	return token, nil
}

// byCertificate is the client whose certificate the connection was made with, and
// the person whose certificate it is.
func (s *Server) byCertificate(r *http.Request) (*party, error) {
	known, err := s.identify(r)
	if err != nil {
		return nil, err
	}
	p := known.party()
	if known.Operator == "" {
		return p, nil
	}
	person, err := s.Operators.Operator(r.Context(), known.Operator)
	if err != nil {
		return nil, strange(known.Operator, err)
	}
	// A certificate gives nobody more than the person has, nor a person more than the
	// certificate is for.
	p.roles = slices.DeleteFunc(slices.Clone(known.Roles), func(r identity.Role) bool { return !slices.Contains(person.Roles, r) })
	person.Roles = p.roles
	p.person, p.means = &person, identity.ByCertificate
	return p, nil
}

func (c *client) party() *party {
	return &party{name: c.Name, roles: c.Roles, namesOperators: c.NamesOperators, share: c.share}
}

// byToken is the client whose own token it is, and else the person.
func (s *Server) byToken(ctx context.Context, text string) (*party, error) {
	token, err := s.verified(ctx, text)
	if err != nil {
		return nil, err
	}
	if known := s.clients.Load().byToken[token.Subject]; known != nil {
		return known.party(), nil
	}
	person, err := s.bearer(ctx, token)
	if err != nil {
		return nil, err
	}
	return s.personal(*person, identity.ByToken), nil
}

// admitSession finds out whose session a request to the console is of, if it is of
// one, and counts it.
func (s *Server) admitSession(c echo.Context, t *trace) error {
	person, err := s.Sessions(c.Request())
	switch {
	case errors.Is(err, session.ErrNone):
		return nil
	case errors.Is(err, session.ErrOver):
		t.note(err)
		return nil
	case err != nil:
		return storeFailed(err)
	}
	t.party = s.personal(person, identity.BySession)
	return s.count(c, t)
}

// personal is somebody who calls without a client, in no role that is not a person's.
func (s *Server) personal(person identity.Person, means identity.Means) *party {
	person.Roles = slices.DeleteFunc(slices.Clone(person.Roles), func(r identity.Role) bool { return r == identity.Backend })
	return &party{
		name: person.ClientName(), roles: person.Roles, person: &person, means: means, share: s.visitors.share(person.ID),
	}
}

// verified is what a token says, if it is to be believed.
func (s *Server) verified(ctx context.Context, text string) (identity.Token, error) {
	if s.Tokens == nil {
		return identity.Token{}, refuse(codeToken, "This server takes no tokens. Connect with a client certificate.")
	}
	token, err := s.Tokens.Verify(ctx, text)
	return token, distrustedToken(err)
}

// bearer is the person whose token it is, with no role that is not a person's.
func (s *Server) bearer(ctx context.Context, token identity.Token) (*identity.Person, error) {
	person, err := s.Operators.Bearer(ctx, token)
	var no *identity.TokenError
	switch {
	case errors.As(err, &no):
		return nil, distrustedToken(err)
	case err != nil:
		return nil, strange(token.Person.ID, err)
	}
	person.Roles = slices.DeleteFunc(slices.Clone(person.Roles), func(r identity.Role) bool { return r == identity.Backend })
	return &person, nil
}

// distrustedToken puts a token that is not to be believed into a problem's words.
func distrustedToken(err error) error {
	var no *identity.TokenError
	switch {
	case errors.As(err, &no):
		return &refusal{code: codeToken, detail: "The token " + no.Why + ".", cause: no.Cause}
	case errors.Is(err, identity.ErrProviderAway):
		return &refusal{code: codeProviderAway, detail: "Tokens cannot be verified until the identity provider can be reached.", cause: err}
	}
	return err
}

// strange puts into a problem's words that a person is not known, or may not do
// anything.
func strange(id string, err error) error {
	switch {
	case errors.Is(err, card.ErrNotFound):
		return refuse(string(unblock.OperatorUnknown), fmt.Sprintf("Operator %s is not registered.", id))
	case errors.Is(err, identity.ErrInactive):
		return refuse(string(unblock.OperatorInactive), fmt.Sprintf("Operator %s is registered as inactive.", id))
	}
	return storeFailed(err)
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
