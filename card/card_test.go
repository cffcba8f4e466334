package card_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/card"
)

func TestTextFault(t *testing.T) {
	for name, test := range map[string]struct {
		text     string
		required bool
		want     string
	}{
		"a word":                 {"Anna", true, ""},
		"words of any language":  {"O'Ü Я 漢 \u200cی", true, ""},
		"as long as may be":      {"12345678901234567890", true, ""},
		"nothing, not required":  {"", false, ""},
		"nothing":                {"", true, "is required"},
		"one byte too long":      {"123456789012345678901", false, "longer than 20 bytes"},
		"letters of two bytes":   {"ääääääääääa", false, "longer than 20 bytes"},
		"not UTF-8":              {"a\xffb", true, "is not valid UTF-8"},
		"line end":               {"a\nb", true, "has a control character"},
		"zero byte":              {"a\x00", true, "has a control character"},
		"escape sequence":        {"\x1b[31mred", true, "has a control character"},
		"C1 control":             {"a\u0085b", true, "has a control character"},
		"line separator":         {"a\u2028b", true, "has a control character"},
		"paragraph separator":    {"a\u2029b", true, "has a control character"},
		"right-to-left mark":     {"a\u200fb", false, "has a control character"},
		"Arabic letter mark":     {"a\u061cb", false, "has a control character"},
		"zero-width space":       {"a\u200b", false, "has a control character"},
		"soft hyphen":            {"a\u00adb", false, "has a control character"},
		"byte order mark":        {"\ufeffa", false, "has a control character"},
		"tag":                    {"a\U000e0041", false, "has a control character"},
		"joiner between letters": {"\u0646\u0645\u06cc\u200c\u062e\u0648", false, ""},
		"right-to-left override": {"a\u202egnp.exe", true, "has a control character"},
		"isolate":                {"a\u2066b", true, "has a control character"},
		"space before":           {" a", true, "begins or ends with white space"},
		"space behind":           {"a\u00a0", true, "begins or ends with white space"},
		"only a space":           {" ", true, "begins or ends with white space"},
		"only a space, optional": {" ", false, "begins or ends with white space"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := card.TextFault(test.text, 20, test.required); got != test.want {
				t.Errorf("%q: %q, want %q", test.text, got, test.want)
			}
		})
	}
}

func TestCardFaults(t *testing.T) {
	states, holders := card.States{"active": true, "lost": false}, card.States{"active": true}
	good := func() card.Card {
		return card.Card{
			Serial: "AB 1", Type: "staff", State: "lost", MasterKeyVersion: 9999,
			Holder: card.Holder{ID: "bo", Name: "Bo Ek", State: "active", Groups: []string{"finance"}},
		}
	}
	for name, test := range map[string]struct {
		change func(*card.Card)
		want   []string
	}{
		"none": {func(*card.Card) {}, nil},
		"all data there is": {func(c *card.Card) {
			c.CUID, c.KDD, c.WrappedKey = make([]byte, 256), make([]byte, 10), make([]byte, card.MaxWrapped)
			c.Holder.Email, c.Holder.EmployeeNumber, c.Holder.Unit = "bo@example.org", "7", "it"
		}, nil},
		"everything is missing": {func(c *card.Card) { *c = card.Card{} }, []string{
			"serial: is required", "type: is required", `state: "" is not a card state; known: active, lost`,
			"holder.id: is required", "holder.name: is required", `holder.state: "" is not a holder state; known: active`,
		}},
		"everything is too long": {func(c *card.Card) {
			*c = card.Card{
				Serial: strings.Repeat("1", 129), Type: strings.Repeat("t", 65), State: "Active",
				CUID: make([]byte, 257), KDD: make([]byte, 11), WrappedKey: make([]byte, card.MaxWrapped+1), MasterKeyVersion: 10000,
				Holder: card.Holder{
					ID: strings.Repeat("b", 65), Name: strings.Repeat("b", 257), Email: strings.Repeat("b", 257),
					EmployeeNumber: strings.Repeat("7", 65), Unit: strings.Repeat("u", 257), State: "lost",
					Groups: append(make([]string, 64), strings.Repeat("g", 65)),
				},
			}
			for i := range 64 {
				c.Holder.Groups[i] = "g"
			}
		}, []string{
			"serial: longer than 128 bytes", "type: longer than 64 bytes", `state: "Active" is not a card state`,
			"cuid: longer than 256 bytes", "kdd: 11 bytes; GlobalPlatform", "wrapped_key: longer than 64 bytes",
			"master_key_version: must be from 1 to 9999, or left out",
			"holder.id: longer than 64 bytes", "holder.name: longer than 256 bytes", "holder.email: longer than 256 bytes",
			"holder.employee_number: longer than 64 bytes", "holder.unit: longer than 256 bytes",
			"holder.groups: more than 64 groups", "holder.groups[64]: longer than 64 bytes", `holder.state: "lost" is not a holder state`,
		}},
		"text that is no line": {func(c *card.Card) {
			c.Serial, c.Holder.Email, c.Holder.Groups = "4711 ", "a\r\nb", []string{"ok", ""}
		}, []string{"serial: begins or ends", "holder.email: has a control character", "holder.groups[1]: is required"}},
		"serial with a joiner": {func(c *card.Card) { c.Serial = "4711\u200d" }, []string{"serial: has a character that is not seen"}},
		"version below zero":   {func(c *card.Card) { c.MasterKeyVersion = -1 }, []string{"master_key_version: must be from 1"}},
		"KDD of nine bytes":    {func(c *card.Card) { c.KDD = make([]byte, 9) }, []string{"kdd: 9 bytes"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := good()
			test.change(&c)
			begins(t, c.Faults(states, holders), test.want)
		})
	}
}

