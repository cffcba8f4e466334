package openidtest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"latchkey/softhsm-test/internal/script"
	"latchkey/softhsm-test/throwawayca"
)

// What every Dex of the tests knows.
const (
	// ClientID and ClientSecret are those of a confidential client that may use the
	// authorization code, refresh and password grants. Tokens are for ClientID.
	ClientID     = "latchkey"
	ClientSecret = "a-secret-of-the-tests"
	// Password is everybody's.
	Password = "password"
)

// passwordHash is bcrypt's of Password, as Dex's own documentation has it.
const passwordHash = "$2a$10$2b2cU8CPhOTaGrs1HRQuAueS7JTT5ZHsHSzYiFPm1leZck7Mc8T4W"

// Dex is a running Dex. Its people are anna, omar and identity-manager, with
// NAME@example.org as address and NAME in the claim name. Its connector "mock" logs
// in Kilgore Trout of the group "authors", without asking.
type Dex struct {
	Issuer string
	CA     []byte // PEM, of Dex's own certificate

	tb       testing.TB
	dir      string
	redirect string
	process  *exec.Cmd
}

// built builds Dex, once in a process, unless it is there.
var built = sync.OnceValues(func() (string, error) { return script.Make("dex", "dex") })

// NewDex starts Dex on a free port; it ends with the test. Logins by authorization
// code come back to redirect, which may be an address where nobody answers.
func NewDex(tb testing.TB, redirect string) *Dex {
	tb.Helper()
	ca, err := throwawayca.New("Dex CA")
	if err != nil {
		tb.Fatal(err)
	}
	pair, err := ca.Server("127.0.0.1")
	if err != nil {
		tb.Fatal(err)
	}
	d := &Dex{tb: tb, dir: tb.TempDir(), CA: ca.PEM(), redirect: redirect}
	if err := pair.Write(filepath.Join(d.dir, "dex.crt"), filepath.Join(d.dir, "dex.key")); err != nil {
		tb.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	d.Issuer = "https://" + free.Addr().String() + "/dex"
	if err := free.Close(); err != nil {
		tb.Fatal(err)
	}
	people := ""
	for _, name := range []string{"anna", "omar", "identity-manager"} {
		people += fmt.Sprintf("- {email: %s@example.org, hash: %q, username: %s, userID: %s}\n", name, passwordHash, name, name)
	}
	config := fmt.Sprintf(`
issuer: %[1]s
storage: {type: memory}
web: {https: %[2]q, tlsCert: dex.crt, tlsKey: dex.key}
oauth2: {skipApprovalScreen: true, passwordConnector: local}
enablePasswordDB: true
staticPasswords:
%[3]s
connectors:
- {type: mockCallback, id: mock, name: Mock}
staticClients:
- {id: %[4]s, secret: %[5]s, name: Latchkey, redirectURIs: [%[6]q]}
- {id: other, secret: %[5]s, name: Another service, redirectURIs: [%[6]q]}
`, d.Issuer, free.Addr(), people, ClientID, ClientSecret, redirect)
	if err := os.WriteFile(filepath.Join(d.dir, "dex.yaml"), []byte(config), 0o600); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(d.Stop)
	d.Start()
	return d
}

// Start starts Dex, which makes itself new keys: it keeps none.
func (d *Dex) Start() {
	d.tb.Helper()
	path, err := built()
	if err != nil {
		d.tb.Fatal(err)
	}
	log, err := os.Create(filepath.Join(d.dir, "dex.log"))
	if err != nil {
		d.tb.Fatal(err)
	}
	d.process = exec.Command(path, "serve", "dex.yaml")
	d.process.Dir, d.process.Stdout, d.process.Stderr = d.dir, log, log
	// A test that is killed takes Dex along.
	d.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := errors.Join(d.process.Start(), log.Close()); err != nil {
		d.tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for client := d.Client(); ; time.Sleep(20 * time.Millisecond) {
		answer, err := client.Get(d.Issuer + "/.well-known/openid-configuration")
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return
			}
		}
		if ctx.Err() != nil {
			said, _ := os.ReadFile(filepath.Join(d.dir, "dex.log"))
			d.tb.Fatalf("Dex does not answer: %v\n%s", err, said)
		}
	}
}

// Stop stops Dex, if it runs.
func (d *Dex) Stop() {
	if d.process == nil {
		return
	}
	if err := d.process.Process.Kill(); err != nil {
		d.tb.Error(err)
	}
	_ = d.process.Wait() // it was killed
	d.process = nil
}

// Client is an HTTP client that trusts Dex, keeps cookies and follows nobody to
// the redirect address.
func (d *Dex) Client() *http.Client {
	d.tb.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(d.CA)
	jar, err := cookiejar.New(nil)
	if err != nil {
		d.tb.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}, DisableKeepAlives: true}
	return &http.Client{Transport: transport, Jar: jar, Timeout: time.Minute, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), d.redirect) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
}

// Token is the ID token of one of Dex's people, for a client: ClientID, or
// "other".
func (d *Dex) Token(name, client string) string {
	d.tb.Helper()
	return d.exchange(client, url.Values{
		"grant_type": {"password"}, "scope": {"openid profile email groups"},
		"username": {name + "@example.org"}, "password": {Password},
	})
}

// MockToken is the ID token of the connector "mock", got with an authorization
// code.
func (d *Dex) MockToken() string {
	d.tb.Helper()
	code := d.Code(url.Values{}, "mock")
	return d.exchange(ClientID, url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {d.redirect}})
}

// Code logs in by a connector that asks nothing and gives the authorization code.
// The query is added to what a client sends.
func (d *Dex) Code(query url.Values, connector string) string {
	d.tb.Helper()
	for name, value := range map[string]string{
		"client_id": ClientID, "redirect_uri": d.redirect, "response_type": "code", "scope": "openid profile email groups", "state": "s",
	} {
		if !query.Has(name) {
			query.Set(name, value)
		}
	}
	answer, err := d.Client().Get(d.Issuer + "/auth/" + connector + "?" + query.Encode())
	if err != nil {
		d.tb.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	back, err := answer.Location()
	if err != nil || back.Query().Get("code") == "" {
		d.tb.Fatalf("no code: %s, %v, %v", answer.Status, back, err)
	}
	return back.Query().Get("code")
}

func (d *Dex) exchange(client string, form url.Values) string {
	d.tb.Helper()
	r, err := http.NewRequest(http.MethodPost, d.Issuer+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		d.tb.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(client, ClientSecret)
	answer, err := d.Client().Do(r)
	if err != nil {
		d.tb.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var body struct {
		Token string `json:"id_token"`
	}
	text, err := io.ReadAll(answer.Body)
	if err == nil {
		err = json.Unmarshal(text, &body)
	}
	if err != nil || body.Token == "" {
		d.tb.Fatalf("no token: %s, %v\n%s", answer.Status, err, text)
	}
	return body.Token
}
