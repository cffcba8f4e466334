package policy

import (
	"net/netip"
	"testing"
	"time"

	"github.com/cedar-policy/cedar-go"

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
	anna := Operator{
		ID: "anna", Name: "Anna", Roles: []identity.Role{"operator", "operator"}, Groups: []string{"a"}, Unit: "it",
		Email: "Anna@Example.org", EmployeeNumber: "7", MFA: true, AuthenticatedAt: time.Unix(1000, 0),
	}
	eva := anna
	eva.ID = "eva"
	for name, r := range map[string]Request{
		"empty": {},
		"full": {
			Operator: anna, Approver: &eva, Means: identity.ByName, Client: "idm", Reason: "PIN forgotten",
			Ticket: "INC1", Verification: CallBack, Unconfirmed: 2, Override: true,
			Address: netip.MustParseAddr("fe80::1%eth0"), Now: time.Unix(1060, 0),
			Card: card.Card{
				Serial: "1", Type: "staff", State: "active", Unit: "it", Assurance: "high", Source: "idm",
				Holder: card.Holder{ID: "bo", Email: "B@x", EmployeeNumber: "8", Groups: []string{"b"}, Unit: "it", State: "active", Privileged: true},
			},
			Type: card.Type{ID: "staff", Name: "Staff", Profile: "gids"},
		},
		"a holder": {
			Self: true, Operator: anna, Means: identity.AsHolder, Client: "person:anna", Reason: "no operator's words", Ticket: "INC1",
			Verification: CallBack, Override: true, Approver: &eva, Unconfirmed: 2,
			Address: netip.MustParseAddr("192.0.2.1"), Now: time.Unix(1060, 0),
			Card: card.Card{Serial: "1", Type: "staff", State: "active", Holder: card.Holder{ID: "anna", State: "active"}},
		},
		"the same text everywhere": {
			Operator: Operator{ID: "x"}, Client: "x", Approver: &Operator{ID: "x"},
			Card: card.Card{Serial: "x", Type: "x", Holder: card.Holder{ID: "x"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for action, translated := range map[string]func() (cedar.Request, *entities){
				"unblock": func() (cedar.Request, *entities) { return words(nil).translate(r) },
				"view": func() (cedar.Request, *entities) {
					return words(nil).translateView(ViewRequest{Operator: r.Operator, Client: r.Client, Card: r.Card, Type: r.Type})
				},
			} {
				request, found := translated()
				if err := rules.validator.Request(request); err != nil {
					t.Errorf("%s: %v", action, err)
				}
				all := []cedar.Entity{found.operator, found.client, found.kind, found.card}
				if _, ok := request.Context.Get("approver"); ok {
					all = append(all, found.approver)
				}
				for _, e := range all {
					if err := rules.validator.Entity(e); err != nil {
						t.Errorf("%s: %s: %v", action, e.UID, err)
					}
					if got, ok := found.Get(e.UID); !ok || got.UID != e.UID {
						t.Errorf("%s: %s is not found", action, e.UID)
					}
				}
				if _, ok := found.Get(cedar.NewEntityUID(operatorType, "nobody")); ok {
					t.Errorf("%s: somebody who is not there is found", action)
				}
			}
		})
	}
}

// The schema's closed lists are those of the code.
func TestSchemaLists(t *testing.T) {
	rules, err := newRules()
	if err != nil {
		t.Fatal(err)
	}
	for kind, words := range map[cedar.EntityType][]string{
		verificationType: texts(Verifications()),
		meansType: texts([]identity.Means{
			identity.ByCertificate, identity.ByToken, identity.BySession, identity.ByPassedToken, identity.ByName, identity.AsHolder,
		}),
	} {
		list := rules.schema.Enums[kind].Values
		if len(list) != len(words) {
			t.Errorf("%s has %d words in the schema, %d in the code", kind, len(list), len(words))
		}
		for _, w := range words {
			if fault := rules.validator.Entity(cedar.Entity{UID: cedar.NewEntityUID(kind, cedar.String(w))}); fault != nil {
				t.Errorf("%s: %q is not in the schema: %v", kind, w, fault)
			}
		}
		for i, v := range list {
			if string(v.ID) != words[i] {
				t.Errorf("%s: %q in the schema, %q in the code", kind, v.ID, words[i])
			}
		}
	}
}

func texts[T ~string](list []T) []string {
	var out []string
	for _, t := range list {
		out = append(out, string(t))
	}
	return out
}
