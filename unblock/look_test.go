package unblock_test

import (
	"errors"
	"testing"

	"latchkey/card"
	"latchkey/unblock"
)

// A card stands as its processes left it, and whose they are is told to all, but
// which they are to their owner alone.
func TestLook(t *testing.T) {
	w := newWorld(t)
	anna, omar := personal(w, "anna"), personal(w, "omar")
	begun, err := w.desk.Start(t.Context(), anna, unblock.Begin{Card: "4711", Reason: "PIN forgotten"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.desk.Answer(t.Context(), anna, begun.Process.ID, unblock.Typed{Challenge: challenge}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		caller unblock.Caller
		id     string
	}{"own": {anna, begun.Process.ID}, "another's": {omar, ""}} {
		o, err := w.desk.Look(t.Context(), c.caller, "4711")
		if err != nil {
			t.Fatal(err)
		}
		if o.Card.Serial != "4711" || o.Type.ID != "staff" || o.Attempts != (unblock.Attempts{Unconfirmed: 1, Limit: w.profile.Retry.MaxUnconfirmed()}) {
			t.Errorf("%s: %+v", name, o)
		}
		if len(o.Open) != 1 || o.Open[0].ID != c.id || o.Open[0].Operator != "anna" || o.Open[0].State != unblock.Answered {
			t.Errorf("%s: open are %+v", name, o.Open)
		}
	}
	if len(w.entries) != 0 {
		t.Errorf("looking wrote %v", w.entries)
	}
}

// What a card that is not there and one that is not to be known look like is one.
func TestUnseenCards(t *testing.T) {
	w := newWorld(t)
	anna := personal(w, "anna")
	sees := w.desk.Sees(t.Context(), anna)
	if yes, err := sees(w.card); !yes || err != nil {
		t.Errorf("sees the card: %v, %v", yes, err)
	}
	_, unknown := w.desk.Look(t.Context(), anna, "none")
	w.unseen = true
	_, unseen := w.desk.Look(t.Context(), anna, "4711")
	if unseen == nil || unknown == nil || unseen.Error() != unknown.Error() {
		t.Errorf("unseen: %v; unknown: %v", unseen, unknown)
	}
	if yes, err := sees(w.card); yes || err != nil {
		t.Errorf("sees the unseen card: %v, %v", yes, err)
	}
	w.viewErr = errors.New("broken policy")
	if yes, err := sees(w.card); yes || !errors.Is(err, w.viewErr) {
		t.Errorf("with a broken policy: %v, %v", yes, err)
	}
	w.viewErr, w.kindErr = nil, errors.New("disk")
	if yes, err := w.desk.Sees(t.Context(), anna)(card.Card{Type: "other"}); yes || !errors.Is(err, w.kindErr) {
		t.Errorf("without the type: %v, %v", yes, err)
	}
	if w.desk.Sees(t.Context(), unblock.Caller{Client: "sync", NamesOperators: true}) != nil {
		t.Error("a client that acts for nobody is kept from cards")
	}
}

// personal is the operator, calling himself.
func personal(w *world, id string) unblock.Caller {
	who := w.operators[id]
	return unblock.Caller{Client: "desk", Operator: &who, Means: "own certificate"}
}
