package server

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"latchkey/card"
	"latchkey/server/api"
	"latchkey/unblock"
)

// cut is a source of cards that cannot be asked.
type cut struct{ unblock.Cards }

func (cut) Card(context.Context, string) (card.Card, error) {
	return card.Card{}, fmt.Errorf("%w: the cable is cut", unblock.ErrCardSource)
}

func (cut) Dossier(context.Context, unblock.Question) (unblock.Dossier, error) {
	return unblock.Dossier{}, fmt.Errorf("%w: the cable is cut", unblock.ErrCardSource)
}

// Where the source of cards cannot be asked nothing is told or answered of a card,
// though the store has a copy, which searches find.
func TestLive(t *testing.T) {
	w := newWorld(t)
	w.stock()
	w.observed(func(c *unblock.Config) { c.Cards = cut{c.Cards} })
	for _, client := range []string{"anna", "admin"} { // somebody who may know of it, and a client that is nobody
		a := w.call(client, "GET", "/v1/cards/GOOD", nil)
		if p := a.problem(t); a.status != http.StatusServiceUnavailable || p.Code != string(unblock.CardSourceUnavailable) {
			t.Errorf("%s: %d %s", client, a.status, a.body)
		}
	}
	var found api.Cards
	w.must(http.StatusOK, &found, "anna", "GET", "/v1/cards?q=GOOD", nil)
	if len(found.Cards) != 1 {
		t.Errorf("found %+v", found)
	}
}
