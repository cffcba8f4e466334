package custody_test

import (
	"fmt"
	"slices"
	"testing"

	"latchkey/custody"
)

// paths leads a key that was just made to each state.
func paths() map[custody.State][]custody.Act {
	return map[custody.State][]custody.Act{
		custody.PreActive:   {},
		custody.Active:      {custody.Activate},
		custody.Suspended:   {custody.Activate, custody.Suspend},
		custody.Deactivated: {custody.Activate, custody.Deactivate},
		custody.Compromised: {custody.MarkCompromised},
		custody.Destroyed:   {custody.Destroy},
	}
}

// Every act is tried in every state, against a table that is written down here
// once more: what is allowed leads where it should, everything else is refused and
// leaves the key as it is.
func TestTransitions(t *testing.T) {
	allowed := map[string]custody.State{
		"pre-active activate":           custody.Active,
		"pre-active mark-compromised":   custody.Compromised,
		"pre-active destroy":            custody.Destroyed,
		"active suspend":                custody.Suspended,
		"active deactivate":             custody.Deactivated,
		"active mark-compromised":       custody.Compromised,
		"active make-current":           custody.Active,
		"suspended resume":              custody.Active,
		"suspended deactivate":          custody.Deactivated,
		"suspended mark-compromised":    custody.Compromised,
		"deactivated mark-compromised":  custody.Compromised,
		"deactivated destroy":           custody.Destroyed,
		"compromised destroy":           custody.Destroyed,
		"no key, and never was, create": custody.PreActive, // generate and its like: see below
	}
	w := newWorld(t, 1)
	version := 0
	for _, state := range custody.States() {
		for _, act := range custody.Acts() {
			if act.To() == custody.PreActive && act != custody.Generate {
				continue // import and backup are made by the same code, and need more parameters
			}
			version++
			w.done(fleet(custody.Generate, version))
			for _, step := range paths()[state] {
				w.done(fleet(step, version))
			}
			if got := w.state(version); got != state {
				t.Fatalf("the path to %s leads to %s", state, got)
			}
			answers := state == custody.Active || state == custody.Deactivated
			why, err := w.office.Usable(t.Context(), "fleet", version)
			if (why == "") != answers || err != nil {
				t.Errorf("%s: usable says %q, %v", state, why, err)
			}

			name := fmt.Sprintf("%s %s", state, act)
			to, ok := allowed[name]
			if ok {
				w.done(fleet(act, version))
			} else {
				want := custody.KeyTransition
				if act == custody.Generate {
					want = custody.KeyExists
				}
				if _, err := w.office.Propose(t.Context(), by("olga"), fleet(act, version)); refused(t, err) != want {
					t.Errorf("%s: %v, want %s", name, err, want)
				}
				to = state
			}
			if got := w.state(version); got != to {
				t.Errorf("%s leads to %s, want %s", name, got, to)
			}
			if in := slices.Contains(w.keys(), version); in == (to == custody.Destroyed) {
				t.Errorf("%s: the key is in the token: %v", name, in)
			}
		}
	}
}
