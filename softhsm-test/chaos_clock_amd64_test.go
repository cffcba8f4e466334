package softhsmtest_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/server/api"
	"latchkey/softhsm-test/throwawayca"
)

// clocked is an appliance whose clock can be set, with a revocation list that has to
// be renewed within a day, and checkpoints that leave the box. The commands that the
// test runs have the host's clock.
func clocked(t *testing.T, more ...string) (*appliance, *wallClock) {
	t.Helper()
	a, clock := prepareAppliance(t), new(wallClock)
	a.begin = func(c *exec.Cmd) error {
		began, err := startWithClock(c)
		if err == nil {
			*clock = *began
		}
		return err
	}
	a.writeCRL(t, 1, time.Now().Add(24*time.Hour))
	a.writeConfig(t, a.token.Module, append(more,
		"cards: {max_age: 48h}",
		"audit: {key: audit, checkpoint_after: 50, checkpoint_every: 1s, checkpoint_file: "+a.checkpoints()+"}")...)
	a.amend(t, "client_ca: ", "client_crl: ["+a.crl()+"], client_ca: ")
	a.command(t, "audit", "key", "audit", "--create", "--config", a.config, "--out", filepath.Join(a.dir, "audit.pem"))
	if err := os.MkdirAll(a.checkpoints(), 0o700); err != nil {
		t.Fatal(err)
	}
	a.start(t)
	return a, clock
}

func (a *appliance) crl() string         { return filepath.Join(a.dir, "clients.crl") }
func (a *appliance) checkpoints() string { return filepath.Join(a.dir, "checkpoints") }

func (a *appliance) writeCRL(t *testing.T, number int64, until time.Time, revoked ...*throwawayca.Pair) {
	t.Helper()
	list, err := a.ca.CRL(number, until, revoked...)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.crl(), list, 0o600); err != nil {
		t.Fatal(err)
	}
}

// proved verifies the log, which nobody changed, and each checkpoint that left the box.
func (a *appliance) proved(t *testing.T) audit.Report {
	t.Helper()
	export := exported(t, a.database())
	kept, err := filepath.Glob(filepath.Join(a.checkpoints(), "*.checkpoint"))
	if err != nil || len(kept) == 0 {
		t.Fatalf("no checkpoint left the box: %v", err)
	}
	keys := []*ecdsa.PublicKey{publicKey(t, filepath.Join(a.dir, "audit.pem"))}
	var report audit.Report
	for _, path := range kept {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		report, err = audit.Verify(bytes.NewReader(export), keys, string(text))
		if err != nil || !report.Sound() || report.Signed != report.Size {
			t.Fatalf("%s: %+v, %v", filepath.Base(path), report, err)
		}
	}
	return report
}

// TestChaosClock sets the clock of a node under load, ahead and back, by hours and by
// more than card data, certificates and revocation lists last.
func TestChaosClock(t *testing.T) {
	a, clock := clocked(t, openToAll)
	w := &town{nodes: []*appliance{a}, where: a.database()}
	w.settle(t)
	for _, jump := range []struct {
		harm  string
		ahead time.Duration
		shut  bool // nothing can be answered at that time
	}{
		{"clock set 5 h ahead", 5 * time.Hour, false},
		{"clock set 5 h back", -5 * time.Hour, false},
		{"clock set 20 h ahead, under a minute before that 20 h back", 20 * time.Hour, false},
		{"clock set past the revocation list, 30 h ahead", 30 * time.Hour, true},
		{"clock set to before the certificates, 4 days back", -96 * time.Hour, true},
		{"clock set past the certificates, a year ahead", 365 * 24 * time.Hour, true},
	} {
		w.suffer(t, jump.harm, func(f *traffic) {
			if strings.Contains(jump.harm, "before that") {
				clock.set(t, -jump.ahead)
				f.more(t, 20)
			}
			clock.set(t, jump.ahead)
			if jump.shut {
				f.turnedAway(t)
			} else {
				f.more(t, 50)
			}
			clock.set(t, 0)
		})
	}
	w.finish(t, "clock")
	// What an auditor has to ask about is told of: each time that the clock was set back.
	if report := a.proved(t); report.Backwards == nil || report.Backwards.Times < 4 {
		t.Errorf("of a clock that was set back the report tells %+v", report.Backwards)
	}
}

