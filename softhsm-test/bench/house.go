package main

import (
	"bufio"
	"context"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"latchkey/card"
	"latchkey/softhsm-test/softtoken"
	"latchkey/softhsm-test/throwawayca"
	"latchkey/softhsm-test/throwawaypg"
)

const (
	tokenLabel = "bench"
	masterKey  = "fleet"
	auditKey   = "audit"
	sessions   = 2 // SoftHSM's locks are the process's: more only fight for them
	clientName = "bench"
)

// house is all that is measured: a token with a master key, certificates, and a
// database with cards.
type house struct {
	dir      string
	latchkey string
	token    softtoken.Token
	postgres *throwawaypg.Server
	cards    int
}

func build(ctx context.Context, o options, dir string) (*house, error) {
	latchkey, err := filepath.Abs(o.latchkey)
	if err != nil {
		return nil, err
	}
	h := &house{dir: dir, latchkey: latchkey, cards: o.cards}
	if h.token, err = softtoken.Make(ctx, dir, tokenLabel); err != nil {
		return nil, err
	}
	for _, args := range [][]string{{"key", "generate", masterKey}, {"audit", "key", auditKey, "--create", "--out", h.path("audit.pem")}} {
		if err := h.command(ctx, append(args, "--module", h.token.Module, "--token-label", tokenLabel, "--pin-file", h.token.PINFile)...); err != nil {
			return nil, err
		}
	}
	ca, err := throwawayca.New("Latchkey bench CA")
	if err != nil {
		return nil, err
	}
	server, err := ca.Server("127.0.0.1")
	if err != nil {
		return nil, err
	}
	client, err := ca.Client(pkix.Name{CommonName: clientName})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(ca.Write(h.path("ca.pem")), server.Write(h.path("server.pem"), h.path("server.key")),
		client.Write(h.path("client.pem"), h.path("client.key"))); err != nil {
		return nil, err
	}
	if o.postgres {
		if h.postgres, err = throwawaypg.Launch(ctx); err != nil {
			return nil, err
		}
	}
	return h, nil
}

func (h *house) close() error {
	if h.postgres == nil {
		return nil
	}
	return h.postgres.Close()
}

func (h *house) path(name string) string { return filepath.Join(h.dir, name) }

func (h *house) command(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, h.latchkey, args...) //nolint:gosec // the binary that is measured
	cmd.Env = append(os.Environ(), h.token.Env()...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("latchkey %s: %w\n%s", strings.Join(args[:2], " "), err, out)
	}
	return nil
}

// The one profile and card type.
func profile() card.Profile {
	return card.Profile{
		ID: "piv", Name: "PIV, AES-256", Algorithm: card.AESECB, ChallengeLen: 16, CardKeyType: card.AES256,
		Scheme: card.LatchkeyV1, MasterKey: masterKey, MasterKeyVersion: 1, Retry: card.RetryUnlimited,
	}
}

func serialOf(i int) string { return fmt.Sprintf("BENCH-%08d", i) }

const configuration = `listen: 127.0.0.1:0
tls: {certificate: server.pem, key: server.key, client_ca: ca.pem}
hsm:
  module: %s
  token: {label: %s}
  pin: {file: %s}
  sessions: %d
%s
audit: {key: audit}
cards: {max_age: none}
log: {level: warn}
%s
limits: {requests_per_second: 10000000, burst: 10000000, per_operator: none, per_card: none, in_progress: 1024}
clients:
  - {name: bench, subject: CN=bench, roles: [backend], names_operators: true}
operators:
  - {id: olga, name: Olga Ek, roles: [operator]}
profiles:
  - {id: piv, name: "PIV, AES-256", card_key_type: aes256, scheme: latchkey-v1, master_key: fleet, wrong_responses_survived: unlimited}
`

// node is a running latchkey serve.
type node struct {
	cmd     *exec.Cmd
	address string
	ended   chan error
	began   time.Time
}

// serve starts a node on a database and waits until it takes calls.
func (h *house) serve(ctx context.Context, name, where, more string) (*node, error) {
	place := "store: {path: " + where + "}"
	if strings.HasPrefix(where, "postgres://") {
		place = "store: {postgres: {url: \"" + where + "\"}}"
	}
	file := h.path(name + ".yaml")
	text := fmt.Sprintf(configuration, h.token.Module, tokenLabel, h.token.PINFile, sessions, place, more)
	text = strings.Replace(text, "level: warn", "level: info", 1) // the line that tells the address
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	// Not of the context: it is stopped in order.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), h.latchkey, "serve", "--config", file) //nolint:gosec // as above
	cmd.Env = append(os.Environ(), h.token.Env()...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	n := &node{cmd: cmd, ended: make(chan error, 1), began: time.Now()}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	told := make(chan string, 1)
	go func() {
		var last string
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			var line struct{ Msg, URL string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "serving" {
				told <- strings.TrimPrefix(line.URL, "https://")
				continue
			}
			last = lines.Text()
		}
		err := cmd.Wait()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, last)
		}
		n.ended <- err
	}()
	select {
	case n.address = <-told:
		return n, nil
	case err := <-n.ended:
		return nil, fmt.Errorf("latchkey serve: %w", err)
	case <-time.After(time.Minute):
		_ = cmd.Process.Kill()
		return nil, errors.New("latchkey serve does not serve")
	}
}

func (n *node) stop() error {
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return <-n.ended
}
