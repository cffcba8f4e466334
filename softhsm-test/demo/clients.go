package demo

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"latchkey/softhsm-test/throwawayca"
)

// The clients, by the names of their files. config.yaml names their certificates.
const (
	backendName       = "identity-manager"
	administratorName = "administrator"
	operatorName      = "anna"
	supervisorName    = "omar"
	officerName       = "olga"
	otherOfficerName  = "otto"

	organisation = "Latchkey demo"
	// p12Password guards nothing: the same key lies beside the file without one.
	// Browsers want to be told some password.
	p12Password = "latchkey"
)

func clientNames() []string {
	return []string{backendName, administratorName, operatorName, supervisorName, officerName, otherOfficerName}
}

// renewal is how long before their end certificates are made anew.
const renewal = 24 * time.Hour

// makeCertificates makes the CA and all certificates, unless those of an earlier
// run still hold. The CA's key is not kept, so all are made together.
func (d *demo) makeCertificates(context.Context) error {
	server, key := d.path("server.pem"), d.path("server.key")
	if pair, err := tls.LoadX509KeyPair(server, key); err == nil && time.Until(pair.Leaf.NotAfter) > renewal && d.haveClients() {
		return nil
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	d.say("Making a CA and certificates, of which the CA's key is thrown away")
	ca, err := throwawayca.New(organisation + " CA")
	if err != nil {
		return err
	}
	for _, name := range clientNames() {
		if err := d.makeClient(ca, name); err != nil {
			return err
		}
	}
	if err := ca.Write(d.path(caFile)); err != nil {
		return err
	}
	// Last, since it tells the next run that all are there.
	pair, err := ca.Server("127.0.0.1", "::1", "localhost")
	if err != nil {
		return err
	}
	return pair.Write(server, key)
}

// haveClients tells whether an earlier run made the certificates of all clients.
func (d *demo) haveClients() bool {
	return !slices.ContainsFunc(clientNames(), func(name string) bool {
		_, err := os.Stat(d.path(clientDir, name+".pem"))
		return err != nil
	})
}

// makeClient makes a client's certificate, its file for browsers and its file for
// the latchkey command.
func (d *demo) makeClient(ca *throwawayca.Authority, name string) error {
	pair, err := ca.Client(pkix.Name{CommonName: name, Organization: []string{organisation}})
	if err != nil {
		return err
	}
	base := d.path(clientDir, name)
	if err := pair.Write(base+".pem", base+".key"); err != nil {
		return err
	}
	p12, err := pkcs12.Modern.Encode(pair.TLS().PrivateKey, pair.Certificate, []*x509.Certificate{ca.Certificate}, p12Password)
	if err != nil {
		return fmt.Errorf("encode PKCS #12 file of %s: %w", name, err)
	}
	return os.WriteFile(base+".p12", p12, 0o600)
}

// writeClientFiles writes a file for the latchkey command's --client for each
// client; the server's address may be another on each run.
func (d *demo) writeClientFiles() error {
	for _, name := range clientNames() {
		text := fmt.Sprintf("server: %s\nca: ../%s\ncertificate: %s.pem\nkey: %s.key\n", d.url, caFile, name, name)
		if name == backendName {
			text += "operator: " + operatorName + "\n"
		}
		if err := os.WriteFile(d.path(clientDir, name+".yaml"), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

//go:embed config.yaml
var configText string

// makeConfig writes the server's configuration, unless there is one: it may have
// been changed since.
func (d *demo) makeConfig(context.Context) error {
	path := d.path(configFile)
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	d.say("Writing the configuration, %s", d.short(path))
	text := strings.ReplaceAll(configText, "MODULE", d.token.Module)
	return os.WriteFile(path, []byte(text), 0o600)
}
