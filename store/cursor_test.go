package store_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"testing"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/store"
)

// A search whose work is used up among cards that may not be seen gives a cursor of
// one of those. It tells nothing of it, and nobody can make a cursor of his own.
func TestCursorTellsNothing(t *testing.T) {
	s := newStore(t)
	const hidden = 2100 // more than one call looks at
	var puts []store.CardPut
	for i := range hidden {
		c := sampleCard(fmt.Sprintf("hidden-%04d", i))
		c.Holder.Name = fmt.Sprintf("Secretname%04d", i)
		puts = append(puts, store.CardPut{Card: c, Entry: audit.Entry{}})
	}
	seen := sampleCard("seen")
	puts = append(puts, store.CardPut{Card: seen, Entry: audit.Entry{}})
	must[[]store.Result](t)(s.PutCards(t.Context(), puts, nil))
	may := func(c card.Card) (bool, error) { return c.Serial == "seen", nil }

	for _, text := range []string{"", "secretname", "hidden"} {
		q := store.Query{Text: text, Keep: may, Limit: 5}
		found, next, err := s.FindCards(t.Context(), q)
		if err != nil || len(found) != 0 || next == "" {
			t.Fatalf("%q: %d cards, next %q, %v; want none and a cursor", text, len(found), next, err)
		}
		raw, err := base64.RawURLEncoding.DecodeString(next)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{"hidden", "secretname"} {
			if bytes.Contains(bytes.ToLower(raw), []byte(part)) {
				t.Errorf("%q: the cursor tells %q", text, part)
			}
		}
		if _, again, err := s.FindCards(t.Context(), q); err != nil || again == next {
			t.Errorf("%q: two cursors of one place are the same, so that places can be compared: %v", text, err)
		}

		// It goes on, in this search and in no other.
		raw[len(raw)-1] ^= 1
		for what, q := range map[string]store.Query{
			"changed":           {Text: text, Keep: may, After: base64.RawURLEncoding.EncodeToString(raw)},
			"of another search": {Text: text + " x", Keep: may, After: next},
			"made by hand":      {Text: text, Keep: may, After: base64.RawURLEncoding.EncodeToString([]byte("secretname0100\nhidden-0100"))},
			"no base64":         {Text: text, Keep: may, After: "!"},
			"cut":               {Text: text, Keep: may, After: next[:4]},
		} {
			if _, _, err := s.FindCards(t.Context(), q); !errors.Is(err, store.ErrQuery) {
				t.Errorf("%q: a cursor that is %s: %v", text, what, err)
			}
		}
		if text != "secretname" && text != "hidden" {
			q.After = next
			if found, _, err := s.FindCards(t.Context(), q); err != nil || len(found) != 1 {
				t.Errorf("%q: %d cards on the next page, %v; want the one that may be seen", text, len(found), err)
			}
		}
	}
}
