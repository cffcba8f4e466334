package throwawayca_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"latchkey/softhsm-test/throwawayca"
)

func TestCertificates(t *testing.T) {
	ca, err := throwawayca.New("Throw-away CA")
	if err != nil {
		t.Fatal(err)
	}
	server, err := ca.Server("127.0.0.1", "latchkey.example")
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "latchkey.example"} {
		if _, err := server.Certificate.Verify(x509.VerifyOptions{Roots: ca.Pool(), DNSName: host}); err != nil {
			t.Errorf("server certificate for %s: %v", host, err)
		}
	}
	client, err := ca.Client(pkix.Name{CommonName: "idm", Organization: []string{"Example"}},
		"dns:idm.example", "uri:spiffe://example/idm", "email:idm@example.org")
	if err != nil {
		t.Fatal(err)
	}
	asClient := x509.VerifyOptions{Roots: ca.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	c := client.Certificate
	if _, err := c.Verify(asClient); err != nil {
		t.Errorf("client certificate: %v", err)
	}
	if _, err := server.Certificate.Verify(asClient); err == nil {
		t.Error("a server certificate passes for a client's")
	}
	names := append(slices.Concat(c.DNSNames, c.EmailAddresses), c.URIs[0].String())
	if want := []string{"idm.example", "idm@example.org", "spiffe://example/idm"}; !slices.Equal(names, want) || c.Subject.String() != "CN=idm,O=Example" {
		t.Errorf("client certificate of %s has the names %v, want %v", c.Subject, names, want)
	}
	if _, err := ca.Client(pkix.Name{}, "idm.example"); err == nil {
		t.Error("a name without its kind was taken")
	}
}

func TestFiles(t *testing.T) {
	ca, err := throwawayca.New("Throw-away CA")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Server("localhost")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	certificate, key, root := filepath.Join(folder, "server.pem"), filepath.Join(folder, "server.key"), filepath.Join(folder, "ca.pem")
	if err := pair.Write(certificate, key); err != nil {
		t.Fatal(err)
	}
	if err := ca.Write(root); err != nil {
		t.Fatal(err)
	}
	if _, err := tls.LoadX509KeyPair(certificate, key); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: mode %v, error %v; want 0600", info.Mode(), err)
	}
	text, err := os.ReadFile(root)
	if err != nil || !x509.NewCertPool().AppendCertsFromPEM(text) {
		t.Errorf("CA file is no certificate: %v", err)
	}
}
