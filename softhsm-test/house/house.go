// Package house is the whole of Latchkey for the tests that look at it from outside: the
// binary as it is shipped, with a SoftHSM token, a database, certificates and people of
// its own, on 127.0.0.1.
package house

import (
	"bufio"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/card"
	"latchkey/hsm"
	"latchkey/server/api"
	softhsmtest "latchkey/softhsm-test"
	"latchkey/softhsm-test/throwawayca"
	"latchkey/softhsm-test/virtualcard"
)

// House is a running Latchkey.
type House struct {
	URL           string // without a slash at the end
	Dir           string // where its files are
	CA            *throwawayca.Authority
	Administrator *api.Client
}

// Config is what is particular about a house. Its zero value is a house like others.
type Config struct {
	// Address is where it listens, empty for a free port.
	Address string
	// More is added to its configuration file.
	More string
	// Module gives the PKCS#11 module that the server is to use, of SoftHSM's; nil for
	// that itself.
	Module func(softhsm string) string
}

// masterKey is the test master key, AES-256; the virtual cards' admin keys are
// derived from it here as well.
const masterKey = "an AES-256 key for tests alone!!"

const configuration = `
listen: %[4]s
tls: {certificate: server.pem, key: server.key, client_ca: ca.pem}
hsm:
  module: %[1]s
  token: {label: %[2]s}
  pin: {file: %[3]s}
store: {path: latchkey.db}
clients:
  - {name: anna-desk, san: "email:anna@example.org", roles: [operator], operator: anna.schmidt}
  - {name: berit-desk, san: "email:berit@example.org", roles: [operator], operator: berit.holm}
  - {name: sven-desk, san: "email:sven@example.org", roles: [supervisor], operator: sven.strand}
  - {name: ada-desk, san: "email:ada@example.org", roles: [administrator], operator: ada.adler}
  - {name: olga-desk, san: "email:olga@example.org", roles: [security-officer], operator: olga.ohm}
  - {name: oskar-desk, san: "email:oskar@example.org", roles: [security-officer], operator: oskar.ost}
  - {name: axel-desk, san: "email:axel@example.org", roles: [auditor], operator: axel.ahl}
  - {name: maja-desk, san: "email:maja@example.org", roles: [operator, supervisor, administrator, auditor], operator: maja.mang}
  - {name: administrator, san: "email:admin@example.org", roles: [administrator]}
  - {name: identity-manager, san: "dns:idm.example.org", roles: [backend], names_operators: true}
operators:
  - {id: anna.schmidt, name: Anna Schmidt, roles: [operator]}
  - {id: berit.holm, name: Berit Holm, roles: [operator]}
  - {id: sven.strand, name: Sven Strand, roles: [supervisor]}
  - {id: ada.adler, name: Ada Adler, roles: [administrator]}
  - {id: olga.ohm, name: Olga Ohm, roles: [security-officer]}
  - {id: oskar.ost, name: Oskar Ost, roles: [security-officer]}
  - {id: axel.ahl, name: Axel Ahl, roles: [auditor]}
  - {id: maja.mang, name: Maja Mång, roles: [operator, supervisor, administrator, auditor]}
  - {id: anna, name: Anna Blom, roles: [operator]}
profiles:
  - id: tdes
    name: GIDS card
    response_algorithm: tdes-ecb
    challenge_length: 8
    card_key_type: tdes3
    scheme: latchkey-v1
    master_key: fleet
    master_key_version: 1
  - id: aes
    name: AES card
    response_algorithm: aes-ecb
    challenge_length: 16
    card_key_type: aes256
    scheme: latchkey-v1
    master_key: fleet
    master_key_version: 1
%[5]s
`

// New builds the binary and runs it until the test ends. Who may come in is in the
// configuration above: NAME@example.org with the door "email:NAME@example.org" for anna
// and berit (operators), sven (supervisor), ada (administrator), olga and oskar (security
// officers), axel (auditor), maja (nearly everything), admin (an administrator who is
// nobody), and "dns:idm.example.org", a backend.
func New(t *testing.T, c Config) *House {
	t.Helper()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	ca, err := throwawayca.New("Console test CA")
	check(t, err)
	check(t, ca.Write(at("ca.pem")))
	server, err := ca.Server("127.0.0.1")
	check(t, err)
	check(t, server.Write(at("server.pem"), at("server.key")))
	administrator, err := ca.Client(pkix.Name{CommonName: "administrator"}, "email:admin@example.org")
	check(t, err)
	check(t, administrator.Write(at("admin.pem"), at("admin.key")))

	fixture := softhsmtest.New(t)
	// The token is closed again before the server opens it.
	if !t.Run("import the master key", func(t *testing.T) {
		_, err := fixture.Open(t).Import(t.Context(), hsm.NewKey{Label: "fleet", Version: 1, Type: card.AES256, Use: hsm.ForDeriving}, []byte(masterKey))
		check(t, err)
	}) {
		t.FailNow()
	}
	module := fixture.Module
	if c.Module != nil {
		module = c.Module(module)
	}
	address := c.Address
	if address == "" {
		address = "127.0.0.1:0"
	}
	check(t, os.WriteFile(at("latchkey.yaml"), fmt.Appendf(nil, configuration, module, fixture.Label, fixture.PINFile, address, c.More), 0o600))

	if out, err := exec.Command("go", "build", "-o", at("latchkey"), "latchkey/cmd/latchkey").CombinedOutput(); err != nil {
		t.Fatalf("build latchkey: %v\n%s", err, out)
	}
	h := &House{CA: ca, Dir: dir, URL: run(t, exec.Command(at("latchkey"), "serve", "--config", at("latchkey.yaml")))}
	h.Administrator, err = api.NewClient(api.Connection{
		Server: h.URL, CA: at("ca.pem"), Certificate: at("admin.pem"), Key: at("admin.key"),
	})
	check(t, err)
	t.Cleanup(h.Administrator.Close)
	return h
}

