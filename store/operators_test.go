package store_test

import (
	"errors"
	"testing"
	"time"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/identity"
	"latchkey/store"
)

func sampleOperator(id string) identity.Record {
	return identity.Record{
		Person: identity.Person{
			ID: id, Name: "Anna Blom", Roles: []identity.Role{identity.Operator, identity.Supervisor},
			Groups: []string{"help-desk"}, Unit: "it", Email: id + "@example.org", EmployeeNumber: "0815",
		},
		Issuer: "https://id.example", Subject: "s-" + id, Active: true,
		UpdatedBy: "admin", UpdatedAt: kept(time.Now()),
	}
}

func operatorPut(id string) audit.Entry {
	return audit.Entry{Action: audit.OperatorPut, Outcome: audit.Permit, Client: "admin", Subject: id}
}

func TestOperatorsRoundTrip(t *testing.T) {
	s := newStore(t)
	put := func(r identity.Record, want store.Result) {
		t.Helper()
		same(t, "result", must[store.Result](t)(s.PutOperator(t.Context(), r, operatorPut(r.ID))), want)
	}
	r := sampleOperator("anna")
	put(r, store.Created)
	same(t, "record", must[identity.Record](t)(s.Operator(t.Context(), "anna")), r)
	same(t, "record of the token", must[identity.Record](t)(s.OperatorOfToken(t.Context(), r.Issuer, r.Subject)), r)

	again := r
	again.UpdatedBy, again.UpdatedAt = "other", kept(time.Now().Add(time.Hour))
	put(again, store.Unchanged)
	same(t, "record that nobody changed", must[identity.Record](t)(s.Operator(t.Context(), "anna")), r)

	again.Active, again.Roles = false, []identity.Role{identity.Auditor}
	put(again, store.Updated)
	same(t, "record", must[identity.Record](t)(s.Operator(t.Context(), "anna")), again)
	same(t, "entries", len(must[[]audit.Entry](t)(s.Entries(t.Context(), 1, 0))), 2)

	plain := identity.Record{Person: identity.Person{ID: "omar", Roles: []identity.Role{}, Groups: []string{}}}
	put(plain, store.Created)
	plain.ID = "otto" // no token is nobody's, however many have none
	put(plain, store.Created)
	for _, find := range []func() (identity.Record, error){
		func() (identity.Record, error) { return s.Operator(t.Context(), "Anna") },
		func() (identity.Record, error) { return s.OperatorOfToken(t.Context(), "", "") },
		func() (identity.Record, error) {
			return s.OperatorOfToken(t.Context(), "https://mallory.example", r.Subject)
		},
	} {
		if found, err := find(); !errors.Is(err, card.ErrNotFound) {
			t.Errorf("found %+v, %v; want card.ErrNotFound", found, err)
		}
	}
}

// A token is one person's, and a record that would share it changes nothing.
func TestTokenTaken(t *testing.T) {
	s := newStore(t)
	r := sampleOperator("anna")
	must[store.Result](t)(s.PutOperator(t.Context(), r, operatorPut("anna")))
	other := sampleOperator("olga")
	other.Subject = r.Subject
	if _, err := s.PutOperator(t.Context(), other, operatorPut("olga")); !errors.Is(err, store.ErrTokenTaken) {
		t.Fatalf("another record with the same token: %v", err)
	}
	if _, err := s.Operator(t.Context(), "olga"); !errors.Is(err, card.ErrNotFound) {
		t.Errorf("the record is there: %v", err)
	}
	same(t, "entries", len(must[[]audit.Entry](t)(s.Entries(t.Context(), 1, 0))), 1)
	other.Issuer = "https://other.example"
	must[store.Result](t)(s.PutOperator(t.Context(), other, operatorPut("olga")))
}

func TestOperatorsByPages(t *testing.T) {
	s := newStore(t)
	for _, id := range []string{"c", "a", "e", "b", "d"} {
		must[store.Result](t)(s.PutOperator(t.Context(), sampleOperator(id), operatorPut(id)))
	}
	var ids []string
	after, pages := "", 0
	for {
		page, next, err := s.Operators(t.Context(), after, 2)
		if err != nil {
			t.Fatal(err)
		}
		pages++
		for _, r := range page {
			ids = append(ids, r.ID)
		}
		if next == "" {
			break
		}
		after = next
	}
	same(t, "IDs", ids, []string{"a", "b", "c", "d", "e"})
	same(t, "pages", pages, 3)
}
