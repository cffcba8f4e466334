// Package trust holds which client certificates are good: those that chain to a
// CA of one bundle, and that are on none of these CAs' certificate revocation
// lists (CRL, RFC 5280 section 5). It imports nothing of ours.
package trust

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// Bundle is the CAs that certificates are checked against, with their CRLs. It
// does not change once it is read, and is then safe for concurrent use.
type Bundle struct {
	pool        *x509.CertPool
	authorities map[string]*authority // by their certificate, DER
	// checks tells that there are CRLs: from then on each CA needs its own.
	checks bool
}

// authority is one CA of the bundle.
type authority struct {
	certificate *x509.Certificate
	list        *x509.RevocationList // nil where there is none
	revoked     map[string]bool      // serial numbers on the list, big-endian
	// withdrawn tells that another CA of the bundle has revoked this one.
	withdrawn bool
}

// Reason is why a certificate that was verified is good no longer.
type Reason string

// The reasons.
const (
	// Revoked: the certificate, or a CA above it, is on a CRL.
	Revoked Reason = "revoked"
	// Unknown: the CA that issued it has no CRL, or one that is out of date.
	Unknown Reason = "revocation not known"
	// Distrusted: its CA is not in the bundle any more.
	Distrusted Reason = "CA not trusted"
	// Expired: it is past its time, or not yet in it.
	Expired Reason = "expired"
)

// Error says that a certificate is not good, in a sentence for whoever shows it.
type Error struct {
	Reason Reason
	Detail string
}

func (e *Error) Error() string { return string(e.Reason) + ": " + e.Detail }

func no(reason Reason, format string, args ...any) *Error {
	return &Error{reason, fmt.Sprintf(format, args...)}
}

// Read reads a PEM file of CA certificates. Anything else in the file is a fault.
func Read(path string) (*Bundle, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read CA certificates: %w", err)
	}
	b := &Bundle{pool: x509.NewCertPool(), authorities: make(map[string]*authority)}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("read CA certificates: %s holds a %s besides certificates", path, block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read CA certificates: %s: %w", path, err)
		}
		b.pool.AddCert(c)
		b.authorities[string(c.Raw)] = &authority{certificate: c}
	}
	if len(b.authorities) == 0 {
		return nil, fmt.Errorf("read CA certificates: %s holds none in PEM form", path)
	}
	return b, nil
}

// Pool holds the CA certificates, for tls.Config's ClientCAs.
func (b *Bundle) Pool() *x509.CertPool { return b.pool }

// AddLists reads a file of CRLs, one in DER form or any number in PEM form. Each
// has to be signed by a CA of the bundle, complete, and the only one of its CA.
// One that is out of date is taken: Check then refuses what its CA issued.
func (b *Bundle) AddLists(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read CRL: %w", err)
	}
	lists := [][]byte{text}
	if block, rest := pem.Decode(text); block != nil {
		for lists = nil; block != nil; block, rest = pem.Decode(rest) {
			if block.Type != "X509 CRL" {
				return fmt.Errorf("read CRL: %s holds a %s besides CRLs", path, block.Type)
			}
			lists = append(lists, block.Bytes)
		}
	}
	for _, der := range lists {
		if err := b.add(der); err != nil {
			return fmt.Errorf("read CRL: %s: %w", path, err)
		}
	}
	return nil
}

func (b *Bundle) add(der []byte) error {
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return fmt.Errorf("it is no CRL in PEM or DER form: %w", err)
	}
	if err := complete(list); err != nil {
		return err
	}
	issuers := b.issuers(list)
	if len(issuers) == 0 {
		return fmt.Errorf("it is signed by no CA of the bundle that may sign CRLs; it says it is of %s", list.Issuer)
	}
	revoked := make(map[string]bool, len(list.RevokedCertificateEntries))
	for _, e := range list.RevokedCertificateEntries {
		revoked[string(e.SerialNumber.Bytes())] = true
	}
	for _, a := range issuers {
		if a.list != nil {
			return fmt.Errorf("there are two CRLs of %s; name the newest alone", list.Issuer)
		}
		a.list, a.revoked = list, revoked
		for _, other := range b.authorities {
			if revoked[string(other.certificate.SerialNumber.Bytes())] && other.certificate.CheckSignatureFrom(a.certificate) == nil {
				other.withdrawn = true
			}
		}
	}
	b.checks = true
	return nil
}