// run runs the server until the test ends, and gives the URL that its log says it
// serves.
func run(t *testing.T, server *exec.Cmd) string {
	t.Helper()
	stderr, err := server.StderrPipe()
	check(t, err)
	check(t, server.Start())
	serving := make(chan string, 1)
	var log strings.Builder
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		defer close(serving)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			log.WriteString(lines.Text() + "\n")
			var line struct{ Msg, URL string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "serving" {
				serving <- line.URL
			}
		}
	}()
	t.Cleanup(func() {
		_ = server.Process.Signal(os.Interrupt) // it may have ended already, which Wait tells
		<-logged
		if err := server.Wait(); err != nil || t.Failed() {
			t.Errorf("the server ended with %v; its log:\n%s", err, log.String())
		}
	})
	url := <-serving
	if url == "" {
		t.Fatal("the server did not start")
	}
	return url
}

// CardType registers a card type, with the use case on for blocked cards.
func (h *House) CardType(t *testing.T, id, name, profile string) {
	t.Helper()
	_, _, err := h.Administrator.PutCardType(t.Context(), api.CardType{
		ID: id, Name: name, Profile: profile, UnblockRemote: map[string]bool{"blocked": true},
	})
	check(t, err)
}

// Issue registers a card, and makes it: with its PIN blocked.
func (h *House) Issue(t *testing.T, c api.Card, keyType card.KeyType) *virtualcard.Card {
	t.Helper()
	_, _, err := h.Administrator.PutCard(t.Context(), c)
	check(t, err)
	made, err := virtualcard.New(virtualcard.Config{Serial: c.Serial, KeyType: keyType, AdminKey: adminKey(t, c.Serial, keyType), PIN: "1234"})
	check(t, err)
	for !made.Blocked() {
		if made.VerifyPIN("0000") == nil {
			t.Fatal("the card takes a wrong PIN")
		}
	}
	return made
}

// adminKey derives a card's admin key as scheme latchkey-v1 does (docs/schemes.md).
func adminKey(t *testing.T, serial string, keyType card.KeyType) []byte {
	t.Helper()
	block, err := aes.NewCipher([]byte(masterKey))
	check(t, err)
	data := sha256.Sum256(fmt.Appendf(nil, "latchkey-v1\x00%s\x00%s", keyType, serial))
	cipher.NewCBCEncrypter(block, make([]byte, aes.BlockSize)).CryptBlocks(data[:], data[:])
	return data[:keyType.Len()]
}

// Client calls the API with a certificate of that name.
func (h *House) Client(t *testing.T, name string) *api.Client {
	t.Helper()
	pair, err := h.CA.Client(pkix.Name{CommonName: name}, name)
	check(t, err)
	certificate, key := filepath.Join(h.Dir, "client.pem"), filepath.Join(h.Dir, "client.key")
	check(t, pair.Write(certificate, key))
	c, err := api.NewClient(api.Connection{Server: h.URL, CA: filepath.Join(h.Dir, "ca.pem"), Certificate: certificate, Key: key})
	check(t, err)
	t.Cleanup(c.Close)
	return c
}

// Door is where a browser that has no certificate of its own finds the server: see
// [Door].
func (h *House) Door(t *testing.T, name string) string {
	t.Helper()
	pair, err := h.CA.Client(pkix.Name{CommonName: name}, name)
	check(t, err)
	return Door(t, h.URL, h.CA, pair)
}

// Door is where a browser that has no certificate of its own finds the server of that
// URL: it adds the one given, and passes on all else as the browser said it.
func Door(t *testing.T, server string, ca *throwawayca.Authority, pair *throwawayca.Pair) string {
	t.Helper()
	inside, err := url.Parse(server)
	check(t, err)
	transport := &http.Transport{TLSClientConfig: &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: ca.Pool(), Certificates: []tls.Certificate{pair.TLS()},
	}}
	t.Cleanup(transport.CloseIdleConnections)
	door := httptest.NewUnstartedServer(nil)
	door.Config.Handler = &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(inside)
			if r.In.Header.Get("Origin") == door.URL {
				r.Out.Header.Set("Origin", server)
			}
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			if !errors.Is(err, context.Canceled) { // the browser may go on before a page is there
				t.Errorf("the server was not reached: %v", err)
			}
			w.WriteHeader(http.StatusBadGateway)
		},
	}
	door.Start()
	t.Cleanup(door.Close)
	return door.URL
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
