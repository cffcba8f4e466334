package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/time/rate"

	"latchkey/identity"
	"latchkey/trust"
)

// Rate is how often one client may call.
type Rate struct {
	PerSecond float64
	Burst     int
}

// DefaultRate is generous for a backend and far below what the HSM can do.
func DefaultRate() Rate { return Rate{PerSecond: 50, Burst: 100} }

// share is a caller's share of the server.
type share struct {
	calls *rate.Limiter
	// imports holds the imports under way.
	imports chan struct{}
}

func (r Rate) share() *share {
	return &share{rate.NewLimiter(rate.Limit(r.PerSecond), r.Burst), make(chan struct{}, maxImports)}
}

// client is a configured client with its share.
type client struct {
	identity.Client
	*share
}

// clients finds a client by what its certificate or its token says.
type clients struct {
	bySubject, byName, byToken map[string]*client
	shares                     map[string]*share // by the client's name
}

// newClients makes the clients of the list. Those who were there before, if any
// were, keep their share of the server.
func newClients(list []identity.Client, limit Rate, before *clients) (*clients, error) {
	c := &clients{map[string]*client{}, map[string]*client{}, map[string]*client{}, map[string]*share{}}
	for _, l := range list {
		known := &client{l, limit.share()}
		if before != nil && before.shares[l.Name] != nil {
			known.share = before.shares[l.Name]
		}
		c.shares[l.Name] = known.share
		into, key := c.bySubject, l.Subject
		switch {
		case l.SAN != "":
			into, key = c.byName, l.SAN
		case l.TokenSubject != "":
			into, key = c.byToken, l.TokenSubject
		}
		switch {
		case l.Name == "" || key == "":
			return nil, fmt.Errorf("client %q: its name, and a certificate or a token, are required", l.Name)
		case into[key] != nil:
			return nil, fmt.Errorf("client %s: %s has the same certificate or token", l.Name, into[key].Name)
		}
		into[key] = known
	}
	return c, nil
}

// SetClients exchanges the clients for others from the next request on. With an
// error nothing has changed.
func (s *Server) SetClients(list []identity.Client) error {
	c, err := newClients(list, s.Rate, s.clients.Load())
	if err == nil {
		s.clients.Store(c)
	}
	return err
}

// identify finds the client whose certificate the connection was made with, and
// which is still good.
func (s *Server) identify(r *http.Request) (*client, error) {
	if s.StillGood != nil {
		if err := s.StillGood(r.TLS); err != nil {
			return nil, distrusted(err)
		}
	}
	of, _ := r.Context().Value(readingKey{}).(*reading)
	return s.clients.Load().identify(r.TLS, of)
}

// distrusted puts a certificate that is not good any more into a problem's words.
func distrusted(err error) error {
	var no *trust.Error
	if !errors.As(err, &no) {
		return err
	}
	code := codeNoCertificate
	switch no.Reason {
	case trust.Revoked:
		code = codeRevoked
	case trust.Unknown:
		code = codeNoCRL
	case trust.Distrusted, trust.Expired:
	}
	return &refusal{code: code, detail: no.Detail, cause: no}
}

// identify finds the client whose certificate the connection was made with. It
// looks at certificates that the TLS library verified, and at nothing that a
// request says.
func (c *clients) identify(connection *tls.ConnectionState, of *reading) (*client, error) {
	if connection == nil || len(connection.VerifiedChains) == 0 {
		return nil, refuse(codeNoCertificate, "This connection came without a client certificate.")
	}
	said, err := of.read(connection.VerifiedChains[0][0])
	if err != nil {
		return nil, refuse(codeClientUnknown, "The certificate's subject cannot be read.")
	}
	var found []*client
	if known := c.bySubject[said.subject]; known != nil {
		found = append(found, known)
	}
	for _, name := range said.names {
		if known := c.byName[name]; known != nil && !slices.Contains(found, known) {
			found = append(found, known)
		}
	}
	switch len(found) {
	case 0:
		return nil, refuse(codeClientUnknown, fmt.Sprintf("No client is configured for the certificate of %s.", said))
	case 1:
		return found[0], nil
	}
	// Which of them is meant, and with whose rights, is not for us to guess.
	return nil, refuse(codeClientUnknown, fmt.Sprintf("The certificate of %s fits the clients %s and %s; it must fit one.",
		said, found[0].Name, found[1].Name))
}

// certified is whom a certificate names, as the configuration writes it.
type certified struct {
	of      *x509.Certificate
	subject string
	names   []string // its subject alternative names
}

// String names a certificate to whoever has to add it to the configuration.
func (n *certified) String() string {
	return strings.Join(append([]string{n.subject}, n.names...), ", ")
}

// reading keeps what a connection's certificate says, which is read out of it once:
// every other question about it, whether it is still good and whose it is, is asked
// anew with each request.
type reading struct{ last atomic.Pointer[certified] }

type readingKey struct{}

// readOnce is for a connection's context.
func readOnce(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, readingKey{}, new(reading))
}

// read gives what the certificate says. A nil reading keeps nothing.
func (r *reading) read(c *x509.Certificate) (*certified, error) {
	if r != nil {
		if n := r.last.Load(); n != nil && n.of == c {
			return n, nil
		}
	}
	subject, err := subjectOf(c)
	if err != nil {
		return nil, err
	}
	n := &certified{c, subject, namesOf(c)}
	if r != nil {
		r.last.Store(n)
	}
	return n, nil
}

// subjectOf is the subject as RFC 2253 text, of all its attributes and in their
// order. x509.Certificate.Subject would show the last of two common names only.
func subjectOf(c *x509.Certificate) (string, error) {
	var name pkix.RDNSequence
	if rest, err := asn1.Unmarshal(c.RawSubject, &name); err != nil || len(rest) != 0 {
		return "", fmt.Errorf("subject of certificate: %w", err)
	}
	return name.String(), nil
}

// namesOf lists the subject alternative names as the configuration writes them.
func namesOf(c *x509.Certificate) []string {
	var names []string
	for _, name := range c.DNSNames {
		names = append(names, "dns:"+name)
	}
	for _, uri := range c.URIs {
		names = append(names, "uri:"+uri.String())
	}
	for _, address := range c.EmailAddresses {
		names = append(names, "email:"+address)
	}
	return names
}
