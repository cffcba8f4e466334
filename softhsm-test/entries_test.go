package softhsmtest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/server/api"
	"latchkey/softhsm-test/faultmodule"
	openidtest "latchkey/softhsm-test/openid"
	"latchkey/store"
)

// entriesOf reads the log from an entry on, while the server runs or not.
func entriesOf(t *testing.T, where string, from int64) (all []audit.Entry) {
	t.Helper()
	log, done, err := store.OpenLog(t.Context(), where)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = done() }()
	for {
		rows, err := log.Rows(t.Context(), from+int64(len(all)), store.MaxEntries)
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) == 0 {
			return all
		}
		for _, r := range rows {
			var e audit.Entry
			if err := json.Unmarshal([]byte(r.Text), &e); err != nil {
				t.Fatal(err)
			}
			all = append(all, e)
		}
	}
}

// lacks names the fields that are set in want and are others in got; "*" is anything
// but nothing, a latency is any, and a detail has to end as it is wanted.
func lacks(got, want audit.Entry) (fields []string) {
	fieldsOf := func(e audit.Entry) (m map[string]any) {
		text, _ := json.Marshal(e)   // it has no field that could fail
		_ = json.Unmarshal(text, &m) // what was just written
		delete(m, "sequence")        // given by the log
		if e.Time.IsZero() {
			delete(m, "time")
		}
		return m
	}
	has := fieldsOf(got)
	for name, value := range fieldsOf(want) {
		if value == "" {
			continue
		}
		anything := value == "*" || name == "latency_us"
		if name == "detail" && strings.HasSuffix(fmt.Sprint(has[name]), fmt.Sprint(value)) {
			continue
		}
		if anything && has[name] == nil || !anything && fmt.Sprint(has[name]) != fmt.Sprint(value) {
			fields = append(fields, fmt.Sprintf("%s is %v, not %v", name, has[name], value))
		}
	}
	return fields
}

