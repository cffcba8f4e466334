package trust_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/trust"
)

// holder is somebody with a certificate and its key.
type holder struct {
	*x509.Certificate
	key crypto.Signer
}

var serials int64

// issue has issuer certify somebody, or somebody certify himself.
func issue(t *testing.T, name string, ca bool, issuer *holder, changes ...func(*x509.Certificate)) *holder {
	t.Helper()
	serials++
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serials), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
		BasicConstraintsValid: true, IsCA: ca, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if ca {
		template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageCertSign|x509.KeyUsageCRLSign, nil
	}
	for _, change := range changes {
		change(template)
	}
	h := &holder{template, key}
	if issuer == nil {
		issuer = h
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer.Certificate, key.Public(), issuer.key)
	check(t, err)
	h.Certificate, err = x509.ParseCertificate(der)
	check(t, err)
	return h
}

// crl is a list that the CA signs, of those it revokes.
func (h *holder) crl(t *testing.T, change func(*x509.RevocationList), revoked ...*holder) []byte {
	t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(7), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(24 * time.Hour)}
	for _, r := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: r.SerialNumber, RevocationTime: time.Now()})
	}
	if change != nil {
		change(list)
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, h.Certificate, h.key)
	check(t, err)
	return der
}

func file(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(path, content, 0o600))
	return path
}

func toPEM(kind string, ders ...[]byte) (text []byte) {
	for _, der := range ders {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})...)
	}
	return text
}

// read reads a bundle of the CAs with the lists.
func read(t *testing.T, cas []*holder, lists ...[]byte) (*trust.Bundle, error) {
	t.Helper()
	var ders [][]byte
	for _, ca := range cas {
		ders = append(ders, ca.Raw)
	}
	b, err := trust.Read(file(t, toPEM("CERTIFICATE", ders...)))
	check(t, err)
	for _, list := range lists {
		if err := b.AddLists(file(t, list)); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// verdict verifies as TLS does, and has the bundle check what comes of it: "" is
// good.
func verdict(t *testing.T, b *trust.Bundle, now time.Time, of *holder, between ...*holder) trust.Reason {
	t.Helper()
	pool := x509.NewCertPool()
	for _, h := range between {
		pool.AddCert(h.Certificate)
	}
	chains, err := of.Verify(x509.VerifyOptions{Roots: b.Pool(), Intermediates: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	check(t, err)
	err = b.Check(chains, now)
	var no *trust.Error
	if err != nil && (!errors.As(err, &no) || no.Detail == "") {
		t.Fatalf("error %v (%T) says no reason", err, err)
	}
	if err == nil {
		return ""
	}
	return no.Reason
}

func TestCheck(t *testing.T) {
	root, other := issue(t, "root", true, nil), issue(t, "other", true, nil)
	below := issue(t, "below", true, root)
	anna, bert, carl := issue(t, "anna", false, root), issue(t, "bert", false, root), issue(t, "carl", false, below)
	now := time.Now()
	tomorrow := now.Add(25 * time.Hour) // past nextUpdate
	both := toPEM("X509 CRL", root.crl(t, nil), other.crl(t, nil))
	for _, test := range []struct {
		name    string
		cas     []*holder
		lists   [][]byte
		now     time.Time
		of      *holder
		between []*holder
		want    trust.Reason
	}{
		{"no lists", []*holder{root}, nil, now, anna, nil, ""},
		{"on no list", []*holder{root}, [][]byte{root.crl(t, nil, bert)}, now, anna, nil, ""},
		{"on the list", []*holder{root}, [][]byte{root.crl(t, nil, bert)}, now, bert, nil, trust.Revoked},
		{"two lists in a PEM file", []*holder{root, other}, [][]byte{both}, now, anna, nil, ""},
		{"the same serial number on another CA's list", []*holder{root, other}, [][]byte{root.crl(t, nil), other.crl(t, nil, anna)}, now, anna, nil, ""},
		{"out of date", []*holder{root}, [][]byte{root.crl(t, nil, bert)}, tomorrow, anna, nil, trust.Unknown},
		{"revoked on a list that is out of date", []*holder{root}, [][]byte{root.crl(t, nil, bert)}, tomorrow, bert, nil, trust.Revoked},
		{"another CA's list alone", []*holder{root, other}, [][]byte{other.crl(t, nil)}, now, anna, nil, trust.Unknown},
		{"past its time", []*holder{root}, nil, now.Add(49 * time.Hour), anna, nil, trust.Expired},
		{"not yet in its time", []*holder{root}, nil, now.Add(-49 * time.Hour), anna, nil, trust.Expired},
		// The list of a CA that is not in the bundle could be anybody's.
		{"below a CA that is not in the bundle", []*holder{root}, [][]byte{root.crl(t, nil)}, now, carl, []*holder{below}, trust.Unknown},
		{"below a CA that is", []*holder{root, below}, [][]byte{root.crl(t, nil), below.crl(t, nil)}, now, carl, nil, ""},
		{"below a CA that was revoked", []*holder{root}, [][]byte{root.crl(t, nil, below)}, now, carl, []*holder{below}, trust.Revoked},
		{"below a CA of the bundle that was revoked", []*holder{root, below}, [][]byte{root.crl(t, nil, below), below.crl(t, nil)}, now, carl, nil, trust.Revoked},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, err := read(t, test.cas, test.lists...)
			check(t, err)
			if got := verdict(t, b, test.now, test.of, test.between...); got != test.want {
				t.Errorf("verdict %q, want %q", got, test.want)
			}
			// The CA is withdrawn while its clients are connected.
			chains := [][]*x509.Certificate{{test.of.Certificate, root.Certificate}}
			without, err := read(t, []*holder{other})
			check(t, err)
			var no *trust.Error
			if err := without.Check(chains, test.now); !errors.As(err, &no) || no.Reason != trust.Distrusted {
				t.Errorf("without its CA: %v", err)
			}
		})
	}
}

// Whoever may not be heard is not, and what tells only a part is not taken for all.
func TestListsRefused(t *testing.T) {
	root := issue(t, "root", true, nil)
	namesake := issue(t, "root", true, nil)
	mute := issue(t, "mute", true, nil, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign })
	loud := &holder{Certificate: &x509.Certificate{}, key: mute.key}
	*loud.Certificate = *mute.Certificate
	loud.KeyUsage = x509.KeyUsageCRLSign
	number, err := asn1.Marshal(3)
	check(t, err)
	extended := func(id ...int) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: id, Critical: true, Value: number}}
		}
	}
	good := root.crl(t, nil)
	torn := append([]byte{}, good...)
	torn[len(torn)-1] ^= 1
	for name, test := range map[string]struct {
		lists [][]byte
		want  string
	}{
		"of another CA of the same name": {[][]byte{namesake.crl(t, nil)}, "signed by no CA"},
		"of a CA that may not sign any":  {[][]byte{loud.crl(t, nil)}, "signed by no CA"},
		"changed":                        {[][]byte{torn}, "signed by no CA"},
		"delta":                          {[][]byte{root.crl(t, extended(2, 5, 29, 27))}, "delta CRL"},
		"partial":                        {[][]byte{root.crl(t, extended(2, 5, 29, 28))}, "a part of"},
		"not understood":                 {[][]byte{root.crl(t, extended(1, 2, 3))}, "1.2.3"},
		"two":                            {[][]byte{good, good}, "two CRLs"},
		"certificate":                    {[][]byte{toPEM("CERTIFICATE", root.Raw)}, "besides CRLs"},
		"cut off":                        {[][]byte{good[:len(good)-4]}, "PEM or DER"},
		"empty":                          {[][]byte{nil}, "PEM or DER"},
	} {
		if _, err := read(t, []*holder{root, mute}, test.lists...); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
	for name, text := range map[string][]byte{"nothing": nil, "a list": toPEM("X509 CRL", good), "no certificate": toPEM("CERTIFICATE", []byte("x"))} {
		if _, err := trust.Read(file(t, text)); err == nil {
			t.Errorf("%s was taken for a CA", name)
		}
	}
}

