package policy

import (
	"testing"

	"latchkey/card"
	"latchkey/identity"
)

// What translate makes is what the schema says, so that a policy that the schema
// admits cannot meet an attribute that is missing or of another type.
func TestTranslateFollowsSchema(t *testing.T) {
	rules, err := newRules()
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]Request{
		"empty": {},
		"full": {
			Operator: Operator{ID: "anna", Name: "Anna", Roles: []identity.Role{"operator", "operator"}, Groups: []string{"a"}, Unit: "it"},
			Client:   "idm", Means: identity.ByName, Reason: "PIN forgotten",
			Card: card.Card{Serial: "1", Type: "staff", State: "active", Holder: card.Holder{ID: "bo", Groups: []string{"b"}, Unit: "it"}},
			Type: card.Type{ID: "staff", Name: "Staff", Profile: "gids"},
		},
		"the same text everywhere": {
			Operator: Operator{ID: "x"}, Client: "x",
			Card: card.Card{Serial: "x", Type: "x", Holder: card.Holder{ID: "x"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			request, entities := translate(r)
			if err := rules.validator.Request(request); err != nil {
				t.Error(err)
			}
			if len(entities) != 4 {
				t.Errorf("%d entities, want operator, client, card type and card", len(entities))
			}
			for _, e := range entities {
				if err := rules.validator.Entity(e); err != nil {
					t.Errorf("%s: %v", e.UID, err)
				}
			}
		})
	}
}
