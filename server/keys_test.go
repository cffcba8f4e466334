package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"latchkey/audit"
	"latchkey/custody"
	"latchkey/dualcontrol"
	"latchkey/hsm"
	"latchkey/server/api"
	"latchkey/unblock"
)

// about is the body of a proposal on the world's master key.
func about(act custody.Act, version int) api.Propose {
	p := api.Propose{Act: string(act), Parameters: api.KeyParameters{Key: "cards", Version: version}}
	if act == custody.Generate {
		p.Parameters.Type, p.Parameters.Use = "aes256", "derive"
	}
	return p
}

// act has olga propose and otto approve.
func (w *world) act(body api.Propose) api.KeyProposal {
	w.t.Helper()
	var p api.KeyProposal
	w.must(http.StatusCreated, &p, "olga", "POST", "/v1/key-proposals", body)
	if p.State == "open" {
		w.must(http.StatusOK, &p, "otto", "POST", "/v1/key-proposals/"+p.ID+"/approve", api.ApproveProposal{Hash: p.Hash})
	}
	if p.State != "executed" {
		w.t.Fatalf("%s: %s, %+v", body.Act, p.State, p.Result)
	}
	return p
}

// A master key's state decides over real answers: each state is reached through
// the API, and then a card is answered or refused, the latter without a call of
// the token.
func TestKeyStates(t *testing.T) {
	w := newWorld(t)
	w.stock()
	respond := func() answer {
		return w.call("backend", "POST", "/v1/cards/GOOD/response", api.Respond{Challenge: "1603EBDF1C8A2E72", Confirmed: true, Operator: "anna", Reason: "INC"})
	}
	for _, step := range []struct {
		act     custody.Act // "" for the key that nobody registered
		answers bool
		state   string
	}{
		{"", true, "active"},
		{custody.Suspend, false, "suspended"},
		{custody.Resume, true, "active"},
		{custody.Deactivate, true, "deactivated"},
		{custody.MarkCompromised, false, "compromised"},
		{custody.Destroy, false, "destroyed"},
	} {
		if step.act != "" {
			w.act(about(step.act, 1))
		}
		calls := w.token.Calls()
		a := respond()
		if step.answers != (a.status == http.StatusOK) {
			t.Errorf("%s: status %d\n%s", step.state, a.status, a.body)
		}
		if !step.answers {
			if p := a.problem(t); p.Code != string(unblock.KeyNotUsable) || p.Check != string(unblock.KeyUsable) || !strings.Contains(p.Detail, step.state) {
				t.Errorf("%s: %+v", step.state, p)
			}
			if made := w.token.Calls() - calls; made != 0 {
				t.Errorf("%s: the token was called %d times", step.state, made)
			}
		}
		var keys api.Keys
		w.must(http.StatusOK, &keys, "auditor", "GET", "/v1/keys", nil)
		if k := keys.Keys[0]; k.State != step.state || k.InToken != (step.state != "destroyed") || k.Label != "cards" || k.Registered != (step.act != "") {
			t.Errorf("inventory after %s: %+v", step.act, k)
		}
	}
	// A card of another version of the key is not touched by any of it.
	w.act(about(custody.Generate, 3))
	w.act(about(custody.Activate, 3))
	c := aCard("gids")
	c.MasterKeyVersion = 3
	w.must(http.StatusCreated, nil, "backend", "PUT", "/v1/cards/THIRD", c)
	w.must(http.StatusOK, nil, "backend", "POST", "/v1/cards/THIRD/response", api.Respond{Challenge: "1603EBDF1C8A2E72", Operator: "anna", Reason: "INC"})
}

