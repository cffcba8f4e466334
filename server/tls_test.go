package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"latchkey/identity"
	"latchkey/server/api"
	"latchkey/softhsm-test/throwawayca"
)

// verified is a connection whose client was verified to have the certificate.
func verified(c *x509.Certificate) *tls.ConnectionState {
	return &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c}, VerifiedChains: [][]*x509.Certificate{{c}}}
}

func TestIdentify(t *testing.T) {
	ca, err := throwawayca.New("Test CA")
	if err != nil {
		t.Fatal(err)
	}
	known, err := newClients([]identity.Client{
		{Name: "subject", Subject: "CN=idm,O=Example"},
		{Name: "dns", SAN: "dns:idm.example.org"},
		{Name: "uri", SAN: "uri:spiffe://example/idm"},
		{Name: "email", SAN: "email:anna@example.org"},
		{Name: "admin", Subject: "CN=admin"},
	}, DefaultRate(), nil)
	if err != nil {
		t.Fatal(err)
	}
	commonName := asn1.ObjectIdentifier{2, 5, 4, 3}
	for _, test := range []struct {
		name    string
		subject pkix.Name
		sans    []string
		want    string // name of a client, or part of the detail
	}{
		{"subject", pkix.Name{CommonName: "idm", Organization: []string{"Example"}}, nil, "subject"},
		{"DNS name", pkix.Name{CommonName: "x"}, []string{"dns:idm.example.org"}, "dns"},
		{"URI", pkix.Name{CommonName: "x"}, []string{"dns:other", "uri:spiffe://example/idm"}, "uri"},
		{"e-mail address", pkix.Name{}, []string{"email:anna@example.org"}, "email"},
		{"nobody", pkix.Name{CommonName: "x"}, []string{"dns:other"}, "CN=x, dns:other"},
		{"part of a subject", pkix.Name{CommonName: "idm"}, nil, "CN=idm"},
		{"more than a subject", pkix.Name{CommonName: "idm", Organization: []string{"Example"}, Country: []string{"SE"}}, nil, "C=SE"},
		{"subject in another case", pkix.Name{CommonName: "IDM", Organization: []string{"Example"}}, nil, "CN=IDM"},
		{"subject with a comma in its name", pkix.Name{CommonName: "idm,O=Example"}, nil, `CN=idm\,O=Example`},
		{"a name as a common name", pkix.Name{CommonName: "dns:idm.example.org"}, nil, "CN=dns:idm.example.org"},
		{"a subject as a name", pkix.Name{CommonName: "x"}, []string{"dns:CN=idm,O=Example"}, "No client"},
		{"wildcard", pkix.Name{CommonName: "x"}, []string{"dns:*.example.org"}, "No client"},
		{"two clients", pkix.Name{CommonName: "idm", Organization: []string{"Example"}}, []string{"dns:idm.example.org"}, "must fit one"},
		// Go's own text of a subject shows the last common name only.
		{"two common names", pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{{Type: commonName, Value: "mallory"}, {Type: commonName, Value: "admin"}}},
			nil, "CN=admin,CN=mallory"},
	} {
		t.Run(test.name, func(t *testing.T) {
			pair, err := ca.Client(test.subject, test.sans...)
			if err != nil {
				t.Fatal(err)
			}
			c, err := known.identify(verified(pair.Certificate), nil)
			var no *refusal
			switch {
			case err == nil && c.Name != test.want:
				t.Errorf("it is %s, want %s", c.Name, test.want)
			case err != nil && (!errors.As(err, &no) || no.code != codeClientUnknown || !strings.Contains(no.detail, test.want)):
				t.Errorf("error %v, want one of %s", err, test.want)
			}
			// A certificate that came and was not verified is none.
			unverified := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{pair.Certificate}}
			if _, err := known.identify(unverified, nil); !errors.As(err, &no) || no.code != codeNoCertificate {
				t.Errorf("not verified: %v", err)
			}
		})
	}
}

// What is not good enough for TLS does not get as far as HTTP.
func TestHandshake(t *testing.T) {
	w := newWorld(t)
	foreign, err := throwawayca.New("Test CA") // of the same name
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := foreign.Client(pkix.Name{CommonName: "backend", Organization: []string{"Example"}})
	if err != nil {
		t.Fatal(err)
	}
	server, err := w.ca.Server("idm.example.org")
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*tls.Config){
		"certificate of another CA": func(c *tls.Config) { c.Certificates = []tls.Certificate{stranger.TLS()} },
		"certificate of a server":   func(c *tls.Config) { c.Certificates = []tls.Certificate{server.TLS()} },
		"TLS 1.1":                   func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 },
	} {
		config := w.tlsConfig("")
		change(config)
		plain := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
		if response, err := plain.Get(w.url + "/healthz"); err == nil {
			t.Errorf("%s: %s", name, response.Status)
			_ = response.Body.Close()
		}
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config := w.tlsConfig("admin")
		config.MinVersion, config.MaxVersion = version, version
		plain := &http.Client{Transport: w.contract.through(t, &http.Transport{TLSClientConfig: config})}
		response, err := plain.Get(w.url + "/v1/card-types")
		if err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", tls.VersionName(version), response.Status)
		}
		_ = response.Body.Close()
		plain.CloseIdleConnections()
	}
}

