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
type cut struct{ Directory }

func (cut) Card(context.Context, string) (card.Card, error) {
	return card.Card{}, fmt.Errorf("%w: the cable is cut", unblock.ErrCardSource)
}

// Where the source of cards cannot be asked nothing is told or answered of a card,
// though the store has a copy, which searches find.
func TestLive(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Live = cut{c.Directory} })
	w.stock()
	a := w.call("anna", "GET", "/v1/cards/GOOD", nil)
	if p := a.problem(t); a.status != http.StatusServiceUnavailable || p.Code != string(unblock.CardSourceUnavailable) {
		t.Errorf("%d %s", a.status, a.body)
	}
	var found api.Cards
	w.must(http.StatusOK, &found, "anna", "GET", "/v1/cards?q=GOOD", nil)
	if len(found.Cards) != 1 {
		t.Errorf("found %+v", found)
	}
}
