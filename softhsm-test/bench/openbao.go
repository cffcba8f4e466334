package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// bao is a running OpenBao with a key that is derived for each card and with a file
// as audit device: as near to an answer of ours as it comes. Its keys are software's,
// so that it needs no HSM, and it neither knows cards nor counts anything.
type bao struct {
	cmd     *exec.Cmd
	log     *os.File
	address string
	token   string
	http    *http.Client
}

const baoConfiguration = `storage "inmem" {}
disable_mlock = true
log_level = "warn"
listener "tcp" {
  address = %q
  tls_cert_file = %q
  tls_key_file = %q
  tls_client_ca_file = %q
  tls_require_and_verify_client_cert = true
  tls_min_version = "tls13"
}
audit "file" "file" {
  options { file_path = %q }
}
`

// openBao starts OpenBao from nothing.
func (h *house) openBao(ctx context.Context, o options) (_ *bao, err error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &bao{address: l.Addr().String()}
	if err := l.Close(); err != nil { // a free port; OpenBao chooses none itself
		return nil, err
	}
	audit := h.path("bao-audit.log")
	_ = os.Remove(audit) // of the round before
	text := fmt.Sprintf(baoConfiguration, b.address, h.path("server.pem"), h.path("server.key"), h.path("ca.pem"), audit)
	if err := os.WriteFile(h.path("bao.hcl"), []byte(text), 0o600); err != nil {
		return nil, err
	}
	config, err := tlsOf(h.load())
	if err != nil {
		return nil, err
	}
	b.http = &http.Client{Transport: &http.Transport{TLSClientConfig: config}, Timeout: 10 * time.Second}
	if b.log, err = os.Create(h.path("bao.log")); err != nil {
		return nil, err
	}
	b.cmd = exec.CommandContext(context.WithoutCancel(ctx), o.openbao, "server", "-config", h.path("bao.hcl")) //nolint:gosec // who measures names it
	b.cmd.Stdout, b.cmd.Stderr = b.log, b.log
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := b.cmd.Start(); err != nil {
		return nil, errors.Join(err, b.log.Close())
	}
	if err := b.prepare(ctx); err != nil {
		log, _ := os.ReadFile(h.path("bao.log"))
		return nil, errors.Join(fmt.Errorf("openbao: %w\n%s", err, log), b.stop())
	}
	return b, nil
}

// prepare initialises and unseals it, and makes the key.
func (b *bao) prepare(ctx context.Context) error {
	var made struct {
		Keys  []string `json:"keys"`
		Token string   `json:"root_token"`
	}
	var err error
	for tries := 0; tries < 300; tries++ {
		if err = b.call(ctx, "sys/init", map[string]any{"secret_shares": 1, "secret_threshold": 1}, &made); err == nil || ctx.Err() != nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		return err
	}
	if len(made.Keys) != 1 {
		return errors.New("init gives no key")
	}
	b.token = made.Token
	if err := b.call(ctx, "sys/unseal", map[string]string{"key": made.Keys[0]}, nil); err != nil {
		return err
	}
	for tries := 0; tries < 100; tries++ { // it is active a moment after it is unsealed
		if err = b.call(ctx, "sys/mounts/transit", map[string]string{"type": "transit"}, nil); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		return err
	}
	return b.call(ctx, "transit/keys/"+masterKey, map[string]any{"type": "aes256-gcm96", "derived": true}, nil)
}

func (b *bao) call(ctx context.Context, path string, body, into any) (err error) {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+b.address+"/v1/"+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("X-Vault-Token", b.token)
	resp, err := b.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s: %s: %s", path, resp.Status, answer)
	}
	if into != nil {
		return json.Unmarshal(answer, into)
	}
	return nil
}

func (b *bao) stop() error {
	defer func() { _ = b.log.Close() }() // it is read by nobody any more
	b.http.CloseIdleConnections()
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return b.cmd.Wait()
}

// transit measures OpenBao. Each round has one of its own: its audit file and its
// memory grow.
func (h *house) transit(ctx context.Context, o options) (_ figures, err error) {
	b, err := h.openBao(ctx, o)
	if err != nil {
		return figures{}, err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	l := h.load()
	l.Addresses, l.Bao, l.ServerPIDs = []string{b.address}, b.token, []int{b.cmd.Process.Pid}
	return measure(ctx, h, task{Kind: "load", Callers: o.clients, Slice: o.slice, Cards: o.cards, Load: l})
}

// load says by what the load knows the server, and the server the load.
func (h *house) load() loadTask {
	return loadTask{CA: h.path("ca.pem"), Cert: h.path("client.pem"), Key: h.path("client.key")}
}
