package softhsmtest_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"latchkey/card"
	"latchkey/server/api"
)

// No response, PIN or key byte may be found in anything that the server writes
// or says: its log at level debug, its database files, the problems it answers
// with.
func TestSecretsStayInside(t *testing.T) {
	a := newAppliance(t)
	backend := a.as(t, "identity-manager")
	secrets := map[string][]byte{"token PIN": []byte(a.token.PIN)}
	addHex := func(name, digits string) {
		value, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatal(err)
		}
		secrets[name+", bytes"] = value
		secrets[name+", hex"] = []byte(strings.ToUpper(digits))
		secrets[name+", lower-case hex"] = []byte(strings.ToLower(digits))
	}
	addHex("master key", masterKey)
	const pin = "5839200417"
	secrets["new card PIN"] = []byte(pin)
	var challenges []string
	for _, keyType := range []card.KeyType{card.TDES3, card.AES256} {
		serial := "GIDS-" + string(keyType)
		a.register(t, keyType, serial)
		addHex("admin key of "+serial, hex.EncodeToString(AdminKey(t, keyType, serial)))
		c := issueCard(t, keyType, serial)
		blockCard(t, c)
		challenge := typedChallenge(t, c)
		challenges = append(challenges, strings.ReplaceAll(challenge, " ", ""))
		answer := call[api.Response](t, backend, http.MethodPost, "/v1/cards/"+serial+"/response", api.Respond{Operator: "anna", Challenge: challenge, Reason: reason})
		addHex("response of "+serial, answer.Response)
		secrets["grouped response of "+serial] = []byte(answer.Grouped)
		secrets["spoken response of "+serial] = []byte(answer.Spoken)
		setPIN(t, c, answer.Grouped, pin)

		// What goes wrong afterwards must not bring it up again.
		refused(t, backend, http.MethodPost, "/v1/unblocks/"+answer.Unblock+"/response", api.Challenge{Challenge: challenge})
		refused(t, backend, http.MethodPost, "/v1/cards/"+serial+"/response", api.Respond{Operator: "anna", Challenge: challenge + "X", Reason: reason})
		refused(t, backend, http.MethodPost, "/v1/unblocks/"+answer.Unblock+"/complete", `{"outcome": "pin-changed"`)
		call[api.Unblock](t, backend, http.MethodPost, "/v1/unblocks/"+answer.Unblock+"/complete", api.Complete{Outcome: "pin-changed"})
	}

	look := func(where string, text []byte) {
		for name, secret := range secrets {
			if bytes.Contains(text, secret) {
				t.Errorf("%s holds the %s", where, name)
			}
		}
	}
	written := func() (all []byte) {
		err := filepath.WalkDir(a.dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			look(filepath.Base(path), text)
			all = append(all, text...)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	for _, body := range backend.refusals {
		look("the problem "+string(body), body)
	}
	all := written() // while it serves, with SQLite's log beside the database
	a.stop(t)
	all = append(all, written()...)

	// The search is worth something only where it reads the right files: the audit
	// log holds the challenges, and the server's log tells of the requests.
	for _, text := range append(challenges, reason, "/v1/cards/") {
		if !bytes.Contains(all, []byte(text)) {
			t.Errorf("%q is nowhere in what the server wrote", text)
		}
	}
}

// A server that is asked to stop does so cleanly; one that is killed has lost
// nothing that it told anybody of.
func TestStopAndStartAgain(t *testing.T) {
	a := newAppliance(t)
	backend, administrator := a.as(t, "identity-manager"), a.as(t, "administrator")
	a.register(t, card.TDES3, "GIDS-1")
	c := issueCard(t, card.TDES3, "GIDS-1")
	answer := call[api.Response](t, backend, http.MethodPost, "/v1/cards/GIDS-1/response", api.Respond{Operator: "anna", Challenge: typedChallenge(t, c), Reason: reason})
	started := call[api.Unblock](t, backend, http.MethodPost, "/v1/unblocks", api.StartUnblock{Card: "GIDS-1", Operator: "anna", Reason: reason}).ID

	for _, end := range []struct {
		name string
		by   func()
	}{
		{"killed", func() { a.signal(t, syscall.SIGKILL) }},
		{"stopped", func() { a.stop(t) }},
	} {
		before := snapshot(t, backend, administrator, started, answer.Unblock)
		end.by()
		a.start(t)
		backend.client.CloseIdleConnections()
		administrator.client.CloseIdleConnections()
		if after := snapshot(t, backend, administrator, started, answer.Unblock); !slices.Equal(before, after) {
			t.Errorf("%s and started again, what is stored was\n%s\nand is now\n%s", end.name, before, after)
		}
	}

	// Processes from before go on. A call is sent again whose answer was lost when the
	// server was killed: it gives what it gave, and the card takes it.
	challenge := typedChallenge(t, c)
	again := func() api.Response {
		t.Helper()
		return keyed[api.Response](t, backend, "lost", "/v1/unblocks/"+started+"/response", api.Challenge{Challenge: challenge})
	}
	first := again()
	a.signal(t, syscall.SIGKILL)
	a.start(t)
	backend.client.CloseIdleConnections()
	second := again()
	if first.Response != second.Response || first.Repeated || !second.Repeated || first.Attempts.Unconfirmed != second.Attempts.Unconfirmed {
		t.Errorf("before the server was killed %+v, and after %+v", first, second)
	}
	setPIN(t, c, second.Grouped, "583920")
	if got := call[api.Unblock](t, backend, http.MethodPost, "/v1/unblocks/"+answer.Unblock+"/complete", api.Complete{Outcome: "failed"}); got.State != "failed" {
		t.Errorf("a response given before the server was killed is completed as %+v", got)
	}
	a.stop(t)
}

// keyed is call, by POST and under an idempotency key.
func keyed[Out any](t *testing.T, c *caller, key, path string, in any) (out Out) {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.url+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", api.JSON)
	r.Header.Set("Idempotency-Key", key)
	answer, err := c.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("POST %s: %s", path, answer.Status)
	}
	if err := json.NewDecoder(answer.Body).Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}
