package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"latchkey/server/api"
)

// officer calls commands with the certificate of one of the demonstration's
// clients.
type officer struct {
	t      *testing.T
	server *instance
	name   string
	group  string // of the commands
}

// run gives what the command printed and its exit code.
func (o officer) run(args ...string) (out string, code int) {
	o.t.Helper()
	cmd := exec.CommandContext(o.t.Context(), "latchkey", append([]string{o.group}, args...)...)
	cmd.Env = append(os.Environ(), o.server.softHSM(), "LATCHKEY_SERVER="+o.server.url, "LATCHKEY_CLIENT="+filepath.Join(o.server.dir, "clients", o.name+".yaml"))
	text, err := cmd.CombinedOutput()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		o.t.Fatal(err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

// tell runs a command that has to go well and reads its JSON.
func tell[T any](o officer, args ...string) T {
	o.t.Helper()
	out, code := o.run(append(args, "--json")...)
	var v T
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != exitOK {
		o.t.Fatalf("%s %s: exit code %d, %v\n%s", o.group, strings.Join(args, " "), code, err, out)
	}
	return v
}

// refused runs a command that has to end with the exit code, saying the word.
func (o officer) refused(code int, word string, args ...string) {
	o.t.Helper()
	if out, got := o.run(args...); got != code || !strings.Contains(out, word) {
		o.t.Errorf("%s %s as %s: exit code %d, want %d with %q\n%s", o.group, strings.Join(args, " "), o.name, got, code, word, out)
	}
}

// Two officers rotate a key from a terminal, and nobody does it alone.
func TestOfficers(t *testing.T) {
	server := newInstance(t, "")
	olga, otto, anna := officer{t, server, "olga", "key"}, officer{t, server, "otto", "key"}, officer{t, server, "anna", "key"}
	done := func(args ...string) api.KeyProposal {
		t.Helper()
		p := tell[api.KeyProposal](olga, append([]string{"propose"}, args...)...)
		p = tell[api.KeyProposal](otto, "approve", p.ID, "--hash", p.Hash)
		if p.State != "executed" {
			t.Fatalf("%v: %s, %+v", args, p.State, p.Result)
		}
		return p
	}

	p := tell[api.KeyProposal](olga, "propose", "generate", "fleet", "--key-version", "2", "--reason", "rotation")
	olga.refused(exitRefused, "proposal-own", "approve", p.ID, "--hash", p.Hash)
	otto.refused(exitUsage, "--hash", "approve", p.ID)
	otto.refused(exitRefused, "nothing was approved", "approve", p.ID, "--hash", strings.Repeat("0", 64))
	anna.refused(exitRefused, "role-forbidden", "approve", p.ID, "--hash", p.Hash)
	otto.refused(exitRefused, "proposal-not-yours", "withdraw", p.ID)
	otto.refused(exitOK, "Generate master key fleet version 2", "proposal", p.ID)
	otto.refused(exitOK, "reason     rotation", "proposal", p.ID)
	if open := tell[api.KeyProposals](otto, "proposals", "--state", "open"); len(open.Proposals) != 1 || open.Proposals[0].ID != p.ID {
		t.Errorf("open proposals: %+v", open)
	}
	p = tell[api.KeyProposal](otto, "approve", p.ID, "--hash", p.Hash)
	if p.State != "executed" || len(p.Result.KCV) == 0 {
		t.Fatalf("approved: %+v", p)
	}
	otto.refused(exitRefused, "proposal-closed", "approve", p.ID, "--hash", p.Hash)

	done("activate", "fleet", "--key-version", "2")
	done("make-current", "fleet", "--key-version", "2")
	plan := tell[api.KeyPlan](otto, "plan", "fleet")
	if len(plan.Versions) != 2 || plan.Versions[0].Cards == 0 || plan.Left != plan.Versions[0].Cards || !plan.Versions[1].Current {
		t.Errorf("plan: %+v", plan)
	}
	affected := tell[api.Cards](otto, "affected", "fleet", "1", "--all", "--limit", "2")
	if len(affected.Cards) != plan.Left {
		t.Errorf("%d cards are affected, the plan says %d", len(affected.Cards), plan.Left)
	}
	olga.refused(exitOK, "generated", "list", "--config", filepath.Join(server.dir, "latchkey.yaml"))
	keys := tell[api.Keys](olga, "inventory")
	i := slices.IndexFunc(keys.Keys, func(k api.Key) bool { return k.Label == "fleet" && k.Version == 2 })
	if i < 0 || keys.Keys[i].Grade != "good" || keys.Keys[i].State != "active" || !slices.Equal(keys.Keys[i].KCV, p.Result.KCV) {
		t.Errorf("inventory: %+v", keys)
	}

	// A key of the first token comes back into it as another, wrapped under its own
	// transport key.
	transport := tell[api.TransportKey](olga, "transport-key")
	file := filepath.Join(t.TempDir(), "transport.pem")
	if err := os.WriteFile(file, []byte(transport.PublicKey), 0o600); err != nil {
		t.Fatal(err)
	}
	backup := done("generate-with-backup", "travels", "--backup-key", file)
	if backup.Result.BackupUnder != transport.Fingerprint {
		t.Errorf("wrapped under %s, want %s", backup.Result.BackupUnder, transport.Fingerprint)
	}
	wrapped := filepath.Join(t.TempDir(), "wrapped.bin")
	if err := os.WriteFile(wrapped, backup.Result.Backup, 0o600); err != nil {
		t.Fatal(err)
	}
	kcv := backup.Result.KCV[0].Value
	done("import-wrapped", "travelled", "--wrapped", wrapped, "--kcv", strings.ToLower(kcv))
	wrong := tell[api.KeyProposal](olga, "propose", "import-wrapped", "travelled", "--key-version", "2", "--wrapped", wrapped, "--kcv", "000000")
	otto.refused(exitRefused, "nothing was kept", "approve", wrong.ID, "--hash", wrong.Hash)
	text, _ := otto.run("proposal", backup.ID)
	if !strings.Contains(text, base64.StdEncoding.EncodeToString(backup.Result.Backup)) {
		t.Errorf("the backup is not shown:\n%s", text)
	}

	if p := tell[api.KeyProposal](olga, "propose", "suspend", "fleet"); p.State != "executed" {
		t.Errorf("suspended alone: %s", p.State)
	}
	cmd := exec.CommandContext(t.Context(), "latchkey", "unblock", "DEMO-0001", "--challenge", "1603EBDF1C8A2E72", "--reason", "x", "--server", server.url,
		"--client", filepath.Join(server.dir, "clients", "anna.yaml"))
	if out, err := cmd.CombinedOutput(); err == nil || !bytes.Contains(out, []byte("key-not-usable")) {
		t.Errorf("unblock a card of a suspended key: %v\n%s", err, out)
	}
	olga.refused(exitRefused, "key-transition", "propose", "destroy", "fleet", "--key-version", "2")
	olga.refused(exitUsage, "is no act; there are generate, ", "propose", "export", "fleet")
}
