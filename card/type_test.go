package card_test

import (
	"strings"
	"testing"

	"latchkey/card"
)

func TestTypeChanges(t *testing.T) {
	before := card.Type{Name: "Staff", Profile: "gids", UnblockRemote: map[string]bool{"active": true, "lost": false, "blocked": true}}
	after := card.Type{Name: "Staff", Profile: "piv", UnblockRemote: map[string]bool{"blocked": true, "expired": true}, UnblockSelf: map[string]bool{"blocked": true, "lost": false}}
	want := "profile was gids, is piv; unblock card remote for active was on, is off; unblock card remote for expired was off, is on; " +
		"unblock PIN offline for blocked was off, is on"
	if got := strings.Join(after.Changes(before), "; "); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := before.Changes(before); got != nil {
		t.Errorf("of nothing: %q", got)
	}
	if got := after.Changes(card.Type{}); len(got) != 5 {
		t.Errorf("of all: %q", got)
	}
}