// A rotation: new cards get the new version, old ones keep theirs, and plan and
// list tell who is left.
func TestRotation(t *testing.T) {
	w := newWorld(t)
	w.stock()
	var before api.KeyPlan
	w.must(http.StatusOK, &before, "olga", "GET", "/v1/keys/cards/plan", nil)
	made := w.act(about(custody.Generate, 7))
	if len(made.Result.KCV) == 0 || made.Result.KCV[0].Convention != string(hsm.AESCMACZero) {
		t.Errorf("check values %+v", made.Result.KCV)
	}
	p := w.call("olga", "POST", "/v1/key-proposals", about(custody.MakeCurrent, 7)).problem(t)
	if p.Code != string(custody.KeyTransition) {
		t.Errorf("a key that is not active was made current: %+v", p)
	}
	w.act(about(custody.Activate, 7))
	w.act(about(custody.MakeCurrent, 7))

	put := func(serial string) (c api.Card) {
		t.Helper()
		a := w.call("backend", "PUT", "/v1/cards/"+serial, aCard("gids"))
		if err := json.Unmarshal(a.body, &c); err != nil || a.status >= 400 {
			t.Fatalf("%s: %d %s", serial, a.status, a.body)
		}
		return c
	}
	if c := put("NEW"); c.MasterKeyVersion != 7 {
		t.Errorf("a new card got version %d, want 7", c.MasterKeyVersion)
	}
	if c := put("GOOD"); c.MasterKeyVersion != 1 {
		t.Errorf("a known card has version %d now, want 1", c.MasterKeyVersion)
	}
	var plan api.KeyPlan
	w.must(http.StatusOK, &plan, "auditor", "GET", "/v1/keys/cards/plan", nil)
	cards := map[int]int{}
	for _, v := range plan.Versions {
		cards[v.Version] = v.Cards
		if v.Current != (v.Version == 7) {
			t.Errorf("version %d is current: %v", v.Version, v.Current)
		}
	}
	if cards[7] != 1 || plan.Left == 0 || plan.Left != cards[1]+cards[2] {
		t.Errorf("plan %+v", plan)
	}

	var serials []string
	for next := ""; ; {
		var page api.Cards
		w.must(http.StatusOK, &page, "auditor", "GET", "/v1/keys/cards/1/cards?limit=2&after="+url.QueryEscape(next), nil)
		for _, c := range page.Cards {
			serials = append(serials, c.Serial)
		}
		if next = page.Next; next == "" {
			break
		}
	}
	seen := map[string]bool{}
	for _, s := range serials {
		seen[s] = true
	}
	if len(serials) != cards[1] || len(seen) != len(serials) || !seen["GOOD"] || seen["NEW"] {
		t.Errorf("affected cards %q; the plan says %d", serials, cards[1])
	}

	w.must(http.StatusCreated, nil, "olga", "POST", "/v1/key-proposals", about(custody.Suspend, 7))
	a := w.call("backend", "PUT", "/v1/cards/LATER", aCard("gids"))
	if p := a.problem(t); p.Code != string(unblock.KeyNotUsable) || a.status != http.StatusConflict {
		t.Errorf("a new card on a suspended key: %+v", p)
	}
	var events audit.Entry
	for _, e := range w.entries() {
		if e.Action == audit.KeyExecute {
			events = e
		}
	}
	if events.Client != "olga" || events.MasterKey != "cards" || events.KeyVersion != 7 || events.Address == "" {
		t.Errorf("last entry of an act: %+v", events)
	}
}

// The hash that is approved is that of the text that is shown.
func TestProposalShowsWhatIsHashed(t *testing.T) {
	w := newWorld(t)
	var p api.KeyProposal
	w.must(http.StatusCreated, &p, "olga", "POST", "/v1/key-proposals", about(custody.Generate, 2))
	if sum := sha256.Sum256([]byte(p.Statement)); hex.EncodeToString(sum[:]) != p.Hash {
		t.Errorf("hash %s is not of %s", p.Hash, p.Statement)
	}
	s, err := custody.ParseStatement(p.Statement)
	if err != nil || s.Token != w.token.Info().Serial || s.Parameters.Version != 2 || s.Proposer != "olga" || s.Words() != p.Words {
		t.Errorf("statement %+v (%v)", s, err)
	}
	var again api.KeyProposal
	w.must(http.StatusOK, &again, "otto", "GET", "/v1/key-proposals/"+p.ID, nil)
	if plain(t, again) != plain(t, p) {
		t.Errorf("read back:\n%s\nwas\n%s", plain(t, again), plain(t, p))
	}
}

