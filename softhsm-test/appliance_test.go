package softhsmtest_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"latchkey/server/api"
	softhsmtest "latchkey/softhsm-test"
	"latchkey/softhsm-test/throwawayca"
)

// patience bounds how long the suite waits for the server to start or to stop
// before it calls it hung. It is not a measure of anything.
const patience = time.Minute

// appliance is the latchkey binary, serving: a process of its own, with a real
// token, a SQLite file and a CA that nobody else knows.
type appliance struct {
	token  *softhsmtest.Token
	spy    *softhsmtest.Spy
	ca     *throwawayca.Authority
	dir    string // holds all that the server writes
	config string
	url    string
	store  string     // the section of the configuration; a file in dir where it is empty
	place  *namespace // where it runs, nil for where the test does
	// begin starts the process, where it is not done as usual.
	begin func(*exec.Cmd) error

	process *exec.Cmd
	exited  chan struct{} // closed when the process has ended
}

// newAppliance makes all that the server needs, with the test master key in its
// token, and starts it. Every PKCS#11 call of the server goes to the spy.
func newAppliance(t *testing.T) *appliance {
	t.Helper()
	a := prepareAppliance(t)
	a.spy = a.token.Spy(t)
	a.writeConfig(t, a.spy.Module)
	a.start(t)
	return a
}

// prepareAppliance makes all that the server needs but its configuration.
func prepareAppliance(t *testing.T) *appliance {
	t.Helper()
	ca, err := throwawayca.New("Latchkey test CA")
	if err != nil {
		t.Fatal(err)
	}
	a := &appliance{token: softhsmtest.New(t), ca: ca, dir: t.TempDir(), url: "https://" + freeAddress(t)}
	importMaster(t, a.token.Open(t))
	return a
}

