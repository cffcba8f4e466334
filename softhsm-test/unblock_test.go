package softhsmtest_test

import (
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"testing"

	"latchkey/card"
	"latchkey/server/api"
	"latchkey/softhsm-test/virtualcard"
)

const reason = "INC-20417, PIN forgotten"

// register registers a card type with the use case on, and a card of it.
func (a *appliance) register(t *testing.T, keyType card.KeyType, serial string, change ...func(*api.Card)) {
	t.Helper()
	call[api.CardType](t, a.as(t, "administrator"), http.MethodPut, "/v1/card-types/"+string(keyType), map[string]any{
		"name": "Employee card", "profile": "gids-" + string(keyType),
		"unblock_remote": map[string]bool{"active": true, "blocked": true},
	})
	c := api.Card{
		Type: string(keyType), State: "blocked",
		Holder: api.Holder{ID: "u417", Name: "Astrid Berg", State: "active"},
	}
	for _, f := range change {
		f(&c)
	}
	call[api.Card](t, a.as(t, "identity-manager"), http.MethodPut, "/v1/cards/"+serial, c)
}

// setPIN does at the card what its holder does with the response on the screen.
func setPIN(t *testing.T, c *virtualcard.Card, grouped, pin string) {
	t.Helper()
	response, err := hex.DecodeString(strings.ReplaceAll(grouped, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Authenticate(response); err != nil {
		t.Fatalf("the card does not take the response: %v", err)
	}
	if err := c.SetPIN(pin); err != nil {
		t.Fatalf("the card does not take the new PIN: %v", err)
	}
	if err := c.VerifyPIN(pin); err != nil {
		t.Fatalf("the new PIN does not work: %v", err)
	}
}

// typedChallenge asks the card for a challenge, as it is read from a screen and typed.
func typedChallenge(t *testing.T, c *virtualcard.Card) string {
	t.Helper()
	challenge, err := c.Challenge()
	if err != nil {
		t.Fatal(err)
	}
	return card.Challenge(challenge).Grouped()
}

// The main job: the binary, over mTLS, brings a card from blocked to a new PIN.
func TestUnblock(t *testing.T) {
	a := newAppliance(t)
	backend, anna := a.as(t, "identity-manager"), a.as(t, "anna")
	for _, keyType := range []card.KeyType{card.TDES3, card.AES256} {
		t.Run(string(keyType)+"/two steps", func(t *testing.T) {
			serial := "GIDS-2-" + string(keyType)
			a.register(t, keyType, serial)
			c := issueCard(t, keyType, serial)
			blockCard(t, c)

			started := call[api.Unblock](t, backend, http.MethodPost, "/v1/unblocks", api.StartUnblock{Card: serial, Operator: "anna", Reason: reason})
			if started.State != "started" || started.Card.Holder.Name != "Astrid Berg" || started.ChallengeDigits != 2*keyType.Block() {
				t.Errorf("started as %+v", started)
			}
			path := "/v1/unblocks/" + started.ID
			answer := call[api.Response](t, backend, http.MethodPost, path+"/response", api.Challenge{Challenge: typedChallenge(t, c)})
			if answer.Unblock != started.ID || strings.ReplaceAll(answer.Grouped, " ", "") != answer.Response {
				t.Errorf("answered with %+v", answer)
			}
			setPIN(t, c, answer.Grouped, "583920")
			done := call[api.Unblock](t, backend, http.MethodPost, path+"/complete", api.Complete{Outcome: "pin-changed"})
			if done.State != "completed" || done.Outcome != "pin-changed" {
				t.Errorf("completed as %+v", done)
			}
			if got := call[api.Unblock](t, backend, http.MethodGet, path, nil); got.State != "completed" || got.FinishedAt == nil {
				t.Errorf("read back as %+v", got)
			}
		})
		t.Run(string(keyType)+"/one call", func(t *testing.T) {
			serial := "GIDS-1-" + string(keyType)
			a.register(t, keyType, serial)
			c := issueCard(t, keyType, serial)
			blockCard(t, c)
			// This time the operator calls with their own certificate.
			answer := call[api.Response](t, anna, http.MethodPost, "/v1/cards/"+serial+"/response", api.Respond{Challenge: typedChallenge(t, c), Reason: reason})
			setPIN(t, c, answer.Grouped, "047711")
			call[api.Unblock](t, anna, http.MethodPost, "/v1/unblocks/"+answer.Unblock+"/complete", api.Complete{Outcome: "pin-changed"})
		})
	}

	// Every card key that the server had the token derive was destroyed again.
	count := make(map[string]int)
	for _, function := range a.spy.Calls(t) {
		count[function]++
	}
	if count["C_DeriveKey"] != 4 || count["C_DestroyObject"] != 4 {
		t.Errorf("for 4 responses the server called C_DeriveKey %d times and C_DestroyObject %d times", count["C_DeriveKey"], count["C_DestroyObject"])
	}
	if listed := a.token.PKCS11Tool(t, "--list-objects"); strings.Count(listed, "Object") != 1 || !strings.Contains(listed, "master") {
		t.Errorf("the token holds\n%s\nwant the master key alone", listed)
	}
}

// A card that dies after five wrong responses is given four that nobody said
// worked, and not one more, however often a challenge is mistyped.
func TestNeverTheLastTry(t *testing.T) {
	const survives = 5
	a := newAppliance(t)
	backend := a.as(t, "identity-manager")
	call[api.CardType](t, a.as(t, "administrator"), http.MethodPut, "/v1/card-types/counted", map[string]any{
		"name": "Card that counts", "profile": "counted", "unblock_remote": map[string]bool{"blocked": true},
	})
	const serial = "COUNTS-1"
	a.register(t, card.TDES3, serial, func(c *api.Card) { c.Type = "counted" })
	c, err := virtualcard.New(virtualcard.Config{
		Serial: serial, KeyType: card.TDES3, AdminKey: AdminKey(t, card.TDES3, serial), PIN: "1234", AdminTries: survives,
	})
	if err != nil {
		t.Fatal(err)
	}
	blockCard(t, c)
	path, request := "/v1/cards/"+serial+"/response", api.Respond{Operator: "anna", Reason: reason}
	var last api.Response
	for try := range survives - 1 {
		challenge, err := c.Challenge()
		if err != nil {
			t.Fatal(err)
		}
		challenge[try] ^= 0x10 // a digit mistyped
		request.Challenge = card.Challenge(challenge).Hex()
		last = call[api.Response](t, backend, http.MethodPost, path, request)
		response, err := hex.DecodeString(last.Response)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Authenticate(response); err == nil {
			t.Fatal("the card takes a response to another challenge")
		}
	}
	request.Challenge = typedChallenge(t, c)
	if p := refused(t, backend, http.MethodPost, path, request); p.Code != "attempts-exhausted" {
		t.Errorf("the card's last try is refused with %s", p.Code)
	}
	if c.Dead() {
		t.Error("the card is dead")
	}
	// Word that a response worked after all frees the way.
	call[api.Unblock](t, backend, http.MethodPost, "/v1/unblocks/"+last.Unblock+"/complete", api.Complete{Outcome: "pin-changed"})
	setPIN(t, c, call[api.Response](t, backend, http.MethodPost, path, request).Grouped, "583920")
}

// snapshot is all that the API tells of what is stored, word for word.
func snapshot(t *testing.T, backend, administrator *caller, processes ...string) []string {
	t.Helper()
	var all []string
	read := func(c *caller, path string) {
		status, answer := c.send(t, http.MethodGet, path, nil)
		if status != http.StatusOK {
			t.Fatalf("GET %s: %d %s", path, status, answer)
		}
		all = append(all, string(answer))
	}
	read(backend, "/v1/cards")
	read(administrator, "/v1/card-types")
	for _, id := range processes {
		read(backend, "/v1/unblocks/"+id)
	}
	return all
}

// Whatever is wrong is refused with its own problem, changes nothing, and never
// gets as far as the HSM: a spy between the server and SoftHSM sees no call.
func TestBadInput(t *testing.T) {
	a := newAppliance(t)
	backend, administrator := a.as(t, "identity-manager"), a.as(t, "administrator")
	a.register(t, card.TDES3, "good")
	a.register(t, card.TDES3, "open")
	a.register(t, card.TDES3, "revoked", func(c *api.Card) { c.State = "revoked" })
	a.register(t, card.TDES3, "holder-left", func(c *api.Card) { c.Holder.State = "left" })
	a.register(t, card.TDES3, "of-anna", func(c *api.Card) { c.Holder.ID = "anna" })
	call[api.CardType](t, administrator, http.MethodPut, "/v1/card-types/off", map[string]any{
		"name": "Visitor card", "profile": "gids-tdes3", "unblock_remote": map[string]bool{"blocked": false},
	})
	a.register(t, card.TDES3, "use-case-off", func(c *api.Card) { c.Type = "off" })

	const good = "1603 EBDF 1C8A 2E72"
	start := func(serial string) string {
		return call[api.Unblock](t, backend, http.MethodPost, "/v1/unblocks", api.StartUnblock{Card: serial, Operator: "anna", Reason: reason}).ID
	}
	answer := func(id string) string {
		call[api.Response](t, backend, http.MethodPost, "/v1/unblocks/"+id+"/response", api.Challenge{Challenge: good, Confirmed: true})
		return id
	}
	cancelled := start("good")
	call[api.Unblock](t, backend, http.MethodPost, "/v1/unblocks/"+cancelled+"/cancel", nil)
	started, answered, finished, failed := start("open"), answer(start("good")), answer(start("good")), answer(start("good"))
	call[api.Unblock](t, backend, http.MethodPost, "/v1/unblocks/"+finished+"/complete", api.Complete{Outcome: "pin-changed"})
	call[api.Unblock](t, backend, http.MethodPost, "/v1/unblocks/"+failed+"/complete", api.Complete{Outcome: "failed"})

	type request struct {
		path string
		body any
	}
	begin := func(serial string) []request { // both ways to begin
		return []request{
			{"/v1/unblocks", api.StartUnblock{Card: serial, Operator: "anna", Reason: reason}},
			{"/v1/cards/" + serial + "/response", api.Respond{Operator: "anna", Challenge: good, Reason: reason}},
		}
	}
	challenge := func(text string) []request { // both ways to send a challenge
		return []request{
			{"/v1/unblocks/" + started + "/response", api.Challenge{Challenge: text}},
			{"/v1/cards/good/response", api.Respond{Operator: "anna", Challenge: text, Reason: reason}},
		}
	}
	raw := func(body string) []request { // every path that takes a body
		return []request{
			{"/v1/unblocks", body}, {"/v1/unblocks/" + started + "/response", body},
			{"/v1/unblocks/" + answered + "/complete", body}, {"/v1/cards/good/response", body},
		}
	}
	process := func(id string) []request { // every way to go on with a process
		return []request{
			{"/v1/unblocks/" + id + "/response", api.Challenge{Challenge: good}},
			{"/v1/unblocks/" + id + "/complete", api.Complete{Outcome: "unknown"}},
			{"/v1/unblocks/" + id + "/cancel", nil},
		}
	}
	respondTo := func(id string) []request { return process(id)[:1] }
	as := func(name string) *caller { return a.as(t, name) }

	before := snapshot(t, backend, administrator, started, answered, cancelled, finished, failed)
	for _, test := range []struct {
		name     string
		from     *caller
		requests []request
		status   int
		code     string
	}{
		{"challenge too short", backend, challenge("1603 EBDF 1C8A 2E"), 422, "challenge-length"},
		{"challenge too long", backend, challenge(good + " 00"), 422, "challenge-length"},
		{"challenge of an AES card", backend, challenge(good + good), 422, "challenge-length"},
		{"challenge empty", backend, challenge(" "), 422, "challenge-length"},
		{"challenge not hex", backend, challenge("1603 EBDF 1C8A 2EX2"), 422, "challenge-not-hex"},
		{"challenge ambiguous", backend, challenge("1603 EBDF 1C8A 2ES2"), 422, "challenge-ambiguous"},
		{"unknown card", backend, begin("nobody's"), 404, "card-unknown"},
		{"card not active", backend, begin("revoked"), 409, "card-not-active"},
		{"holder not active", backend, begin("holder-left"), 409, "holder-not-active"},
		{"use case off", backend, begin("use-case-off"), 403, "use-case-off"},
		{"client unknown", as("nobody"), begin("good"), 403, "client-unknown"},
		{"no client certificate", &caller{client: a.client(), url: a.url}, begin("good"), 401, "client-certificate-required"},
		{"client in another role", as("auditor"), begin("good"), 403, "role-forbidden"},
		{"operator unknown", backend, []request{{"/v1/unblocks", api.StartUnblock{Card: "good", Operator: "berta", Reason: reason}}}, 403, "operator-unknown"},
		{"operator missing", backend, []request{{"/v1/unblocks", api.StartUnblock{Card: "good", Reason: reason}}}, 422, "operator-required"},
		{"operator for another", as("anna"), []request{{"/v1/unblocks", api.StartUnblock{Card: "good", Operator: "berta", Reason: reason}}}, 403, "operator-mismatch"},
		{"policy denies own card", backend, begin("of-anna"), 403, "policy-denied"},
		{"policy denies no reason", backend, []request{{"/v1/unblocks", api.StartUnblock{Card: "good", Operator: "anna"}}}, 403, "policy-denied"},
		{"body too large", backend, raw(`{"reason": "` + strings.Repeat("x", 1<<17) + `"}`), 413, "request-too-large"},
		{"body no JSON", backend, raw(`{"card": `), 400, "malformed-json"},
		{"body of two objects", backend, raw(`{} {}`), 400, "malformed-json"},
		{"body an array", backend, raw(`[]`), 400, "malformed-json"},
		{"body with an unknown field", backend, raw(`{"pin": 1}`), 400, "malformed-json"},
		{"outcome unheard of", backend, []request{{"/v1/unblocks/" + answered + "/complete", api.Complete{Outcome: "lost"}}}, 422, "invalid-request"},
		{"process unknown", backend, process("0197c9a4-8f4e-7c3a-9d1b-2f6f5f0b7a11"), 404, "process-unknown"},
		{"process of another client", as("anna"), process(started), 404, "process-unknown"},
		{"process cancelled", backend, process(cancelled), 409, "process-cancelled"},
		{"process finished", backend, process(finished), 409, "process-finished"},
		{"process failed", backend, process(failed), 409, "process-finished"},
		{"process answered already", backend, respondTo(answered), 409, "process-answered"},
		{"process not answered yet", backend, []request{{"/v1/unblocks/" + started + "/complete", api.Complete{Outcome: "pin-changed"}}}, 409, "process-not-answered"},
	} {
		t.Run(test.name, func(t *testing.T) {
			calls := len(a.spy.Calls(t))
			for _, r := range test.requests {
				p := refused(t, test.from, http.MethodPost, r.path, r.body)
				if p.Status != test.status || p.Code != test.code {
					t.Errorf("POST %s: %d %s (%s), want %d %s", r.path, p.Status, p.Code, p.Detail, test.status, test.code)
				}
				if p.Title == "" || p.Detail == "" {
					t.Errorf("POST %s: the problem has no words: %+v", r.path, p)
				}
			}
			if made := a.spy.Calls(t)[calls:]; len(made) != 0 {
				t.Errorf("the HSM was called: %v", made)
			}
			if after := snapshot(t, backend, administrator, started, answered, cancelled, finished, failed); !slices.Equal(before, after) {
				t.Errorf("what is stored was\n%s\nand is now\n%s", before, after)
			}
		})
	}

	// The spy would have seen it: the same process takes a good challenge now.
	calls := len(a.spy.Calls(t))
	answer(started)
	if made := a.spy.Calls(t)[calls:]; !slices.Contains(made, "C_DeriveKey") {
		t.Errorf("a good challenge makes the calls %v", made)
	}
}