// TestEntries does at a running server whatever is to be in its log, and looks for the
// entry of each, with what an auditor asks: who, on whose behalf, from where, which card
// and key, by which policy, and how it went. Nowhere is there a response.
func TestEntries(t *testing.T) {
	a := prepareAppliance(t)
	dex := openidtest.NewDex(t, a.url+"/console/callback")
	secrets := t.TempDir()
	for name, text := range map[string]string{"ca.pem": string(dex.CA), "secret": openidtest.ClientSecret} {
		if err := os.WriteFile(filepath.Join(secrets, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fault := faultmodule.Start(t, a.token.Module)
	a.writeConfig(t, fault.Path, "audit: {key: audit}", fmt.Sprintf(
		"oidc: {issuer: %q, ca: %s/ca.pem, audience: other, claims: {operator: name}, console: {client_id: %s, client_secret_file: %s/secret, redirect_url: %q}}",
		dex.Issuer, secrets, openidtest.ClientID, secrets, a.url+"/console/callback"))
	a.amend(t, "  - {name: auditor,", `  - {name: olga, subject: "CN=olga,O=Example", roles: [security-officer], operator: olga}
  - {name: otto, subject: "CN=otto,O=Example", roles: [security-officer], operator: otto}
  - {name: sven, subject: "CN=sven,O=Example", roles: [supervisor], operator: sven}
  - {name: auditor,`)
	a.amend(t, "operators:\n", `operators:
  - {id: olga, name: Olga Ritter, roles: [security-officer]}
  - {id: otto, name: Otto Weiss, roles: [security-officer]}
  - {id: sven, name: Sven Holm, roles: [supervisor]}
`)
	a.command(t, "audit", "key", "audit", "--create", "--config", a.config, "--out", filepath.Join(secrets, "audit.pem"))
	a.start(t)

	as := func(name string) *caller { return a.as(t, name) }
	backend, administrator, anna := as("identity-manager"), as("administrator"), as("anna")
	olga, otto, sven, auditor := as("olga"), as("otto"), as("sven"), as("auditor")
	nobody := &caller{client: a.client(), url: a.url}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := a.client()
	browser.Jar = jar
	browser.Transport.(*http.Transport).TLSClientConfig.RootCAs.AppendCertsFromPEM(dex.CA)

	var responses []string
	var process, waiting, statement, proposal, hash string
	respond := func(c *caller, path string, body any) {
		answer := call[api.Response](t, c, http.MethodPost, path, body)
		responses = append(responses, answer.Response, strings.ToLower(answer.Response), answer.Grouped, answer.Spoken)
		process = answer.Unblock
	}
	start := func(serial string) string {
		return call[api.Unblock](t, backend, http.MethodPost, "/v1/unblocks", api.StartUnblock{
			Card: serial, Operator: "anna", Reason: reason, Ticket: "INC-7", Verification: "call-back",
		}).ID
	}
	wait := func(serial string) {
		waiting = start(serial)
		for _, p := range call[api.PendingUnblocks](t, sven, http.MethodGet, "/v1/approvals", nil).Approvals {
			if p.Unblock.ID == waiting {
				statement = p.Statement
			}
		}
	}
	propose := func(act, why string) {
		p := call[api.KeyProposal](t, olga, http.MethodPost, "/v1/key-proposals", api.Propose{Act: act, Parameters: api.KeyParameters{Key: "master", Version: 1, Reason: why}})
		proposal, hash = p.ID, p.Hash
	}
	policies := func(note string) {
		p := call[api.PolicyProposal](t, olga, http.MethodPost, "/v1/policy-proposals", api.ProposePolicies{Note: note, Policies: []api.PolicyText{{
			Name: "desk.cedar", Text: `@id("desk") @reason("It takes a role of the desk.") permit (principal, action, resource);`,
		}}})
		proposal, hash = p.ID, p.Hash
	}
	signIn := func() {
		t.Helper()
		choice, err := browser.Get(a.url + "/console/sign-in")
		if err != nil {
			t.Fatal(err)
		}
		_ = choice.Body.Close()
		_ = openidtest.SignIn(t, browser, choice, "anna").Body.Close()
	}

	const (
		own   = "own certificate"
		named = "named by the client"
	)
	for _, test := range []struct {
		name string
		do   func()
		want []audit.Entry // besides which there may be others
	}{
		{"a key that signs the log", func() {}, []audit.Entry{{Action: audit.AuditKey, Outcome: audit.Permit, Client: "latchkey", Detail: "*"}}},

		// At the door.
		{"no certificate", func() { refused(t, nobody, http.MethodGet, "/v1/keys", nil) },
			[]audit.Entry{{Action: audit.AccessRefused, Outcome: audit.Deny, Code: "client-certificate-required", Detail: "/v1/keys"}}},
		{"an unknown certificate", func() { refused(t, as("stranger"), http.MethodGet, "/v1/keys", nil) },
			[]audit.Entry{{Action: audit.AccessRefused, Outcome: audit.Deny, Code: "client-unknown", Detail: "/v1/keys"}}},
		{"a token for another service", func() { a.withToken(t, dex.Token("anna", openidtest.ClientID)) },
			[]audit.Entry{{Action: audit.AccessRefused, Outcome: audit.Deny, Code: "token-refused", Detail: "/v1/card-types"}}},
		{"a role that may not", func() { refused(t, anna, http.MethodGet, "/v1/audit", nil) },
			[]audit.Entry{{Action: audit.AccessRefused, Outcome: audit.Deny, Code: "role-forbidden", Client: "anna", Operator: "anna", Detail: "/v1/audit"}}},

		// What is registered.
		{"a card type and a card", func() {
			for _, serial := range []string{"CARD-1", "CARD-2", "CARD-3"} {
				a.register(t, card.TDES3, serial)
			}
		}, []audit.Entry{
			{Action: audit.CardTypePut, Outcome: audit.Permit, Client: "administrator", CardType: "tdes3", Detail: "*"},
			{Action: audit.CardPut, Outcome: audit.Permit, Client: "identity-manager", Card: "CARD-1"},
		}},
		{"a card of a privileged holder", func() {
			for i, serial := range []string{"CHIEF-1", "CHIEF-2"} {
				a.register(t, card.TDES3, serial, func(c *api.Card) { c.Holder.ID, c.Holder.Privileged = fmt.Sprint("chief-", i), true })
			}
		}, []audit.Entry{{Action: audit.CardPut, Outcome: audit.Permit, Card: "CHIEF-1"}}},
		{"an operator", func() {
			call[api.Operator](t, administrator, http.MethodPut, "/v1/operators/rita", api.Operator{Name: "Rita", Roles: []string{"operator"}, State: "active"})
		}, []audit.Entry{{Action: audit.OperatorPut, Outcome: audit.Permit, Client: "administrator", Subject: "rita", Detail: "*"}}},

		// Unblocking.
		{"a process", func() { process = start("CARD-1") }, []audit.Entry{{
			Action: audit.UnblockStart, Outcome: audit.Permit, Client: "identity-manager", Operator: "anna", Delegation: named, Process: "*",
			Card: "CARD-1", CardType: "tdes3", Profile: "gids-tdes3", MasterKey: "master", KeyVersion: 1, Policies: []string{"operator-with-reason"}, PolicyVersion: "*",
			Reason: reason, Ticket: "INC-7", Verification: "call-back", LatencyMicros: 1,
		}}},
		{"a challenge that is none", func() {
			refused(t, backend, http.MethodPost, "/v1/unblocks/"+process+"/response", api.Challenge{Challenge: "1603 EBDF 1C8A 2EX2"})
		}, []audit.Entry{{Action: audit.UnblockRespond, Outcome: audit.Deny, Check: "challenge parsed", Code: "challenge-not-hex", Process: "*", Card: "CARD-1", Operator: "anna"}}},
		{"an answer", func() {
			respond(backend, "/v1/unblocks/"+process+"/response", api.Challenge{Challenge: "1603 EBDF 1C8A 2E72"})
		}, []audit.Entry{{
			Action: audit.UnblockRespond, Outcome: audit.Permit, Client: "identity-manager", Operator: "anna", Delegation: named, Process: "*",
			Card: "CARD-1", CardType: "tdes3", Profile: "gids-tdes3", MasterKey: "master", KeyVersion: 1, Policies: []string{"operator-with-reason"}, PolicyVersion: "*",
			Challenge: "1603EBDF1C8A2E72", Reason: reason, Ticket: "INC-7", Verification: "call-back", LatencyMicros: 1,
		}}},
		{"its outcome", func() {
			call[api.Unblock](t, backend, http.MethodPost, "/v1/unblocks/"+process+"/complete", api.Complete{Outcome: "pin-changed"})
		}, []audit.Entry{{Action: audit.UnblockComplete, Outcome: audit.Permit, Client: "identity-manager", Operator: "anna", Card: "CARD-1", Process: "*", Detail: "pin-changed", LatencyMicros: 1}}},
		{"an answer in one call, by the operator", func() {
			respond(anna, "/v1/cards/CARD-2/response", api.Respond{Challenge: "1603 EBDF 1C8A 2E73", Reason: reason})
		}, []audit.Entry{{Action: audit.UnblockRespond, Outcome: audit.Permit, Client: "anna", Operator: "anna", Delegation: own, Card: "CARD-2", Challenge: "1603EBDF1C8A2E73", LatencyMicros: 1}}},
		{"a process that is cancelled", func() {
			call[api.Unblock](t, backend, http.MethodPost, "/v1/unblocks/"+start("CARD-3")+"/cancel", nil)
		}, []audit.Entry{{Action: audit.UnblockCancel, Outcome: audit.Permit, Client: "identity-manager", Operator: "anna", Card: "CARD-3", Process: "*"}}},
		{"what policies deny", func() {
			refused(t, backend, http.MethodPost, "/v1/unblocks", api.StartUnblock{Card: "CARD-3", Operator: "anna"})
		}, []audit.Entry{{Action: audit.UnblockStart, Outcome: audit.Deny, Check: "policy permits", Code: "policy-denied", Client: "identity-manager", Operator: "anna", Card: "CARD-3", PolicyVersion: "*", LatencyMicros: 1}}},
		{"a card that is not there", func() {
			refused(t, anna, http.MethodPost, "/v1/cards/NOBODYS/response", api.Respond{Challenge: "1603 EBDF 1C8A 2E74", Reason: reason})
		}, []audit.Entry{{Action: audit.UnblockRespond, Outcome: audit.Deny, Check: "card found", Code: "card-unknown", Client: "anna", Operator: "anna", Card: "NOBODYS"}}},
		{"a process of somebody else", func() {
			refused(t, anna, http.MethodPost, "/v1/unblocks/"+process+"x/cancel", nil)
			refused(t, backend, http.MethodPost, "/v1/unblocks/"+process+"/cancel", nil)
		}, []audit.Entry{{Action: audit.UnblockCancel, Outcome: audit.Deny, Code: "process-unknown", Client: "identity-manager", Process: "*"}}},
		{"an HSM that is away", func() {
			fault.LoseToken()
			refused(t, backend, http.MethodPost, "/v1/cards/CARD-1/response", api.Respond{Operator: "anna", Challenge: "1603 EBDF 1C8A 2E75", Reason: reason})
			fault.RestoreToken()
		}, []audit.Entry{{Action: audit.UnblockRespond, Outcome: audit.Failure, Check: "response derived in the HSM", Code: "hsm-unavailable", Client: "identity-manager", Operator: "anna", Card: "CARD-1", Challenge: "1603EBDF1C8A2E75"}}},

		// A second person.
		{"an approval", func() {
			wait("CHIEF-1")
			call[api.PendingUnblock](t, sven, http.MethodPost, "/v1/unblocks/"+waiting+"/approve", api.ApproveUnblock{Statement: statement, Reason: "I know her"})
		}, []audit.Entry{
			{Action: audit.UnblockStart, Outcome: audit.Permit, Operator: "anna", Card: "CHIEF-1", Process: "*", Policies: []string{"privileged-holder"}},
			{Action: audit.UnblockApprove, Outcome: audit.Permit, Client: "sven", Operator: "sven", Delegation: own, Card: "CHIEF-1", CardType: "tdes3", LatencyMicros: 1, Process: "*", Reason: reason, Detail: "I know her"},
		}},
		{"an answer that was approved", func() {
			eventually(t, func() bool {
				status, text, _ := backend.once(t, http.MethodPost, "/v1/unblocks/"+waiting+"/response", api.Challenge{Challenge: "1603 EBDF 1C8A 2E76"})
				var answer api.Response
				if status == http.StatusOK {
					if err := json.Unmarshal(text, &answer); err != nil {
						t.Fatal(err)
					}
					responses = append(responses, answer.Response, strings.ToLower(answer.Response), answer.Grouped, answer.Spoken)
				}
				return status == http.StatusOK
			}, "the token answers again")
		}, []audit.Entry{{Action: audit.UnblockRespond, Outcome: audit.Permit, Operator: "anna", Card: "CHIEF-1", Approver: "sven"}}},
		{"a refusal", func() {
			wait("CHIEF-2")
			call[api.PendingUnblock](t, sven, http.MethodPost, "/v1/unblocks/"+waiting+"/refuse", api.RefuseUnblock{Reason: "It was not her"})
		}, []audit.Entry{{Action: audit.UnblockRefuse, Outcome: audit.Permit, Client: "sven", Operator: "sven", Card: "CHIEF-2", Process: "*", Reason: reason, Detail: "It was not her"}}},

		// Keys and policies.
		{"a key that is suspended", func() { propose("suspend", "seen at a market") }, []audit.Entry{
			{Action: audit.KeyPropose, Outcome: audit.Permit, Client: "olga", Operator: "olga", Delegation: own, Proposal: "*", ProposalHash: "*", MasterKey: "master", KeyVersion: 1, Reason: "seen at a market"},
			{Action: audit.KeyExecute, Outcome: audit.Permit, Client: "olga", Proposal: "*", MasterKey: "master", KeyVersion: 1},
		}},
		{"a proposal that its proposer approves", func() {
			propose("resume", "it was another")
			refused(t, olga, http.MethodPost, "/v1/key-proposals/"+proposal+"/approve", api.ApproveProposal{Hash: hash})
		}, []audit.Entry{{Action: audit.KeyApprove, Outcome: audit.Deny, Code: "*", Client: "olga", Operator: "olga", Proposal: "*"}}},
		{"a key that is resumed", func() {
			call[api.KeyProposal](t, otto, http.MethodPost, "/v1/key-proposals/"+proposal+"/approve", api.ApproveProposal{Hash: hash})
		}, []audit.Entry{
			{Action: audit.KeyApprove, Outcome: audit.Permit, Client: "otto", Operator: "otto", Delegation: own, Proposal: "*", ProposalHash: "*", MasterKey: "master", KeyVersion: 1},
			{Action: audit.KeyExecute, Outcome: audit.Permit, Proposal: "*", MasterKey: "master", KeyVersion: 1},
		}},
		{"a proposal that is rejected", func() {
			propose("deactivate", "by mistake")
			call[api.KeyProposal](t, otto, http.MethodPost, "/v1/key-proposals/"+proposal+"/reject", api.RejectProposal{Reason: "no"})
		}, []audit.Entry{{Action: audit.KeyReject, Outcome: audit.Permit, Client: "otto", Operator: "otto", Proposal: "*", Reason: "no"}}},
		{"a proposal that is withdrawn", func() {
			propose("deactivate", "by mistake")
			call[api.KeyProposal](t, olga, http.MethodPost, "/v1/key-proposals/"+proposal+"/withdraw", nil)
		}, []audit.Entry{{Action: audit.KeyWithdraw, Outcome: audit.Permit, Client: "olga", Operator: "olga", Proposal: "*"}}},
		{"the transport key", func() { call[api.TransportKey](t, olga, http.MethodGet, "/v1/transport-key", nil) },
			[]audit.Entry{{Action: audit.KeyTransport, Outcome: audit.Permit, Client: "olga", Operator: "olga"}}},
		{"policies", func() {
			policies("everybody may")
			call[api.PolicyProposal](t, otto, http.MethodPost, "/v1/policy-proposals/"+proposal+"/approve", api.ApproveProposal{Hash: hash})
		}, []audit.Entry{
			{Action: audit.PolicyPropose, Outcome: audit.Permit, Client: "olga", Operator: "olga", Proposal: "*", ProposalHash: "*", Reason: "everybody may"},
			{Action: audit.PolicyApprove, Outcome: audit.Permit, Client: "otto", Operator: "otto", Proposal: "*", ProposalHash: "*"},
			{Action: audit.PolicyActivate, Outcome: audit.Permit, Proposal: "*", PolicyVersion: "*"},
		}},
		{"policies that are withdrawn and rejected", func() {
			policies("once more")
			call[api.PolicyProposal](t, olga, http.MethodPost, "/v1/policy-proposals/"+proposal+"/withdraw", nil)
			policies("and again")
			call[api.PolicyProposal](t, otto, http.MethodPost, "/v1/policy-proposals/"+proposal+"/reject", api.RejectProposal{Reason: "no"})
		}, []audit.Entry{
			{Action: audit.PolicyWithdraw, Outcome: audit.Permit, Client: "olga", Proposal: "*"},
			{Action: audit.PolicyReject, Outcome: audit.Permit, Client: "otto", Proposal: "*", Reason: "no"},
		}},

		// Sign-ins.
		{"a sign-in that nobody began", func() {
			answer, err := browser.Get(a.url + "/console/callback?" + url.Values{"state": {"made up"}, "code": {"made up"}}.Encode())
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Body.Close()
		}, []audit.Entry{{Action: audit.SessionRefuse, Outcome: audit.Deny, Detail: "*"}}},
		{"a sign-in", signIn, []audit.Entry{{Action: audit.SessionBegin, Outcome: audit.Permit, Operator: "anna", Client: "person:anna", Delegation: "*"}}},
		{"a sign-out", func() { a.submit(t, browser, "/console/", "/console/sign-out", nil) },
			[]audit.Entry{{Action: audit.SessionEnd, Outcome: audit.Permit, Operator: "anna", Detail: "signed out"}}},

		{"somebody who reads the log", func() {
			if status, _ := auditor.send(t, http.MethodGet, "/v1/audit", nil); status != http.StatusOK {
				t.Errorf("the auditor gets %d", status)
			}
		}, []audit.Entry{{Action: audit.AuditExport, Outcome: audit.Permit, Client: "auditor"}}},
	} {
		before := int64(len(entriesOf(t, a.database(), 1)))
		if test.name == "a key that signs the log" {
			before = 0
		}
		test.do()
		entries := entriesOf(t, a.database(), before+1)
		for _, want := range test.want {
			nearest := []string{"no entry of the action"}
			for _, e := range entries {
				if e.Action != want.Action {
					continue
				}
				missing := lacks(e, want)
				if e.Time.IsZero() || e.Action != audit.AuditKey && (e.Address != "127.0.0.1" || e.RequestID == "") {
					missing = append(missing, fmt.Sprintf("it is of %v, from %q, of request %q", e.Time, e.Address, e.RequestID))
				}
				if nearest = missing; len(missing) == 0 {
					break
				}
			}
			if len(nearest) != 0 {
				t.Errorf("%s: %s %s: %s; entries: %+v", test.name, want.Action, want.Outcome, strings.Join(nearest, "; "), entries)
			}
		}
	}

	// What was given out is in no file of the server's.
	a.stop(t)
	if len(responses) < 4*3 {
		t.Fatalf("only %d spellings of responses were given out", len(responses))
	}
	err = filepath.WalkDir(a.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		for _, response := range responses {
			if bytes.Contains(text, []byte(response)) {
				t.Errorf("%s holds a response", filepath.Base(path))
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// withToken calls with a token that is refused.
func (a *appliance) withToken(t *testing.T, token string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.url+"/v1/card-types", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := a.client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("the token is answered with %d", response.StatusCode)
	}
}

var formToken = regexp.MustCompile(`name="form" value="([^"]+)"`)

// submit sends a form of a console's page, as a browser does.
func (a *appliance) submit(t *testing.T, browser *http.Client, page, action string, values url.Values) string {
	t.Helper()
	answer, err := browser.Get(a.url + page)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	token := formToken.FindSubmatch(text)
	if err != nil || token == nil {
		t.Fatalf("%s has no form (%v):\n%s", page, err, text)
	}
	if values == nil {
		values = url.Values{}
	}
	values.Set("form", string(token[1]))
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.url+action, strings.NewReader(values.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Sec-Fetch-Site", "same-origin")
	done, err := browser.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = done.Body.Close() }()
	after, err := io.ReadAll(done.Body)
	if err != nil || done.StatusCode >= http.StatusBadRequest {
		t.Fatalf("POST %s: %d %v\n%s", action, done.StatusCode, err, after)
	}
	return string(after)
}
