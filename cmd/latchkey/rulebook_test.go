package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/server/api"
)

// Two officers change the operator policies of a server from a terminal, which decides
// by them at once, and change them back.
func TestPolicyOfficers(t *testing.T) {
	server := newInstance(t, "")
	olga, otto, anna := officer{t, server, "olga", "policy"}, officer{t, server, "otto", "policy"}, officer{t, server, "anna", "policy"}
	folder := t.TempDir()
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, "desk.cedar"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	unblock := func(word string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "latchkey", "unblock", "DEMO-0001", "--challenge", "1603EBDF1C8A2E72", "--confirmed", "--reason", "x", "--server", server.url,
			"--client", filepath.Join(server.dir, "clients", "anna.yaml"))
		if out, _ := cmd.CombinedOutput(); !strings.Contains(string(out), word) {
			t.Errorf("unblock does not say %q:\n%s", word, out)
		}
	}
	unblock("response ")

	write(`@id("see") @reason("Cards are seen.") permit (principal, action == Action::"view", resource);
@id("desk") @reason("Only a supervisor unblocks.") permit (principal, action == Action::"unblock", resource) when { principal.rolles.contains("supervisor") };
`)
	olga.refused(exitUsage, "desk.cedar:2:", "propose", folder)
	text, err := os.ReadFile(filepath.Join(folder, "desk.cedar"))
	if err != nil {
		t.Fatal(err)
	}
	write(strings.Replace(string(text), "rolles", "roles", 1))
	run := tell[api.DryRun](otto, "dry-run", "--policies", folder, "--last", "1000")
	if run.Decisions == 0 || run.Denied != run.Decisions || run.Differences[0].Operator != "anna" || run.Differences[0].After.Outcome != "deny" {
		t.Errorf("dry run %+v", run)
	}
	otto.refused(exitOK, "would have denied", "dry-run", "--policies", folder)

	p := tell[api.PolicyProposal](olga, "propose", folder, "--note", "night shift")
	olga.refused(exitRefused, "proposal-own", "approve", p.ID, "--hash", p.Hash)
	otto.refused(exitUsage, "--hash", "approve", p.ID)
	otto.refused(exitRefused, "nothing was approved", "approve", p.ID, "--hash", strings.Repeat("0", 64))
	anna.refused(exitRefused, "role-forbidden", "approve", p.ID, "--hash", p.Hash)
	otto.refused(exitOK, "+@id(\"desk\") @reason(\"Only a supervisor unblocks.\")", "proposal", p.ID)
	otto.refused(exitOK, "// desk.cedar", "proposal", p.ID, "--texts")
	if p = tell[api.PolicyProposal](otto, "approve", p.ID, "--hash", p.Hash); p.State != "executed" {
		t.Fatalf("approved: %+v", p)
	}
	unblock("Only a supervisor unblocks.")
	otto.refused(exitOK, "night shift", "list")
	otto.refused(exitOK, "-@id(\"not-own-card\")", "diff", "0", "1")
	otto.refused(exitOK, "-@id(\"not-own-card\")", "diff", "0")
	otto.refused(exitOK, "Only a supervisor unblocks.", "version")

	back := tell[api.PolicyProposal](otto, "rollback", "0", "--note", "too strict")
	olga.refused(exitOK, "those of version 0", "approve", back.ID, "--hash", back.Hash)
	unblock("response ")
	withdrawn := tell[api.PolicyProposal](olga, "propose", folder)
	olga.refused(exitOK, "withdrawn", "withdraw", withdrawn.ID)
	rejected := tell[api.PolicyProposal](olga, "propose", folder)
	otto.refused(exitOK, "not again", "reject", rejected.ID, "--reason", "not again")
	otto.refused(exitOK, rejected.ID, "proposals", "--state", "rejected")
}