// A backup is for officers. Auditors see that there is one.
func TestBackupIsForOfficers(t *testing.T) {
	w := newWorld(t)
	var key api.TransportKey
	w.must(http.StatusOK, &key, "olga", "GET", "/v1/transport-key", nil)
	der := decodePEM(t, key.PublicKey)
	body := about(custody.Generate, 9)
	body.Act, body.Parameters.BackupKey = string(custody.GenerateWithBackup), der
	p := w.act(body)
	if len(p.Result.Backup) == 0 || p.Result.BackupUnder != key.Fingerprint {
		t.Errorf("result %+v", p.Result)
	}
	var seen api.KeyProposal
	w.must(http.StatusOK, &seen, "auditor", "GET", "/v1/key-proposals/"+p.ID, nil)
	if len(seen.Result.Backup) != 0 || seen.Result.BackupUnder != key.Fingerprint {
		t.Errorf("an auditor sees %+v", seen.Result)
	}
}

// Every refusal of custody over HTTP: its status and code, and that cards, keys and
// counted attempts stay as they are.
func TestCustodyRefusals(t *testing.T) {
	w := newWorld(t)
	w.stock()
	propose := func(body api.Propose) (p api.KeyProposal) {
		t.Helper()
		w.must(http.StatusCreated, &p, "olga", "POST", "/v1/key-proposals", body)
		return p
	}
	late := propose(about(custody.Generate, 5))
	w.clock.advance(25 * time.Hour)
	open, withdrawn, mine := propose(about(custody.Generate, 2)), propose(about(custody.Generate, 3)), propose(about(custody.Generate, 4))
	w.must(http.StatusOK, nil, "olga", "POST", "/v1/key-proposals/"+withdrawn.ID+"/withdraw", nil)
	two := newBody(about(custody.Generate, 2), func(p *api.KeyParameters) { p.Wrapped = []byte{1} })
	path := "/v1/key-proposals"
	for _, test := range []struct {
		name, client, method, path string
		body                       any
		status                     int
		code                       string
	}{
		{"operator proposes", "anna", "POST", path, about(custody.Generate, 2), 403, codeRole},
		{"auditor approves", "auditor", "POST", path + "/" + open.ID + "/approve", api.ApproveProposal{Hash: open.Hash}, 403, codeRole},
		{"administrator looks", "admin", "GET", "/v1/keys", nil, 403, codeRole},
		{"auditor asks for the transport key", "auditor", "GET", "/v1/transport-key", nil, 403, codeRole},
		{"own", "olga", "POST", path + "/" + open.ID + "/approve", api.ApproveProposal{Hash: open.Hash}, 403, string(dualcontrol.ProposalOwn)},
		{"hash of another", "otto", "POST", path + "/" + open.ID + "/approve", api.ApproveProposal{Hash: mine.Hash}, 409, string(dualcontrol.ProposalHash)},
		{"expired", "otto", "POST", path + "/" + late.ID + "/approve", api.ApproveProposal{Hash: late.Hash}, 409, string(dualcontrol.ProposalExpired)},
		{"withdrawn", "otto", "POST", path + "/" + withdrawn.ID + "/approve", api.ApproveProposal{Hash: withdrawn.Hash}, 409, string(dualcontrol.ProposalClosed)},
		{"withdrawn, rejected", "otto", "POST", path + "/" + withdrawn.ID + "/reject", api.RejectProposal{}, 409, string(dualcontrol.ProposalClosed)},
		{"of another, withdrawn", "otto", "POST", path + "/" + mine.ID + "/withdraw", nil, 403, string(dualcontrol.ProposalNotYours)},
		{"unknown", "otto", "GET", path + "/nothing", nil, 404, string(dualcontrol.ProposalUnknown)},
		{"no act", "olga", "POST", path, about("export", 2), 422, codeInvalid},
		{"parameter of another act", "olga", "POST", path, two, 422, codeInvalid},
		{"clear key", "olga", "POST", path, `{"act":"import-wrapped","parameters":{"key":"cards","version":2,"value":"00"}}`, 400, codeMalformed},
		{"key unknown", "olga", "POST", path, about(custody.Activate, 44), 404, string(custody.KeyUnknown)},
		{"key exists", "olga", "POST", path, about(custody.Generate, 1), 409, string(custody.KeyExists)},
		{"active key destroyed", "olga", "POST", path, about(custody.Destroy, 1), 409, string(custody.KeyTransition)},
		{"plan of no key", "olga", "GET", "/v1/keys/none/plan", nil, 404, string(custody.KeyUnknown)},
		{"cards of no version", "olga", "GET", "/v1/keys/cards/0/cards", nil, 422, codeInvalid},
		{"cards after nonsense", "olga", "GET", "/v1/keys/cards/1/cards?after=%25", nil, 422, codeInvalid},
		{"proposals after nonsense", "olga", "GET", path + "?after=eA", nil, 422, codeInvalid},
		{"proposals in no state", "olga", "GET", path + "?state=lost", nil, 422, codeInvalid},
		{"query that cannot be read", "olga", "GET", path + "?state=%zz", nil, 422, codeInvalid},
		{"query of cards that cannot be read", "olga", "GET", "/v1/keys/cards/1/cards?limit=1;after=x", nil, 422, codeInvalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			before, keys := w.state(), plain(t, w.keys())
			a := w.call(test.client, test.method, test.path, test.body)
			if p := a.problem(t); p.Code != test.code || a.status != test.status || p.Detail == "" {
				t.Errorf("%d %+v, want %d %s", a.status, p, test.status, test.code)
			}
			if after := w.state(); after != before {
				t.Errorf("state before:\n%s\nand after:\n%s", before, after)
			}
			if after := plain(t, w.keys()); after != keys {
				t.Errorf("keys before:\n%s\nand after:\n%s", keys, after)
			}
		})
	}
	var page api.KeyProposals
	for state, want := range map[string]int{"": 4, "open": 2, "expired": 1, "withdrawn": 1, "executed": 0} {
		query := ""
		if state != "" {
			query = "?state=" + state
		}
		w.must(http.StatusOK, &page, "auditor", "GET", path+query, nil)
		if len(page.Proposals) != want {
			t.Errorf("%d proposals are %q, want %d", len(page.Proposals), state, want)
		}
	}
}