// issuers finds the CAs that the list is of. There are several where a CA has its
// certificate renewed and keeps its key.
func (b *Bundle) issuers(list *x509.RevocationList) []*authority {
	var found []*authority
	for _, a := range b.authorities {
		if bytes.Equal(a.certificate.RawSubject, list.RawIssuer) && list.CheckSignatureFrom(a.certificate) == nil {
			found = append(found, a)
		}
	}
	return found
}

// complete refuses lists that do not tell of every certificate of their CA, or
// not for how long.
func complete(list *x509.RevocationList) error {
	for _, e := range list.Extensions {
		switch id := e.Id.String(); {
		case id == "2.5.29.27":
			return errors.New("it is a delta CRL, which tells only what changed; name the complete CRL")
		case id == "2.5.29.28":
			return errors.New("it is for a part of the CA's certificates only (issuing distribution point); name the complete CRL")
		case e.Critical:
			return fmt.Errorf("it has the critical extension %s, which is not known here", id)
		}
	}
	for _, entry := range list.RevokedCertificateEntries {
		for _, e := range entry.Extensions {
			if e.Critical {
				return fmt.Errorf("an entry has the critical extension %s, which is not known here", e.Id)
			}
		}
	}
	if list.NextUpdate.IsZero() {
		return errors.New("it does not say when the next one is due (nextUpdate)")
	}
	return nil
}

// Check says whether a certificate is good, whose chains the TLS library has
// verified, at whatever time that was. It gives *Error where it is not: one chain
// has to hold, and no chain may have a revoked certificate.
func (b *Bundle) Check(chains [][]*x509.Certificate, now time.Time) error {
	why, good := no(Distrusted, "The certificate was not verified."), false
	for _, chain := range chains {
		switch err := b.check(chain, now); {
		case err == nil:
			good = true
		case err.Reason == Revoked:
			return err
		default:
			why = err
		}
	}
	if good {
		return nil
	}
	return why
}

func (b *Bundle) check(chain []*x509.Certificate, now time.Time) *Error {
	last := len(chain) - 1
	switch anchor := b.authorities[string(chain[last].Raw)]; {
	case anchor == nil:
		return no(Distrusted, "The CA %s is not trusted any more.", chain[last].Subject)
	case anchor.withdrawn:
		return no(Revoked, "The CA %s was revoked.", chain[last].Subject)
	}
	for i, c := range slices.Backward(chain) {
		if now.Before(c.NotBefore) {
			return no(Expired, "The certificate of %s is good from %s on, which is yet to come.", c.Subject, c.NotBefore.UTC().Format(time.RFC3339))
		}
		if now.After(c.NotAfter) {
			return no(Expired, "The certificate of %s expired at %s.", c.Subject, c.NotAfter.UTC().Format(time.RFC3339))
		}
		if !b.checks || i == last {
			continue
		}
		switch a := b.authorities[string(chain[i+1].Raw)]; {
		case a == nil || a.list == nil:
			return no(Unknown, "There is no CRL of %s, which issued the certificate of %s.", c.Issuer, c.Subject)
		case a.revoked[string(c.SerialNumber.Bytes())]:
			return no(Revoked, "The certificate of %s was revoked by %s.", c.Subject, c.Issuer)
		case now.After(a.list.NextUpdate):
			return no(Unknown, "The CRL of %s was to be renewed by %s and was not.", c.Issuer, a.list.NextUpdate.UTC().Format(time.RFC3339))
		}
	}
	return nil
}

// Gaps says, a line for each CA of the bundle, where a CRL is missing or out of
// date, so that Check refuses what the CA issued.
func (b *Bundle) Gaps(now time.Time) []string {
	var gaps []string
	for _, a := range b.authorities {
		switch {
		case !b.checks:
		case a.list == nil:
			gaps = append(gaps, fmt.Sprintf("there is no CRL of %s", a.certificate.Subject))
		case now.After(a.list.NextUpdate):
			gaps = append(gaps, fmt.Sprintf("the CRL of %s was to be renewed by %s", a.certificate.Subject, a.list.NextUpdate.UTC().Format(time.RFC3339)))
		}
	}
	slices.Sort(gaps)
	return slices.Compact(gaps)
}