// files writes a server certificate and a client CA.
func (w *world) files(server, clients *throwawayca.Authority) TLSFiles {
	w.t.Helper()
	folder := w.t.TempDir()
	files := TLSFiles{
		Certificate: filepath.Join(folder, "server.pem"), Key: filepath.Join(folder, "server.key"), ClientCA: filepath.Join(folder, "ca.pem"),
	}
	w.write(files, server, clients)
	return files
}

func (w *world) write(files TLSFiles, server, clients *throwawayca.Authority) {
	w.t.Helper()
	pair, err := server.Server("127.0.0.1")
	if err != nil {
		w.t.Fatal(err)
	}
	if err := errors.Join(pair.Write(files.Certificate, files.Key), clients.Write(files.ClientCA)); err != nil {
		w.t.Fatal(err)
	}
}

// Certificates are exchanged without a restart; ones that cannot be used are not.
func TestReload(t *testing.T) {
	w := newWorld(t)
	files := w.files(w.ca, w.ca)
	files.TLS12 = true
	transport, err := files.Open(w.server.Logger, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	w.restart(func(c *Config) { c.TLS = transport.Config() })
	weak := w.tlsConfig("admin")
	weak.MaxVersion, weak.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
	if c, err := tls.Dial("tcp", strings.TrimPrefix(w.url, "https://"), weak); err == nil {
		t.Error("a CBC cipher suite was taken")
		_ = c.Close()
	}

	// status calls on a new connection, which may resume a session.
	sessions := tls.NewLRUClientSessionCache(8)
	status := func() (status int, server []byte, resumed bool) {
		t.Helper()
		c := w.tlsConfig("admin")
		c.ClientSessionCache = sessions
		plain := &http.Client{Transport: &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true}}
		defer plain.CloseIdleConnections()
		response, err := plain.Get(w.url + "/v1/card-types")
		if err != nil {
			return 0, nil, false
		}
		defer func() { _ = response.Body.Close() }()
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			t.Fatal(err)
		}
		if response.ProtoMajor != 2 {
			t.Errorf("the protocol is %s", response.Proto)
		}
		return response.StatusCode, response.TLS.PeerCertificates[0].SerialNumber.Bytes(), response.TLS.DidResume
	}
	first, before, _ := status()
	second, _, resumed := status()
	if first != http.StatusOK || second != http.StatusOK || !resumed {
		t.Fatalf("%d, and with a resumed (%v) session %d", first, resumed, second)
	}

	// Each change is given a time of its own, whatever the file system's clock does.
	change := 0
	touch := func() {
		t.Helper()
		change++
		at := time.Now().Add(time.Duration(change) * time.Hour)
		for _, path := range []string{files.Certificate, files.Key, files.ClientCA} {
			if err := os.Chtimes(path, at, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.write(files, w.ca, w.ca)
	touch()
	sessions = tls.NewLRUClientSessionCache(8)
	if code, after, _ := status(); code != http.StatusOK || string(after) == string(before) {
		t.Errorf("%d, with the certificate of before: %v", code, string(after) == string(before))
	}
	if err := os.WriteFile(files.Key, []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	touch()
	for range 2 {
		if code, _, _ := status(); code != http.StatusOK {
			t.Errorf("with a torn key: %d, want the pair of before", code)
		}
	}
	if n := w.logs.FilterMessageSnippet("cannot be used").Len(); n != 1 {
		t.Errorf("the log complains %d times, want once", n)
	}
	// A CA that is not trusted any more ends its clients' sessions as well.
	other, err := throwawayca.New("Other CA")
	if err != nil {
		t.Fatal(err)
	}
	w.write(files, w.ca, other)
	touch()
	if code, _, resumed := status(); code == http.StatusOK {
		t.Errorf("a client of the CA that went is let in, resumed %v", resumed)
	}

	if _, err := (TLSFiles{}).Open(zap.NewNop(), time.Now); err == nil {
		t.Error("files that are not there were taken")
	}
}

// A certificate that is revoked while its client is connected is good for nothing
// from the next request on, whether over the same connection or a resumed session.
func TestRevocation(t *testing.T) {
	w := newWorld(t)
	files := w.files(w.ca, w.ca)
	crl := filepath.Join(t.TempDir(), "clients.crl")
	files.ClientCRL = []string{crl}
	admin, err := w.ca.Client(pkix.Name{}, "uri:spiffe://example/admin")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	write := func(issuer *throwawayca.Authority, nextUpdate time.Time, revoked ...*throwawayca.Pair) {
		t.Helper()
		list, err := issuer.CRL(1, nextUpdate, revoked...)
		if err == nil {
			err = os.WriteFile(crl, list, 0o600)
		}
		// Each change is given a time of its own, whatever the file system's clock does.
		at = at.Add(time.Minute)
		if err := errors.Join(err, os.Chtimes(crl, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	tomorrow := time.Now().Add(24 * time.Hour)
	write(w.ca, tomorrow)
	clock := &clock{now: time.Now()}
	transport, err := files.Open(w.server.Logger, clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	transport.every = 0 // no request comes too soon after another for the files to be looked at
	w.restart(func(c *Config) { c.TLS, c.StillGood = transport.Config(), transport.Check })

	config := &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: w.ca.Pool(), Certificates: []tls.Certificate{admin.TLS()},
		ClientSessionCache: tls.NewLRUClientSessionCache(8),
	}
	kept := &http.Client{Transport: w.contract.through(t, &http.Transport{TLSClientConfig: config})}
	fresh := &http.Client{Transport: w.contract.through(t, &http.Transport{TLSClientConfig: config, DisableKeepAlives: true})}
	// wants calls over the connection that was made first and over a new one.
	wants := func(when, code string) {
		t.Helper()
		for how, c := range map[string]*http.Client{"kept": kept, "new": fresh} {
			response, err := c.Get(w.url + "/v1/card-types")
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			if err = errors.Join(err, response.Body.Close()); err != nil {
				t.Fatal(err)
			}
			got := answer{response.StatusCode, response.Header, body}
			switch {
			case code == "" && got.status != http.StatusOK:
				t.Errorf("%s, %s connection: %d %s", when, how, got.status, body)
			case code != "" && got.problem(t).Code != code:
				t.Errorf("%s, %s connection: %d %s, want %s", when, how, got.status, body, code)
			}
			if how == "new" && when != "first" && !response.TLS.DidResume {
				t.Errorf("%s: the session was not resumed", when)
			}
		}
	}
	wants("first", "")
	wants("before", "")
	write(w.ca, tomorrow, admin)
	wants("revoked", codeRevoked)
	write(w.ca, tomorrow)
	wants("taken off the list", "")

	// A list that cannot be used leaves the one before, for as long as that holds.
	foreign, err := throwawayca.New("Test CA")
	if err != nil {
		t.Fatal(err)
	}
	write(foreign, tomorrow.Add(time.Hour), admin)
	wants("list of another CA", "")
	if n := w.logs.FilterMessageSnippet("cannot be used").Len(); n != 1 {
		t.Errorf("the log complains %d times, want once", n)
	}
	clock.advance(25 * time.Hour)
	wants("list out of date", codeNoCRL)
	if n := w.logs.FilterMessageSnippet("ALARM").Len(); n != 1 {
		t.Errorf("the log gives %d alarms, want one", n)
	}
	write(w.ca, tomorrow.Add(24*time.Hour))
	wants("list renewed", "")

	// A CA that is not trusted any more is not over a connection of before either.
	if err := foreign.Write(files.ClientCA); err != nil {
		t.Fatal(err)
	}
	write(foreign, tomorrow.Add(24*time.Hour))
	response, err := kept.Get(w.url + "/v1/card-types")
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("without the CA: %s", response.Status)
	}
	// Probes go on: they need no certificate.
	if response, err = kept.Get(w.url + "/healthz"); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("health: %v, %v", response, err)
	}
	_ = response.Body.Close()
	kept.CloseIdleConnections()
}

// Clients that speak TLS 1.2 alone are let in where the configuration says so.
func TestOldestTLS(t *testing.T) {
	w := newWorld(t)
	for _, allowed := range []bool{false, true} {
		files := w.files(w.ca, w.ca)
		files.TLS12 = allowed
		transport, err := files.Open(w.server.Logger, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		w.restart(func(c *Config) { c.TLS = transport.Config() })
		old := w.tlsConfig("admin")
		old.MaxVersion = tls.VersionTLS12
		c, err := tls.Dial("tcp", strings.TrimPrefix(w.url, "https://"), old)
		if (err == nil) != allowed {
			t.Errorf("allowed %v: %v", allowed, err)
		}
		if err == nil {
			_ = c.Close()
		}
	}
}

// When the server is told to end, requests under way get their answer.
func TestGracefulEnd(t *testing.T) {
	w := newWorld(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	w.remake(func(c *Config) { c.Directory = slow{c.Directory, entered, leave} })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	server := w.server
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, listener) }()
	w.url = "https://" + listener.Addr().String()
	answered := make(chan answer, 1)
	go func() { answered <- w.call("admin", "GET", "/v1/card-types", nil) }()
	<-entered
	end()
	for { // until nothing listens any more
		c, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			break
		}
		_ = c.Close()
	}
	close(leave)
	var list api.CardTypes
	if a := <-answered; a.status != http.StatusOK {
		t.Errorf("%d %s, want %v", a.status, a.body, list)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
