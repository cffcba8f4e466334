package server

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"latchkey/server/api"
)

// A card that an operator may not see is found nowhere, and answers as one that is
// not there; to others it is as it was.
func TestUnseenCards(t *testing.T) {
	w := newWorld(t)
	w.stock()
	secret := aCard("gids")
	secret.Holder.Name, secret.Unit = "Sigrid Secret", "vault"
	w.must(http.StatusCreated, nil, "backend", "PUT", "/v1/cards/SECRET", secret)
	policies := onlySupervisors()
	policies[0].Text = strings.Replace(policies[0].Text, "resource);", `resource) unless { resource has unit && resource.unit == "vault" };`, 1)
	var p api.PolicyProposal
	w.must(http.StatusCreated, &p, "olga", "POST", policyProposals, api.ProposePolicies{Policies: policies})
	w.must(http.StatusOK, nil, "otto", "POST", policyProposals+"/"+p.ID+"/approve", api.ApproveProposal{Hash: p.Hash})

	for client, sees := range map[string]bool{"anna": false, "sven": false, "admin": true, "backend": true} {
		for _, query := range []string{"q=sigrid", "q=SECRET", "limit=500"} {
			var page api.Cards
			w.must(http.StatusOK, &page, client, "GET", "/v1/cards?"+query, nil)
			found := false
			for _, c := range page.Cards {
				found = found || c.Serial == "SECRET"
			}
			if found != sees || query == "limit=500" && len(page.Cards) < 10 {
				t.Errorf("%s finds it with %s: %v, among %d", client, query, found, len(page.Cards))
			}
		}
		got, unknown := w.call(client, "GET", "/v1/cards/SECRET", nil), w.call(client, "GET", "/v1/cards/NONE", nil)
		if sees {
			if got.status != http.StatusOK {
				t.Errorf("%s: %d %s", client, got.status, got.body)
			}
			continue
		}
		a, b := got.problem(t), unknown.problem(t)
		if got.status != unknown.status || a.Code != "card-unknown" || a.Detail != b.Detail || a.Title != b.Title || a.Type != b.Type ||
			bytes.Contains(got.body, []byte("vault")) || bytes.Contains(got.body, []byte("Sigrid")) {
			t.Errorf("%s: %s\nunknown: %s", client, got.body, unknown.body)
		}
	}
}
