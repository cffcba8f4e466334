package policy_test

import (
	"net/netip"
	"testing"
	"time"

	"latchkey/identity"
	"latchkey/policy"
)

// everything is a request with every attribute.
func everything() policy.Request {
	r := request()
	r.Operator.Email, r.Operator.EmployeeNumber = "anna@example.org", "1007"
	r.Operator.MFA, r.Operator.AuthenticatedAt = true, r.Now.Add(-10*time.Minute)
	r.Address, r.Ticket, r.Verification = netip.MustParseAddr("10.1.2.3"), "INC0012345", policy.Video
	r.Card.Unit, r.Card.Assurance, r.Card.Source = "sales", "high", "identity-manager"
	r.Card.Holder.Email, r.Card.Holder.EmployeeNumber, r.Card.Holder.Unit = "bo@example.org", "2044", "it"
	r.Approver = &identity.Person{ID: "eva", Name: "Eva Dahl", Roles: []identity.Role{identity.Supervisor}, Groups: []string{"help-desk"}}
	return r
}

func BenchmarkDecide(b *testing.B) {
	shipped, err := policy.Shipped()
	if err != nil {
		b.Fatal(err)
	}
	sources := []policy.Source{policy.BuiltIn()}
	for _, text := range shipped {
		if text.Name != "default" && text.Name != "schema" {
			sources = append(sources, policy.Source{Name: text.Name, Text: text.Text})
		}
	}
	for name, sources := range map[string][]policy.Source{"built in": sources[:1], "with the library": sources} {
		engine, err := policy.Load(sources)
		if err != nil {
			b.Fatal(err)
		}
		for name2, r := range map[string]policy.Request{"plain": request(), "everything": everything()} {
			b.Run(name+"/"+name2, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := engine.Decide(b.Context(), r); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
