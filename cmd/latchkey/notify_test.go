package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/softhsm-test/throwawaymail"
)

// The server tells holder and desk of an answer, and latchkey notify test tries the
// same configuration out.
func TestNotifications(t *testing.T) {
	office := throwawaymail.New(t)
	office.Password = "a password of the tests"
	office.Open(t, nil)
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte(office.Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newInstance(t, fmt.Sprintf(`
notify:
  language: sv
  email:
    {server: %q, ca: %q, username: latchkey, password_file: %q, from: latchkey@example.org, desk: [desk@example.org], events: [answered, completed]}
`, office.Address, office.CA, password))

	config := filepath.Join(s.dir, "latchkey.yaml")
	out := output(t, nil, "latchkey", "notify", "test", "--config", config, "eve@example.org", "--event", "completed")
	if want := "The mail server took a trial message to eve@example.org.\n"; string(out) != want {
		t.Errorf("%q", out)
	}
	trial := office.Until(t, 1)[0]
	if trial.To != "eve@example.org" || !trial.Secure || trial.User != "latchkey" || !strings.Contains(trial.Text, "SAMPLE-1") {
		t.Errorf("%+v", trial)
	}

	// DEMO-0001 is Astrid Berg's.
	output(t, nil, "latchkey", "unblock", "DEMO-0001", "--challenge", "1603EBDF1C8A2E72", "--reason", "x", "--json",
		"--server", s.url, "--client", filepath.Join(s.dir, "clients", "anna.yaml"))
	subjects := map[string]string{}
	for _, m := range office.Until(t, 3)[1:] {
		subjects[m.To] = m.Header("Subject")
		if strings.Contains(m.Text, "1603") {
			t.Error("the challenge is in a mail")
		}
	}
	if subjects["u1@demo.example"] == "" || subjects["desk@example.org"] == "" {
		t.Errorf("mails to %v", subjects)
	}
}