func TestGaps(t *testing.T) {
	root, other := issue(t, "root", true, nil), issue(t, "other", true, nil)
	b, err := read(t, []*holder{root, other}, root.crl(t, nil))
	check(t, err)
	if gaps := b.Gaps(time.Now()); len(gaps) != 1 || !strings.Contains(gaps[0], "CN=other") {
		t.Errorf("gaps %q, want that of other", gaps)
	}
	if gaps := b.Gaps(time.Now().Add(25 * time.Hour)); len(gaps) != 2 {
		t.Errorf("gaps %q, want two", gaps)
	}
}

// OpenSSL makes lists as CAs do: with an empty list, with reasons, and deltas.
func TestOpenSSL(t *testing.T) {
	dir := t.TempDir()
	openssl := func(args ...string) {
		t.Helper()
		command := exec.Command("openssl", args...)
		command.Dir = dir
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	check(t, os.WriteFile(at("ca.cnf"), []byte(`
[ca]
default_ca = this
[this]
database = index.txt
new_certs_dir = .
serial = serial
crlnumber = crlnumber
default_md = sha256
default_days = 1
default_crl_days = 1
policy = any
x509_extensions = client
[any]
commonName = supplied
[client]
keyUsage = digitalSignature
extendedKeyUsage = clientAuth
[delta]
2.5.29.27 = critical,ASN1:INTEGER:1
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
[req]
distinguished_name = req
`), 0o600))
	check(t, os.WriteFile(at("index.txt"), nil, 0o600))
	check(t, os.WriteFile(at("serial"), []byte("01\n"), 0o600))
	check(t, os.WriteFile(at("crlnumber"), []byte("01\n"), 0o600))
	openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=OpenSSL CA", "-config", "ca.cnf", "-extensions", "authority")
	openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "anna.key", "-out", "anna.csr", "-subj", "/CN=anna", "-config", "ca.cnf")
	openssl("ca", "-batch", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key", "-in", "anna.csr", "-out", "anna.pem")
	openssl("ca", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key", "-gencrl", "-out", "before.crl")
	openssl("ca", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key", "-revoke", "anna.pem", "-crl_reason", "keyCompromise")
	openssl("ca", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key", "-gencrl", "-out", "after.crl")
	openssl("ca", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key", "-gencrl", "-crlexts", "delta", "-out", "delta.crl")
	openssl("crl", "-in", "after.crl", "-outform", "DER", "-out", "after.der")

	text, err := os.ReadFile(at("anna.pem"))
	check(t, err)
	block, _ := pem.Decode(text)
	certificate, err := x509.ParseCertificate(block.Bytes)
	check(t, err)
	for name, want := range map[string]trust.Reason{"before.crl": "", "after.crl": trust.Revoked, "after.der": trust.Revoked} {
		b, err := trust.Read(at("ca.pem"))
		check(t, err)
		check(t, b.AddLists(at(name)))
		if got := verdict(t, b, time.Now(), &holder{Certificate: certificate}); got != want {
			t.Errorf("with %s the verdict is %q, want %q", name, got, want)
		}
	}
	b, err := trust.Read(at("ca.pem"))
	check(t, err)
	if err := b.AddLists(at("delta.crl")); err == nil || !strings.Contains(err.Error(), "delta CRL") {
		t.Errorf("the delta CRL: %v", err)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
