// Package throwawayca is a certificate authority for tests and for trying things
// out: it is made in memory, issues certificates for servers and clients, and is
// forgotten. Its own key is never written anywhere, so nothing can be issued
// under it once the process has ended.
package throwawayca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"strings"
	"time"
)

// lifetime is how long certificates hold: long enough for a demonstration to be
// started again, short enough not to be taken for a real CA.
const lifetime = 90 * 24 * time.Hour

// Authority is a CA with a P-256 key in memory.
type Authority struct {
	Certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// New makes a CA with the given common name.
func New(name string) (*Authority, error) {
	template, err := template(pkix.Name{CommonName: name})
	if err != nil {
		return nil, err
	}
	template.IsCA, template.BasicConstraintsValid, template.MaxPathLenZero = true, true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make CA key: %w", err)
	}
	certificate, err := sign(template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &Authority{certificate, key}, nil
}

// Pool holds the CA's certificate alone, for tls.Config's RootCAs and ClientCAs.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.Certificate)
	return pool
}

// PEM is the CA's certificate.
func (a *Authority) PEM() []byte { return certificatePEM(a.Certificate) }

// Write writes the CA's certificate to a file.
func (a *Authority) Write(path string) error {
	if err := os.WriteFile(path, a.PEM(), 0o644); err != nil { //nolint:gosec // a certificate is public
		return fmt.Errorf("write CA certificate: %w", err)
	}
	return nil
}

// Server issues a server certificate for DNS names and IP addresses.
func (a *Authority) Server(names ...string) (*Pair, error) {
	template, err := server(names)
	if err != nil {
		return nil, err
	}
	return a.issue(template)
}

// ServerFor is Server for a key that is kept elsewhere. It gives the certificate
// in PEM form.
func (a *Authority) ServerFor(public crypto.PublicKey, names ...string) ([]byte, error) {
	template, err := server(names)
	if err != nil {
		return nil, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	certificate, err := sign(template, a.Certificate, public, a.key)
	if err != nil {
		return nil, err
	}
	return certificatePEM(certificate), nil
}

func server(names []string) (*x509.Certificate, error) {
	if len(names) == 0 {
		return nil, fmt.Errorf("server certificate: name at least one host")
	}
	template, err := template(pkix.Name{CommonName: names[0]})
	if err != nil {
		return nil, err
	}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	return template, nil
}

// Client issues a client certificate. The names are written as the server's
// configuration writes them: "dns:", "uri:" or "email:" and the name.
func (a *Authority) Client(subject pkix.Name, names ...string) (*Pair, error) {
	template, err := template(subject)
	if err != nil {
		return nil, err
	}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	for _, name := range names {
		switch kind, value, _ := strings.Cut(name, ":"); kind {
		case "dns":
			template.DNSNames = append(template.DNSNames, value)
		case "email":
			template.EmailAddresses = append(template.EmailAddresses, value)
		case "uri":
			uri, err := url.Parse(value)
			if err != nil {
				return nil, fmt.Errorf("client certificate: %w", err)
			}
			template.URIs = append(template.URIs, uri)
		default:
			return nil, fmt.Errorf("client certificate: %q must be dns:NAME, uri:URI or email:ADDRESS", name)
		}
	}
	return a.issue(template)
}

// CRL issues a list of the certificates that are revoked, in DER form, to be
// renewed by the given time.
func (a *Authority) CRL(number int64, nextUpdate time.Time, revoked ...*Pair) ([]byte, error) {
	list := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: nextUpdate.Add(-lifetime), NextUpdate: nextUpdate}
	for _, p := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: p.Certificate.SerialNumber, RevocationTime: list.ThisUpdate})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.Certificate, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign CRL: %w", err)
	}
	return der, nil
}

func (a *Authority) issue(template *x509.Certificate) (*Pair, error) {
	template.KeyUsage = x509.KeyUsageDigitalSignature
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key of %s: %w", template.Subject, err)
	}
	certificate, err := sign(template, a.Certificate, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	return &Pair{certificate, key}, nil
}

// Pair is a certificate with its key.
type Pair struct {
	Certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// TLS is the pair as tls.Config takes it.
func (p *Pair) TLS() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{p.Certificate.Raw}, PrivateKey: p.key, Leaf: p.Certificate}
}

// CertificatePEM is the certificate.
func (p *Pair) CertificatePEM() []byte { return certificatePEM(p.Certificate) }

// KeyPEM is the private key in PKCS #8 form.
func (p *Pair) KeyPEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// Write writes the certificate and, readable by its owner alone, the key.
func (p *Pair) Write(certificatePath, keyPath string) error {
	key, err := p.KeyPEM()
	if err != nil {
		return err
	}
	if err := os.WriteFile(keyPath, key, 0o600); err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	if err := os.WriteFile(certificatePath, p.CertificatePEM(), 0o644); err != nil { //nolint:gosec // a certificate is public
		return fmt.Errorf("write certificate: %w", err)
	}
	return nil
}

func template(subject pkix.Name) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make serial number: %w", err)
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial, Subject: subject,
		NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(lifetime), // for tests that set the clock back
	}, nil
}

func sign(template, parent *x509.Certificate, public crypto.PublicKey, signer *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		return nil, fmt.Errorf("sign certificate of %s: %w", template.Subject, err)
	}
	return x509.ParseCertificate(der)
}

func certificatePEM(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}
