package softhsmtest_test

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/card"
	"latchkey/server/api"
	"latchkey/softhsm-test/faultmodule"
)

// The server's key is in the token and never anywhere else: it serves with it, and
// goes on to when its sessions die.
func TestTLSKeyInHSM(t *testing.T) {
	for _, kind := range []string{"rsa:2048", "EC:prime256v1"} {
		t.Run(kind, func(t *testing.T) {
			a := prepareAppliance(t)
			a.token.PKCS11Tool(t, "--keypairgen", "--key-type", kind, "--label", "tls", "--id", "0a")
			fault := faultmodule.Start(t, a.token.Module)
			a.writeConfig(t, fault.Path)
			a.keyInHSM(t, "tls")
			a.start(t)
			unblock := func(serial string) {
				t.Helper()
				a.register(t, card.TDES3, serial)
				c := issueCard(t, card.TDES3, serial)
				blockCard(t, c)
				// as makes a client of its own, and so a handshake.
				answer := call[api.Response](t, a.as(t, "anna"), http.MethodPost, "/v1/cards/"+serial+"/response",
					api.Respond{Challenge: typedChallenge(t, c), Reason: reason})
				setPIN(t, c, answer.Grouped, "583920")
			}
			unblock("TLS-1")
			fault.DropSessions()
			unblock("TLS-2")
			a.stop(t)
		})
	}
}

// keyInHSM changes the configuration: the server's key is the token's of that label.
func (a *appliance) keyInHSM(t *testing.T, label string) {
	t.Helper()
	secrets := filepath.Dir(a.config)
	public := filepath.Join(secrets, "public.der")
	a.token.PKCS11Tool(t, "--read-object", "--type", "pubkey", "--label", label, "--output-file", public)
	der, err := os.ReadFile(public)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := a.ca.ServerFor(key, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(secrets, "server.key")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(a.config)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), "key: "+file, fmt.Sprintf("hsm_key: {label: %s}", label), 1)
	for path, content := range map[string]string{filepath.Join(secrets, "server.crt"): string(certificate), a.config: changed} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
