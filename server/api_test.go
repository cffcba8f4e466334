package server

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/custody"
	"latchkey/dualcontrol"
	"latchkey/server/api"
	"latchkey/softhsm-test/virtualcard"
	"latchkey/unblock"
)

// A blocked card goes through HTTPS, policies, HSM and audit log to a new PIN.
func TestUnblock(t *testing.T) {
	w := newWorld(t)
	w.stock()
	for _, test := range []struct {
		serial string
		key    card.KeyType
	}{{"GOOD", card.TDES3}, {"AES", card.AES256}} {
		t.Run(test.serial, func(t *testing.T) {
			c, err := virtualcard.New(virtualcard.Config{
				Serial: test.serial, KeyType: test.key, AdminKey: adminKey(t, test.key, test.serial), PIN: "1234", PINTries: 1,
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.VerifyPIN("0000"); err == nil || !c.Blocked() {
				t.Fatalf("the card is not blocked: %v", err)
			}

			var started api.Unblock
			w.must(http.StatusCreated, &started, "backend", "POST", "/v1/unblocks", api.StartUnblock{Card: test.serial, Operator: "anna", Reason: "INC-1"})
			if started.State != "started" || started.Operator != "anna" || started.Card.Holder.Name != "Astrid Berg" ||
				started.ChallengeDigits != 2*test.key.Block() || !started.ExpiresAt.Equal(w.clock.Now().Add(15*time.Minute)) {
				t.Errorf("started: %+v", started)
			}
			challenge, err := c.Challenge()
			if err != nil {
				t.Fatal(err)
			}
			path := "/v1/unblocks/" + started.ID
			var answered api.Response
			w.must(http.StatusOK, &answered, "backend", "POST", path+"/response", api.Challenge{Challenge: card.Challenge(challenge).Hex()})
			if last := answered.Checks[len(answered.Checks)-1]; answered.Unblock != started.ID || last != string(unblock.AuditDurable) {
				t.Errorf("the response's process is %s and its last check %q", answered.Unblock, last)
			}
			if strings.ReplaceAll(answered.Grouped, " ", "") != answered.Response {
				t.Errorf("grouped %q is not response %q", answered.Grouped, answered.Response)
			}
			if err := c.Authenticate(unhex(t, answered.Response)); err != nil {
				t.Fatalf("the card does not take the response: %v", err)
			}
			if err := c.SetPIN("9876"); err != nil {
				t.Fatal(err)
			}
			if err := c.VerifyPIN("9876"); err != nil || c.Blocked() {
				t.Errorf("the new PIN: %v", err)
			}

			var completed, read api.Unblock
			w.must(http.StatusOK, &completed, "backend", "POST", path+"/complete", api.Complete{Outcome: "pin-changed"})
			w.must(http.StatusOK, &read, "backend", "GET", path, nil)
			if completed.State != "completed" || completed.Outcome != "pin-changed" || completed.FinishedAt == nil || read.State != "completed" {
				t.Errorf("completed: %+v, read again: %+v", completed, read)
			}
			if n, err := w.unconfirmed(t.Context(), test.serial); n != 0 || err != nil {
				t.Errorf("%d responses unconfirmed, error %v", n, err)
			}
		})
	}
}

// One call does what two do, for an operator with a certificate of her own.
func TestRespondInOneCall(t *testing.T) {
	w := newWorld(t)
	w.stock()
	body := api.Respond{Challenge: "1603 ebdf-1C8A:2E72", Reason: "INC-2"}
	var one api.Response
	a := w.call("anna", "POST", "/v1/cards/GOOD/response", body, requestIDHeader, "inc-2")
	if err := json.Unmarshal(a.body, &one); err != nil || a.status != http.StatusOK {
		t.Fatalf("%d %v\n%s", a.status, err, a.body)
	}
	// The same challenge by the other way, and for another card.
	var started api.Unblock
	var two, other api.Response
	w.must(http.StatusCreated, &started, "backend", "POST", "/v1/unblocks", api.StartUnblock{Card: "GOOD", Operator: "anna", Reason: "INC-3"})
	w.must(http.StatusOK, &two, "backend", "POST", "/v1/unblocks/"+started.ID+"/response", api.Challenge{Challenge: "1603EBDF1C8A2E72", Confirmed: true})
	w.must(http.StatusOK, &other, "anna", "POST", "/v1/cards/MORTAL/response", body)
	if one.Response != two.Response || one.Response == other.Response {
		t.Errorf("responses %s and %s for one card, %s for another", one.Response, two.Response, other.Response)
	}

	i := slices.IndexFunc(w.entries(), func(e audit.Entry) bool { return e.RequestID == "inc-2" })
	if i < 0 {
		t.Fatal("the audit log has no entry of the request")
	}
	e := w.entries()[i]
	if e.Client != "anna" || e.Operator != "anna" || e.Address != "127.0.0.1" || e.Challenge != "1603EBDF1C8A2E72" ||
		e.Reason != "INC-2" || e.Outcome != audit.Permit || e.Process != one.Unblock {
		t.Errorf("audit entry: %+v", e)
	}
}

func TestCancel(t *testing.T) {
	w := newWorld(t)
	w.stock()
	var started, cancelled api.Unblock
	w.must(http.StatusCreated, &started, "backend", "POST", "/v1/unblocks", api.StartUnblock{Card: "GOOD", Operator: "anna", Reason: "INC-4"})
	w.must(http.StatusOK, &cancelled, "backend", "POST", "/v1/unblocks/"+started.ID+"/cancel", nil)
	if cancelled.State != "cancelled" || cancelled.FinishedAt == nil {
		t.Errorf("cancelled: %+v", cancelled)
	}
}

// Every bad input has its own problem; it changes nothing and does not reach the
// HSM. The last part of the test sees that no code of the table was forgotten.
func TestRefusals(t *testing.T) {
	w := newWorld(t)
	w.stock()
	const path = "/v1/unblocks"
	start := func(serial string) api.Unblock {
		var u api.Unblock
		w.must(http.StatusCreated, &u, "backend", "POST", path, api.StartUnblock{Card: serial, Operator: "anna", Reason: "INC"})
		return u
	}
	answer := func(u api.Unblock) {
		w.must(http.StatusOK, nil, "backend", "POST", path+"/"+u.ID+"/response", api.Challenge{Challenge: "1603EBDF1C8A2E72", Confirmed: true})
	}
	expired := start("GOOD")
	w.clock.advance(time.Hour)
	cancelled := start("GOOD")
	w.must(http.StatusOK, nil, "backend", "POST", path+"/"+cancelled.ID+"/cancel", nil)
	answered := start("GOOD")
	answer(answered)
	finished := start("GOOD")
	answer(finished)
	w.must(http.StatusCreated, nil, "backend", "PUT", "/v1/cards/OPEN", aCard("gids"))
	open, waiting := start("OPEN"), start("PRIVILEGED")
	w.must(http.StatusOK, nil, "backend", "POST", path+"/"+finished.ID+"/complete", api.Complete{Outcome: "failed"})
	for range 4 {
		w.must(http.StatusOK, nil, "anna", "POST", "/v1/cards/MORTAL/response", api.Respond{Challenge: "1603EBDF1C8A2E72", Confirmed: true, Reason: "INC"})
	}

	good := api.StartUnblock{Card: "GOOD", Operator: "anna", Reason: "INC"}
	of := func(serial string) api.StartUnblock {
		return api.StartUnblock{Card: serial, Operator: "anna", Reason: "INC"}
	}
	respond := func(challenge string) api.Respond {
		return api.Respond{Challenge: challenge, Operator: "anna", Reason: "INC"}
	}
	const challenge = "1603EBDF1C8A2E72"

	// What comes up in no row of the table, and the tests in which it does.
	tested := map[string]string{
		string(unblock.CallerUnknown):         "never: the server refuses before the desk does",
		string(unblock.ProcessConflict):       "TestOneProcessOneResponse",
		string(unblock.PolicyFailed):          "TestDeskFailures",
		string(unblock.AuditUnavailable):      "TestDeskFailures",
		string(unblock.HSMRefused):            "TestFailures",
		string(unblock.HSMUnavailable):        "TestFailures",
		string(unblock.StoreUnavailable):      "TestFailures",
		string(unblock.KeyNotUsable):          "TestKeyStates",
		string(custody.KeyUnknown):            "TestCustodyRefusals",
		string(custody.KeyExists):             "TestCustodyRefusals",
		string(custody.KeyTransition):         "TestCustodyRefusals",
		string(dualcontrol.ProposalUnknown):   "TestCustodyRefusals",
		string(dualcontrol.ProposalOwn):       "TestCustodyRefusals",
		string(dualcontrol.ProposalHash):      "TestCustodyRefusals",
		string(dualcontrol.ProposalClosed):    "TestCustodyRefusals",
		string(dualcontrol.ProposalExpired):   "TestCustodyRefusals",
		string(dualcontrol.ProposalNotYours):  "TestCustodyRefusals",
		string(custody.KeyUnfit):              "TestCustodyCodes",
		string(dualcontrol.ProposalTwice):     "TestCustodyCodes",
		string(custody.ProposalToken):         "TestCustodyCodes",
		string(dualcontrol.ProposalConflict):  "TestCustodyCodes",
		codeInternal:                          "TestPanic",
		codeRate:                              "TestRate",
		codeOverloaded:                        "TestOverload",
		codeTimeout:                           "TestSlowBody",
		codeRevoked:                           "TestRevocation",
		codeNoCRL:                             "TestRevocation",
		codeCrossSite:                         "TestOtherSites",
		codeMediaType:                         "TestMediaTypes",
		codeMethod:                            "TestPaths",
		codeSyncConflict:                      "TestSync",
		codeIdentity:                          "TestTokensRefused",
		codeTwoIdentities:                     "TestTokensRefused",
		codeToken:                             "TestTokensRefused",
		string(unblock.OperatorInactive):      "TestTokensRefused",
		codeProviderAway:                      "TestNoProvider",
		codeRecordUnknown:                     "TestOperators",
		codeOwnRecord:                         "TestOperators",
		codeGrant:                             "TestOperators",
		codeTokenTaken:                        "TestOperators",
		string(unblock.ApprovalForbidden):     "TestApproval",
		string(unblock.ApprovalOwn):           "TestApproval",
		string(unblock.ProcessNotWaiting):     "TestApproval",
		string(unblock.ProcessRefused):        "TestApproval",
		string(unblock.IdempotencyKeyReused):  "TestIdempotencyKey",
		string(unblock.CardSourceUnavailable): "TestLive",
	}
	for _, test := range []struct {
		name   string
		client string
		method string
		path   string
		body   any
		status int
		code   string
		check  unblock.Check
	}{
		{"no certificate", "", "POST", path, good, 401, codeNoCertificate, ""},
		{"unknown client", "stranger", "POST", path, good, 403, codeClientUnknown, ""},
		{"role", "auditor", "POST", path, good, 403, codeRole, ""},
		{"role of a registration", "anna", "PUT", "/v1/cards/NEW", aCard("gids"), 403, codeRole, ""},
		{"role of a card type", "backend", "PUT", "/v1/card-types/new", api.CardType{Name: "n", Profile: "gids"}, 403, codeRole, ""},
		{"role of a search", "auditor", "GET", "/v1/cards?q=a", nil, 403, codeRole, ""},

		{"not JSON", "backend", "POST", path, `{"card":`, 400, codeMalformed, ""},
		{"empty body", "backend", "POST", path, ``, 400, codeMalformed, ""},
		{"null", "backend", "POST", path, `null`, 400, codeMalformed, ""},
		{"array", "backend", "POST", path, `[{"card":"GOOD"}]`, 400, codeMalformed, ""},
		{"unknown field", "backend", "POST", path, `{"card":"GOOD","operator":"anna","reason":"x","admin":true}`, 400, codeMalformed, ""},
		{"field in another case", "backend", "POST", path, `{"Card":"GOOD","operator":"anna","reason":"x"}`, 400, codeMalformed, ""},
		{"field twice", "backend", "POST", path, `{"card":"GOOD","operator":"anna","reason":"x","card":"REVOKED"}`, 400, codeMalformed, ""},
		{"trailing data", "backend", "POST", path, `{"card":"GOOD","operator":"anna","reason":"x"}{}`, 400, codeMalformed, ""},
		{"wrong type", "backend", "POST", path, `{"card":417,"operator":"anna","reason":"x"}`, 400, codeMalformed, ""},
		{"invalid UTF-8", "backend", "POST", path, "{\"card\":\"GO\xffOD\",\"reason\":\"x\"}", 400, codeMalformed, ""},
		{"lone surrogate", "backend", "POST", path, `{"card":"GO\ud800OD","reason":"x"}`, 400, codeMalformed, ""},
		{"deep nesting", "backend", "POST", path, `{"card":` + strings.Repeat("[", 16000), 400, codeMalformed, ""},
		{"too large", "backend", "POST", path, `{"card":"` + strings.Repeat("A", maxBody) + `"}`, 413, codeTooLarge, ""},
		{"too large, all blanks", "backend", "POST", path, strings.Repeat(" ", maxBody+1), 413, codeTooLarge, ""},

		{"no card", "backend", "POST", path, api.StartUnblock{Operator: "anna", Reason: "INC"}, 422, codeInvalid, ""},
		{"long serial", "backend", "POST", path, of(strings.Repeat("A", card.MaxSerial+1)), 422, codeInvalid, ""},
		{"line break in the reason", "backend", "POST", path, api.StartUnblock{Card: "GOOD", Operator: "anna", Reason: "INC\nfaked: permit"}, 422, codeInvalid, ""},
		{"control character in the path", "backend", "POST", "/v1/cards/GO%00OD/response", respond(challenge), 422, codeInvalid, ""},
		{"unknown outcome", "backend", "POST", path + "/" + answered.ID + "/complete", api.Complete{Outcome: "worked"}, 422, codeInvalid, ""},
		{"bad search", "backend", "GET", "/v1/cards?limit=501", nil, 422, codeInvalid, ""},
		{"bad cursor", "backend", "GET", "/v1/cards?after=%2B", nil, 422, codeInvalid, ""},
		{"card with faults", "backend", "PUT", "/v1/cards/NEW", api.Card{Type: "gids", CUID: "xyz"}, 422, codeInvalid, ""},
		{"card of an unknown type", "backend", "PUT", "/v1/cards/NEW", aCard("nonesuch"), 422, codeInvalid, ""},
		{"card with another serial", "backend", "PUT", "/v1/cards/NEW", api.Card{Serial: "OTHER"}, 422, codeInvalid, ""},
		{"new card of a type whose profile is gone", "backend", "PUT", "/v1/cards/NEW", aCard("gone"), 422, codeProfileUnknown, ""},
		{"card type in an unknown state", "admin", "PUT", "/v1/card-types/new", api.CardType{Name: "n", Profile: "gids", UnblockRemote: map[string]bool{"lunar": true}}, 422, codeInvalid, ""},
		{"card type without its switches", "admin", "PUT", "/v1/card-types/new", `{"name":"n","profile":"gids"}`, 422, codeInvalid, ""},
		{"card type with an unknown profile", "admin", "PUT", "/v1/card-types/new", api.CardType{Name: "n", Profile: "nonesuch", UnblockRemote: map[string]bool{}}, 422, codeProfileUnknown, ""},
		{"unknown synchronisation", "admin", "GET", "/v1/card-syncs/nonesuch", nil, 404, codeSyncUnknown, ""},
		{"synchronisation without its hash", "admin", "POST", "/v1/card-syncs", api.BeginCardSync{Lines: 1}, 422, codeInvalid, ""},
		{"cards that are not in an unknown synchronisation", "admin", "GET", "/v1/cards?not_in_sync=nonesuch", nil, 404, codeSyncUnknown, ""},
		{"cards that are not in a synchronisation, by text", "admin", "GET", "/v1/cards?not_in_sync=x&q=a", nil, 422, codeInvalid, ""},
		{"search with too many words", "backend", "GET", "/v1/cards?q=a+b+c+d+e+f+g+h+i+j+k+l+m+n+o+p+q", nil, 422, codeInvalid, ""},
		{"unknown card type", "admin", "GET", "/v1/card-types/nonesuch", nil, 404, codeTypeUnknown, ""},
		{"unknown problem code", "", "GET", "/problems/nonesuch", nil, 404, codeRoute, ""},

		{"client that may not name operators", "mute", "POST", path, good, 403, string(unblock.DelegationRefused), unblock.OperatorAuthenticated},
		{"no operator", "backend", "POST", path, api.StartUnblock{Card: "GOOD", Reason: "INC"}, 422, string(unblock.OperatorRequired), unblock.OperatorAuthenticated},
		{"operator who names another", "anna", "POST", path, api.StartUnblock{Card: "GOOD", Operator: "otto", Reason: "INC"}, 403, string(unblock.OperatorMismatch), unblock.OperatorAuthenticated},
		{"unknown operator", "backend", "POST", path, api.StartUnblock{Card: "GOOD", Operator: "mallory", Reason: "INC"}, 403, string(unblock.OperatorUnknown), unblock.OperatorAuthenticated},
		{"unknown card", "backend", "POST", path, of("NONESUCH"), 404, string(unblock.CardUnknown), unblock.CardFound},
		{"unknown card, in one call", "backend", "POST", "/v1/cards/good/response", respond(challenge), 404, string(unblock.CardUnknown), unblock.CardFound},
		{"unknown card, read", "backend", "GET", "/v1/cards/NONESUCH", nil, 404, string(unblock.CardUnknown), ""},
		{"card that is not active", "backend", "POST", path, of("REVOKED"), 409, string(unblock.CardNotActive), unblock.CardActive},
		{"card that is not active, in one call", "backend", "POST", "/v1/cards/REVOKED/response", respond(challenge), 409, string(unblock.CardNotActive), unblock.CardActive},
		{"holder who is not active", "backend", "POST", path, of("LEFT"), 409, string(unblock.HolderNotActive), unblock.HolderActive},
		{"use case off", "backend", "POST", path, of("OFF"), 403, string(unblock.UseCaseOff), unblock.UseCaseEnabled},
		{"profile not configured", "backend", "POST", path, of("GONE"), 500, string(unblock.ProfileUnusable), unblock.UseCaseEnabled},
		{"stale card data", "backend", "POST", path, of("STALE"), 409, string(unblock.CardDataStale), unblock.CardDataFresh},
		{"missing card data", "backend", "POST", path, of("NOKDD"), 409, string(unblock.CardDataMissing), unblock.CardDataFresh},
		{"approval, in one call", "backend", "POST", "/v1/cards/PRIVILEGED/response", respond(challenge), 403, string(unblock.ApprovalRequired), unblock.PolicyPermits},
		{"another operator", "backend", "POST", path, api.StartUnblock{Card: "OPEN", Operator: "omar", Reason: "INC"}, 409, string(unblock.CardBusy), unblock.CardFree},
		{"override by whom a client named", "backend", "POST", path, api.StartUnblock{Card: "AES", Operator: "sven", Reason: "INC", Override: "x"}, 403, string(unblock.OverrideForbidden), unblock.AttemptsLeft},
		{"unknown verification", "backend", "POST", path, api.StartUnblock{Card: "GOOD", Operator: "anna", Verification: "voice"}, 422, codeInvalid, ""},
		{"policy: no reason", "backend", "POST", path, api.StartUnblock{Card: "GOOD", Operator: "anna"}, 403, string(unblock.PolicyDenied), unblock.PolicyPermits},
		{"no attempts left", "backend", "POST", path, of("MORTAL"), 409, string(unblock.AttemptsExhausted), unblock.AttemptsLeft},

		{"challenge that is not hex", "backend", "POST", "/v1/cards/GOOD/response", respond("1603EBDF1C8A2EX2"), 422, string(unblock.ChallengeNotHex), unblock.ChallengeParsed},
		{"challenge with a look-alike", "backend", "POST", "/v1/cards/GOOD/response", respond("1603EBDF1C8A2ES2"), 422, string(unblock.ChallengeAmbiguous), unblock.ChallengeParsed},
		{"challenge too short", "backend", "POST", "/v1/cards/GOOD/response", respond("1603EBDF1C8A2E"), 422, string(unblock.ChallengeLength), unblock.ChallengeParsed},
		{"challenge too long", "backend", "POST", "/v1/cards/GOOD/response", respond(challenge + challenge), 422, string(unblock.ChallengeLength), unblock.ChallengeParsed},
		{"challenge far too long", "backend", "POST", "/v1/cards/GOOD/response", respond(strings.Repeat("A", 9000)), 422, string(unblock.ChallengeLength), unblock.ChallengeParsed},
		{"no challenge", "backend", "POST", "/v1/cards/GOOD/response", `{"operator":"anna","reason":"INC"}`, 422, string(unblock.ChallengeLength), unblock.ChallengeParsed},
		{"challenge for another profile", "backend", "POST", "/v1/cards/AES/response", respond(challenge), 422, string(unblock.ChallengeLength), unblock.ChallengeParsed},
		{"challenge once more", "backend", "POST", "/v1/cards/GOOD/response", respond(challenge), 422, string(unblock.ChallengeSuspicious), unblock.ChallengePlausible},
		{"bad challenge, read back", "backend", "POST", path + "/" + open.ID + "/read-back", api.ReadChallenge{Challenge: "S"}, 422, string(unblock.ChallengeAmbiguous), ""},
		{"bad challenge in a process", "backend", "POST", path + "/" + open.ID + "/response", api.Challenge{Challenge: "S"}, 422, string(unblock.ChallengeAmbiguous), unblock.ChallengeParsed},

		{"unknown process", "backend", "GET", path + "/0197c9a4-8f4e-7c3a-9d1b-2f6f5f0b7a11", nil, 404, string(unblock.ProcessUnknown), ""},
		{"impossible process", "backend", "POST", path + "/" + strings.Repeat("a", 5000) + "/cancel", nil, 404, string(unblock.ProcessUnknown), ""},
		{"process of another client, read", "anna", "GET", path + "/" + open.ID, nil, 404, string(unblock.ProcessUnknown), ""},
		{"process of another client, answered", "anna", "POST", path + "/" + open.ID + "/response", api.Challenge{Challenge: challenge}, 404, string(unblock.ProcessUnknown), ""},
		{"process of another client, cancelled", "anna", "POST", path + "/" + open.ID + "/cancel", nil, 404, string(unblock.ProcessUnknown), ""},
		{"process that waits", "backend", "POST", path + "/" + waiting.ID + "/response", api.Challenge{Challenge: challenge}, 409, string(unblock.ProcessWaiting), ""},
		{"process approved without a reason", "sven", "POST", path + "/" + waiting.ID + "/approve", api.ApproveUnblock{Statement: "x"}, 422, codeInvalid, ""},
		{"process approved by another hash", "sven", "POST", path + "/" + waiting.ID + "/approve", api.ApproveUnblock{Statement: "x", Reason: "INC"}, 409, string(unblock.ApprovalHash), ""},
		{"process that asks for no approval", "sven", "POST", path + "/" + open.ID + "/approve", api.ApproveUnblock{Statement: "x", Reason: "INC"}, 404, string(unblock.ProcessUnknown), ""},
		{"approvals of a backend", "backend", "GET", "/v1/approvals", nil, 403, codeRole, ""},
		{"process not answered", "backend", "POST", path + "/" + open.ID + "/complete", api.Complete{Outcome: "pin-changed"}, 409, string(unblock.ProcessNotAnswered), ""},
		{"process answered", "backend", "POST", path + "/" + answered.ID + "/response", api.Challenge{Challenge: challenge}, 409, string(unblock.ProcessAnswered), ""},
		{"cancelled process", "backend", "POST", path + "/" + cancelled.ID + "/response", api.Challenge{Challenge: challenge}, 409, string(unblock.ProcessCancelled), ""},
		{"cancelled process, completed", "backend", "POST", path + "/" + cancelled.ID + "/complete", api.Complete{Outcome: "failed"}, 409, string(unblock.ProcessCancelled), ""},
		{"finished process", "backend", "POST", path + "/" + finished.ID + "/response", api.Challenge{Challenge: challenge}, 409, string(unblock.ProcessFinished), ""},
		{"finished process, cancelled", "backend", "POST", path + "/" + finished.ID + "/cancel", nil, 409, string(unblock.ProcessFinished), ""},
		{"expired process", "backend", "POST", path + "/" + expired.ID + "/response", api.Challenge{Challenge: challenge}, 409, string(unblock.ProcessExpired), ""},
	} {
		tested[test.code] = "here"
		t.Run(test.name, func(t *testing.T) {
			before, calls := w.state(), w.token.Calls()
			a := w.call(test.client, test.method, test.path, test.body, requestIDHeader, "the-request")
			p := a.problem(t)
			want := api.Problem{
				Type: "/problems/" + test.code, Title: p.Title, Status: test.status, Detail: p.Detail,
				Instance: "urn:request:the-request", Code: test.code, Check: string(test.check), Faults: p.Faults,
			}
			if got, wanted := plain(t, p), plain(t, want); got != wanted || a.status != test.status || p.Detail == "" {
				t.Errorf("status %d and problem\n%s, want\n%s", a.status, got, wanted)
			}
			if (test.code == codeInvalid) != (len(p.Faults) > 0) {
				t.Errorf("%s comes with the faults %v", p.Code, p.Faults)
			}
			if got := w.token.Calls(); got != calls {
				t.Errorf("the HSM was called %d times", got-calls)
			}
			if after := w.state(); after != before {
				t.Errorf("state before:\n%s\nand after:\n%s", before, after)
			}
		})
	}
	for _, code := range custodyCodes(t) {
		tested[code] = "the tests of custody"
	}
	tested[codeEntryUnproved] = "the test of the audit log"
	// No route of the API is for holders (decision 0038): the desk says these, to its own tests.
	for _, code := range []unblock.Code{unblock.SelfServiceOff, unblock.SecondFactor} {
		tested[string(code)] = "TestSelfServiceIsRefused in unblock"
	}
	for _, p := range problems() {
		if tested[p.code] == "" {
			t.Errorf("%s is tested nowhere", p.code)
		}
	}
}

func plain(t testing.TB, v any) string {
	t.Helper()
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
