package console_test

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

// house is the whole of Latchkey, as it is shipped: the binary, with a SoftHSM
// token, a database and certificates of its own.
type house struct {
	url           string
	dir           string // where its files are
	ca            *throwawayca.Authority
	administrator *api.Client
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
  - {name: sven-desk, san: "email:sven@example.org", roles: [supervisor], operator: sven.strand}
  - {name: administrator, san: "email:admin@example.org", roles: [administrator]}
  - {name: identity-manager, san: "dns:idm.example.org", roles: [backend], names_operators: true}
operators:
  - {id: anna.schmidt, name: Anna Schmidt, roles: [operator]}
  - {id: sven.strand, name: Sven Strand, roles: [supervisor]}
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

// newHouse builds the binary and runs it until the test ends.
func newHouse(t *testing.T) *house { return newHouseAt(t, "127.0.0.1:0", "") }

// newHouseAt is newHouse at an address, with more in its configuration.
func newHouseAt(t *testing.T, address, more string) *house {
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
	check(t, os.WriteFile(at("latchkey.yaml"), fmt.Appendf(nil, configuration, fixture.Module, fixture.Label, fixture.PINFile, address, more), 0o600))

	if out, err := exec.Command("go", "build", "-o", at("latchkey"), "latchkey/cmd/latchkey").CombinedOutput(); err != nil {
		t.Fatalf("build latchkey: %v\n%s", err, out)
	}
	h := &house{ca: ca, dir: dir, url: run(t, exec.Command(at("latchkey"), "serve", "--config", at("latchkey.yaml")))}
	h.administrator, err = api.NewClient(api.Connection{
		Server: h.url, CA: at("ca.pem"), Certificate: at("admin.pem"), Key: at("admin.key"),
	})
	check(t, err)
	t.Cleanup(h.administrator.Close)
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

// cardType registers a card type, with the use case on for blocked cards.
func (h *house) cardType(t *testing.T, id, name, profile string) {
	t.Helper()
	_, _, err := h.administrator.PutCardType(t.Context(), api.CardType{
		ID: id, Name: name, Profile: profile, UnblockRemote: map[string]bool{"blocked": true},
	})
	check(t, err)
}

// issue registers a card, and makes it: with its PIN blocked.
func (h *house) issue(t *testing.T, c api.Card, keyType card.KeyType) *virtualcard.Card {
	t.Helper()
	_, _, err := h.administrator.PutCard(t.Context(), c)
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

// client calls the API with a certificate of that name.
func (h *house) client(t *testing.T, name string) *api.Client {
	t.Helper()
	pair, err := h.ca.Client(pkix.Name{CommonName: name}, name)
	check(t, err)
	certificate, key := filepath.Join(h.dir, "client.pem"), filepath.Join(h.dir, "client.key")
	check(t, pair.Write(certificate, key))
	c, err := api.NewClient(api.Connection{Server: h.url, CA: filepath.Join(h.dir, "ca.pem"), Certificate: certificate, Key: key})
	check(t, err)
	t.Cleanup(c.Close)
	return c
}

// door is where a browser that has no certificate of its own finds the server:
// it adds the certificate of that name, and passes on all else as the browser
// said it.
func (h *house) door(t *testing.T, name string) string {
	t.Helper()
	pair, err := h.ca.Client(pkix.Name{CommonName: name}, name)
	check(t, err)
	inside, err := url.Parse(h.url)
	check(t, err)
	transport := &http.Transport{TLSClientConfig: &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: h.ca.Pool(), Certificates: []tls.Certificate{pair.TLS()},
	}}
	t.Cleanup(transport.CloseIdleConnections)
	door := httptest.NewUnstartedServer(nil)
	door.Config.Handler = &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(inside)
			if r.In.Header.Get("Origin") == door.URL {
				r.Out.Header.Set("Origin", h.url)
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
