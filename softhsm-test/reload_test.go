package softhsmtest_test

import (
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"latchkey/card"
	"latchkey/server/api"
)

// After SIGHUP the server knows other clients and operators; from a file with
// faults it takes nothing, and says all that is wrong.
func TestWhoMayActIsReadAgain(t *testing.T) {
	a := newAppliance(t)
	a.register(t, card.TDES3, "AGAIN-1")
	log := func() string {
		t.Helper()
		text, err := os.ReadFile(a.logFile())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	text, err := os.ReadFile(a.config)
	if err != nil {
		t.Fatal(err)
	}
	// again writes the changed file, and waits until the log has a line that says so.
	again := func(says, old, with string) {
		t.Helper()
		if !strings.Contains(string(text), old) {
			t.Fatalf("the configuration has no %q", old)
		}
		if err := os.WriteFile(a.config, []byte(strings.Replace(string(text), old, with, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		before := strings.Count(log(), says)
		if err := a.process.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(patience); strings.Count(log(), says) == before; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the log does not say %q", says)
			}
		}
	}
	anna, carl := a.as(t, "anna"), a.as(t, "carl")
	body := api.StartUnblock{Card: "AGAIN-1", Reason: reason}
	started := func(c *caller) { // and over again, so that the card is free for the next
		t.Helper()
		u := call[api.Unblock](t, c, http.MethodPost, "/v1/unblocks", body)
		call[api.Unblock](t, c, http.MethodPost, "/v1/unblocks/"+u.ID+"/cancel", nil)
	}
	unknown := func(c *caller) {
		t.Helper()
		if p := refused(t, c, http.MethodPost, "/v1/unblocks", body); p.Code != "client-unknown" {
			t.Errorf("refused with %s", p.Code)
		}
	}
	started(anna)
	unknown(carl)

	const client = `  - {name: anna, subject: "CN=anna,O=Example", roles: [operator], operator: anna}`
	const operator = `  - {id: anna, name: Anna Lind, roles: [operator]}`
	replaced := strings.NewReplacer("anna", "carl", "Anna Lind", "Carl Lund").Replace
	again("operators were read again", client, client+"\n"+strings.Replace(replaced(client), "operator: carl", "operator: anna", 1))
	started(carl)
	started(anna) // both at a time, over the connection of before

	between := strings.Replace(string(text), client, replaced(client), 1)
	text = []byte(between)
	again("operators were read again", operator, replaced(operator))
	started(carl)
	unknown(anna)

	const faulty = "unblock: {lifetime: 25h}\nclient: []\nlog: {level: debug}"
	for _, fault := range []string{`unknown key \"client\"`, "unblock.lifetime: must be from"} {
		again(fault, "log: {level: debug}", faulty)
	}
	started(carl)
	unknown(anna)

	text = []byte(strings.Replace(between, operator, replaced(operator), 1))
	again("the rest takes a restart", "unlimited", "5")
	a.stop(t)
}