// freeAddress is one that nobody listens on. It could be taken before the
// server takes it, which has the server say so and the test fail.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// writeConfig writes the configuration, with more sections where they are given.
func (a *appliance) writeConfig(t *testing.T, module string, more ...string) {
	t.Helper()
	secrets := t.TempDir() // apart from what the server writes
	server, err := a.ca.Server("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	certificate, key, clientCA := filepath.Join(secrets, "server.crt"), filepath.Join(secrets, "server.key"), filepath.Join(secrets, "ca.crt")
	if err := errors.Join(server.Write(certificate, key), a.ca.Write(clientCA)); err != nil {
		t.Fatal(err)
	}
	a.config = filepath.Join(secrets, "latchkey.yaml")
	text := fmt.Sprintf(`
listen: %s
tls: {certificate: %s, key: %s, client_ca: %s}
hsm:
  module: %s
  token: {label: %s}
  pin: {file: %s}
store: %s
log: {level: debug}
clients:
  - {name: identity-manager, subject: "CN=identity-manager,O=Example", roles: [backend], names_operators: true}
  - {name: administrator, subject: "CN=administrator,O=Example", roles: [administrator]}
  - {name: anna, subject: "CN=anna,O=Example", roles: [operator], operator: anna}
  - {name: auditor, subject: "CN=auditor,O=Example", roles: [auditor]}
operators:
  - {id: anna, name: Anna Lind, roles: [operator]}
profiles:
  - {id: gids-tdes3, name: GIDS, response_algorithm: tdes-ecb, challenge_length: 8, card_key_type: tdes3, scheme: latchkey-v1, master_key: master, wrong_responses_survived: unlimited}
  - {id: gids-aes256, name: GIDS with AES, response_algorithm: aes-ecb, challenge_length: 16, card_key_type: aes256, scheme: latchkey-v1, master_key: master, wrong_responses_survived: unlimited}
  - {id: counted, name: GIDS that counts, response_algorithm: tdes-ecb, challenge_length: 8, card_key_type: tdes3, scheme: latchkey-v1, master_key: master, wrong_responses_survived: 5}
`, strings.TrimPrefix(a.url, "https://"), certificate, key, clientCA, module, a.token.Label, a.token.PINFile, cmp.Or(a.store, "{path: "+a.database()+"}"))
	text += strings.Join(more, "\n")
	if !strings.Contains(text, "\nlimits:") { // no person is as quick as a test
		text += "\nlimits: {per_operator: none, per_card: none}\n"
	}
	if err := os.WriteFile(a.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// amend puts something else into the configuration for a part of it.
func (a *appliance) amend(t *testing.T, part, other string) {
	t.Helper()
	text, err := os.ReadFile(a.config)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), part) {
		t.Fatalf("the configuration has no %q", part)
	}
	if err := os.WriteFile(a.config, []byte(strings.Replace(string(text), part, other, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// command runs the binary to its end, which must be a good one, and gives what it said.
func (a *appliance) command(t *testing.T, args ...string) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("latchkey %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// database is the server's SQLite file.
func (a *appliance) database() string { return filepath.Join(a.dir, "latchkey.db") }

// logFile holds all that the server printed, over restarts too.
func (a *appliance) logFile() string { return filepath.Join(a.dir, "server.log") }

// start starts the server and waits until it is ready.
func (a *appliance) start(t *testing.T) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(a.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	a.process = exec.Command(path, "serve", "--config", a.config)
	a.process.Stdout, a.process.Stderr = log, log
	begin := a.begin
	if begin == nil {
		begin = (*exec.Cmd).Start
	}
	if err := a.place.inside(func() error { return begin(a.process) }); err != nil {
		t.Fatal(err)
	}
	process, exited := a.process, make(chan struct{})
	a.exited = exited
	go func() {
		defer close(exited)
		_ = process.Wait() // how it ended is in ProcessState
	}()
	t.Cleanup(func() {
		_ = process.Process.Kill() // does nothing where the test stopped it
		<-exited
		if t.Failed() {
			text, err := os.ReadFile(a.logFile())
			t.Logf("the server's log (%v):\n%s", err, text)
		}
	})

	nobody := a.client()
	defer nobody.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+"/readyz", nil)
		if err != nil {
			t.Fatal(err)
		}
		if response, err := nobody.Do(request); err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-exited:
			t.Fatalf("the server does not start: %v", process.ProcessState)
		case <-ctx.Done():
			t.Fatal("the server does not get ready")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// signal sends a signal to the server and waits until it has ended.
func (a *appliance) signal(t *testing.T, s os.Signal) *os.ProcessState {
	t.Helper()
	if err := a.process.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	select {
	case <-a.exited:
	case <-time.After(patience):
		t.Fatalf("the server does not end on %v", s)
	}
	return a.process.ProcessState
}

// stop ends the server the friendly way.
func (a *appliance) stop(t *testing.T) {
	t.Helper()
	if state := a.signal(t, syscall.SIGTERM); !state.Success() {
		t.Errorf("on SIGTERM the server ends with %v, want exit status 0", state)
	}
}

// client is an HTTP client that trusts the CA and shows the given certificates.
func (a *appliance) client(certificates ...tls.Certificate) *http.Client {
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: a.ca.Pool(), Certificates: certificates, MinVersion: tls.VersionTLS13},
		DialContext:     a.place.dial,
	}}
}

// caller is one who calls the API.
type caller struct {
	client *http.Client
	url    string
	// refusals are the bodies of all problems that it was told, for the search
	// for secrets.
	refusals [][]byte
}

// as is a caller with a certificate of the given common name.
func (a *appliance) as(t *testing.T, name string) *caller {
	t.Helper()
	pair, err := a.ca.Client(pkix.Name{CommonName: name, Organization: []string{"Example"}})
	if err != nil {
		t.Fatal(err)
	}
	c := &caller{client: a.client(pair.TLS()), url: a.url}
	t.Cleanup(c.client.CloseIdleConnections)
	return c
}

// send sends a request and waits as long as it is told where it calls too often.
// A body that is a string goes as it is, any other as JSON.
func (c *caller) send(t *testing.T, method, path string, body any) (status int, answer []byte) {
	t.Helper()
	for {
		status, answer, wait := c.once(t, method, path, body)
		if status != http.StatusTooManyRequests {
			return status, answer
		}
		time.Sleep(wait)
	}
}

// once sends a request, and tells how long to wait where it is told that it calls too
// often.
func (c *caller) once(t *testing.T, method, path string, body any) (status int, answer []byte, wait time.Duration) {
	t.Helper()
	text, raw := body.(string)
	content := []byte(text)
	if body != nil && !raw {
		var err error
		if content, err = json.Marshal(body); err != nil {
			t.Fatal(err)
		}
	}
	request, err := http.NewRequestWithContext(t.Context(), method, c.url+path, bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	if body != nil {
		request.Header.Set("Content-Type", api.JSON)
	}
	response, err := c.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	answer, err = io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		t.Fatal(err)
	}
	if response.StatusCode == http.StatusTooManyRequests {
		seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
		if err != nil {
			t.Fatalf("%s %s: 429, and for how long it does not say: %v", method, path, err)
		}
		return response.StatusCode, answer, time.Duration(seconds) * time.Second
	}
	if response.StatusCode >= http.StatusBadRequest {
		c.refusals = append(c.refusals, answer)
		if got := response.Header.Get("Content-Type"); got != api.ProblemJSON {
			t.Errorf("%s %s: %d with a body of type %q, want %q", method, path, response.StatusCode, got, api.ProblemJSON)
		}
	}
	return response.StatusCode, answer, 0
}

// call sends a request that must go well and reads the answer into a T.
func call[T any](t *testing.T, c *caller, method, path string, body any) T {
	t.Helper()
	status, answer := c.send(t, method, path, body)
	if status < http.StatusOK || status >= http.StatusMultipleChoices {
		t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	var v T
	if err := json.Unmarshal(answer, &v); err != nil {
		t.Fatalf("%s %s: %v in %s", method, path, err, answer)
	}
	return v
}

// refused sends a request that must be refused and reads the problem.
func refused(t *testing.T, c *caller, method, path string, body any) api.Problem {
	t.Helper()
	status, answer := c.send(t, method, path, body)
	var p api.Problem
	if err := json.Unmarshal(answer, &p); err != nil || status < http.StatusBadRequest {
		t.Fatalf("%s %s: %d %s (%v); want a refusal", method, path, status, answer, err)
	}
	if p.Status != status || p.Type != "/problems/"+p.Code {
		t.Errorf("%s %s: the problem says %d and %s, the answer is %d and the code %s", method, path, p.Status, p.Type, status, p.Code)
	}
	return p
}

// eventually waits for what takes a moment to be noticed.
func eventually(t *testing.T, holds func() bool, what string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come about that %s", what)
		}
	}
}
