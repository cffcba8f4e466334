package unblock_test

import (
	"testing"
	"time"

	"latchkey/identity"
	"latchkey/unblock"
)

// A process that was begun by a clock that was ahead ends with that, rather than to
// keep its card until that time has come; clocks that differ a little end nothing.
func TestProcessOfAnotherTime(t *testing.T) {
	w := newWorld(t)
	anna := operatorCaller("idm", "anna", identity.ByPassedToken)
	p := w.start(t, call{caller: anna, begin: unblock.Begin{Card: "4711", Reason: "PIN forgotten"}})
	begun := w.now
	w.now = begun.Add(-time.Minute)
	if !p.Holds("otto", w.now) {
		t.Error("a clock that is a minute behind has the card free")
	}
	w.now = begun.Add(-3 * time.Hour)
	if p.Holds("otto", w.now) {
		t.Error("the process holds its card until the time that it was begun at")
	}
	_, err := w.desk.Answer(t.Context(), anna, p.ID, unblock.Typed{Challenge: challenge})
	if no := refusal(t, err); no.Code != unblock.ProcessExpired {
		t.Errorf("answered: %v", err)
	}
	w.start(t, call{caller: anna, begin: unblock.Begin{Card: "4711", Reason: "PIN forgotten"}})
}