// What a time hangs on is judged by the clock as it is now, and nothing opens, or stays
// shut, that does not by that time.
func TestClockIsSet(t *testing.T) {
	a, clock := clocked(t, "limits: {per_card: 5 per 1h, per_operator: none}")
	backend := a.as(t, "identity-manager")
	asked := 0
	challenge := func() string { asked++; return fmt.Sprintf("1504 A93C 7E51 %04X", 0x1000+asked*7) }
	ask := func(serial string) (code string) {
		t.Helper()
		status, text, _ := backend.once(t, http.MethodPost, "/v1/cards/"+serial+"/response", api.Respond{Operator: "anna", Challenge: challenge(), Reason: reason})
		if status == http.StatusOK {
			return ""
		}
		return problemIn(t, text).Code
	}
	wants := func(when, serial, code string) {
		t.Helper()
		if got := ask(serial); got != code {
			t.Errorf("%s, %s: %q, want %q", when, serial, got, code)
		}
	}
	for _, serial := range []string{"LIMITED", "FRESH", "HELD", "REVOKED"} {
		a.register(t, card.TDES3, serial)
	}

	// Limits: used up while the clock was ahead, they are not shut for all that time.
	clock.set(t, 10*time.Hour)
	for range 5 {
		wants("10 h ahead", "LIMITED", "")
	}
	wants("10 h ahead", "LIMITED", "rate-limited")
	clock.set(t, 0)
	for range 5 {
		wants("put right", "LIMITED", "")
	}
	wants("put right", "LIMITED", "rate-limited")

	// Card data: fresh for its time by the new clock, and not for ever.
	clock.set(t, 12*time.Hour)
	wants("12 h ahead", "FRESH", "")
	clock.set(t, -23*time.Hour) // registered in the future, by less than data lasts
	wants("23 h back", "FRESH", "")
	clock.set(t, 0)
	a.writeCRL(t, 2, time.Now().Add(1000*time.Hour))
	clock.set(t, 49*time.Hour)
	eventually(t, func() bool { return ask("FRESH") == "card-data-stale" }, "49 h ahead the card's data is stale")
	clock.set(t, 0)

	// Processes: begun by a clock that is ahead, they are over when it is put right, and
	// their card is free.
	clock.set(t, 5*time.Hour)
	held := call[api.Unblock](t, backend, http.MethodPost, "/v1/unblocks", api.StartUnblock{Card: "HELD", Operator: "anna", Reason: reason})
	clock.set(t, 0)
	if p := call[api.Unblock](t, backend, http.MethodGet, "/v1/unblocks/"+held.ID, nil); p.State != "expired" {
		t.Errorf("begun 5 h ahead, the process is %s", p.State)
	}
	wants("put right", "HELD", "")
	held = call[api.Unblock](t, backend, http.MethodPost, "/v1/unblocks", api.StartUnblock{Card: "HELD", Operator: "anna", Reason: reason})
	clock.set(t, time.Hour)
	if p := refused(t, backend, http.MethodPost, "/v1/unblocks/"+held.ID+"/response", api.Challenge{Challenge: challenge()}); p.Code != "process-expired" {
		t.Errorf("an hour later the process is refused with %s", p.Code)
	}

	// Revocation lists: read though the clock was set back, over a connection that is kept.
	pair, err := a.ca.Client(pkix.Name{CommonName: "anna", Organization: []string{"Example"}})
	if err != nil {
		t.Fatal(err)
	}
	anna := &caller{client: a.client(pair.TLS()), url: a.url}
	clock.set(t, 20*time.Hour)
	call[api.CardTypes](t, anna, http.MethodGet, "/v1/card-types", nil)
	clock.set(t, -20*time.Hour)
	a.writeCRL(t, 3, time.Now().Add(1000*time.Hour), pair)
	eventually(t, func() bool {
		status, text, _ := anna.once(t, http.MethodGet, "/v1/card-types", nil)
		return status == http.StatusUnauthorized && problemIn(t, text).Code == "client-certificate-revoked"
	}, "a certificate that was revoked while the clock was set back is refused")
	clock.set(t, 0)

	a.stop(t)
	a.proved(t)
}

func problemIn(t *testing.T, text []byte) (p api.Problem) {
	t.Helper()
	if err := json.Unmarshal(text, &p); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return p
}