// obstinate is a custody that says no to every approval and every proposal.
type obstinate struct {
	Custody
	no *dualcontrol.Refusal
}

func (o *obstinate) Approve(context.Context, dualcontrol.Officer, string, string) (custody.Proposal, error) {
	return custody.Proposal{}, o.no
}

func (o *obstinate) Propose(context.Context, dualcontrol.Officer, custody.Draft) (custody.Proposal, error) {
	return custody.Proposal{}, o.no
}

// Refusals that take more than one officer or one token to come by are told as
// they should be; that custody gives them is tested there.
func TestCustodyCodes(t *testing.T) {
	office := &obstinate{}
	w := newWorld(t, func(c *Config) { office.Custody, c.Custody = c.Custody, office })
	for code, path := range map[dualcontrol.Code]string{
		dualcontrol.ProposalTwice:    "/v1/key-proposals/x/approve",
		custody.ProposalToken:        "/v1/key-proposals/x/approve",
		dualcontrol.ProposalConflict: "/v1/key-proposals/x/approve",
		custody.KeyUnfit:             "/v1/key-proposals",
	} {
		office.no = &dualcontrol.Refusal{Code: code, Detail: "Because."}
		body := any(api.ApproveProposal{Hash: "x"})
		if code == custody.KeyUnfit {
			body = about(custody.Activate, 1)
		}
		a := w.call("olga", "POST", path, body)
		if p := a.problem(t); p.Code != string(code) || a.status != http.StatusConflict || p.Detail != "Because." || p.Status != a.status {
			t.Errorf("%s: %d %+v", code, a.status, p)
		}
	}
}

func newBody(p api.Propose, change func(*api.KeyParameters)) api.Propose {
	change(&p.Parameters)
	return p
}

func decodePEM(t *testing.T, text string) []byte {
	t.Helper()
	block, rest := pem.Decode([]byte(text))
	if block == nil || len(rest) != 0 {
		t.Fatalf("not PEM: %q", text)
	}
	return block.Bytes
}

// keys is the inventory.
func (w *world) keys() (keys api.Keys) {
	w.t.Helper()
	w.must(http.StatusOK, &keys, "auditor", "GET", "/v1/keys", nil)
	return keys
}
