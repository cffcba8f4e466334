package main

import (
	"path/filepath"
	"testing"

	"latchkey/server/api"
)

// A supervisor decides from a terminal on an unblock that waits, and has to say why.
func TestVerdict(t *testing.T) {
	server := newInstance(t, "")
	anna, omar := officer{t, server, "anna", "process"}, officer{t, server, "omar", "process"}
	omar.refused(exitOK, "Nothing waits for your approval.", "waiting")

	for verdict, state := range map[string]string{"approve": "started", "refuse": "refused"} {
		var id string
		f := clientFlags{file: filepath.Join(server.dir, "clients", "anna.yaml"), clientFile: clientFile{Server: server.url}}
		if err := f.with(t.Context(), func(c *api.Client, _ string) error {
			p, err := c.StartUnblock(t.Context(), api.StartUnblock{Card: "DEMO-0006", Reason: "PIN forgotten"})
			id = p.ID
			return err
		}); err != nil {
			t.Fatal(err)
		}
		anna.refused(exitFailed, "waits for a decision that you may make", verdict, id, "--reason", "mine", "--yes")
		omar.refused(exitUsage, "say why: --reason", verdict, id)
		omar.refused(exitUsage, "say why: --reason", verdict, id, "--yes")
		omar.refused(exitUsage, "say --yes", verdict, id, "--reason", "spoke to her")
		omar.refused(exitOK, "reason      PIN forgotten\n", verdict, id, "--reason", "spoke to her", "--yes")
		if u := tell[api.Unblock](anna, "get", id); u.State != state || u.Verdict != "spoke to her" {
			t.Errorf("%s: %+v", verdict, u)
		}
		if state == "started" {
			anna.refused(exitOK, "cancelled", "cancel", id)
		}
	}
}