func TestTypeFaults(t *testing.T) {
	states := card.States{"active": true, "lost": false}
	good := card.Type{ID: "staff", Name: "Staff card", Profile: "gids", UnblockRemote: map[string]bool{"active": true, "lost": false}}
	begins(t, good.Faults(states), nil)
	bad := card.Type{ID: "a\tb", Profile: strings.Repeat("p", 65), UnblockRemote: map[string]bool{"gone": false, "Active": true, "active": true}, UnblockSelf: map[string]bool{"away": true}}
	begins(t, bad.Faults(states), []string{
		"id: has a control character", "name: is required", "profile: longer than 64 bytes",
		"unblock_remote.Active: is not a card state; known: active, lost", "unblock_remote.gone: is not a card state", "unblock_self.away: is not a card state",
	})
}

// What nobody switched on is off, and what nobody knows is not active.
func TestOffUnlessSet(t *testing.T) {
	for name, kind := range map[string]card.Type{
		"zero value": {}, "another state": {UnblockRemote: map[string]bool{"active": true}}, "off": {UnblockRemote: map[string]bool{"blocked": false}},
	} {
		if kind.UnblockRemoteIn("blocked") {
			t.Errorf("%s: on", name)
		}
	}
	if on := (card.Type{UnblockRemote: map[string]bool{"blocked": true}}); !on.UnblockRemoteIn("blocked") {
		t.Error("switched on, and off")
	}
	for _, states := range []card.States{nil, card.DefaultCardStates(), card.DefaultHolderStates()} {
		for _, state := range []string{"", "Active", "ACTIVE", "active ", "unheard of"} {
			if states.Active(state) || states.Known(state) {
				t.Errorf("state %q is active: %v, known: %v", state, states.Active(state), states.Known(state))
			}
		}
	}
}

func TestDefaultStates(t *testing.T) {
	active := func(s card.States) (names []string) {
		for _, name := range s.Names() {
			if s.Active(name) {
				names = append(names, name)
			}
		}
		return names
	}
	if diff := cmp.Diff([]string{"active", "blocked"}, active(card.DefaultCardStates())); diff != "" {
		t.Errorf("active card states (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"active"}, active(card.DefaultHolderStates())); diff != "" {
		t.Errorf("active holder states (-want +got):\n%s", diff)
	}
}
