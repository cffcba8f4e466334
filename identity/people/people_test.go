package people_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/identity"
	"latchkey/identity/people"
	"latchkey/store"
)

// seeds are the people of a configuration.
type seeds map[string]identity.Person

func (s seeds) Operator(_ context.Context, id string) (identity.Person, error) {
	if p, ok := s[id]; ok {
		return p, nil
	}
	return identity.Person{}, card.ErrNotFound
}

const issuer = "https://id.example"

func roles(r ...identity.Role) []identity.Role { return r }

// known is a register with a record, a seed, both, and one that is inactive.
func known(t *testing.T) people.Registry {
	t.Helper()
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "latchkey.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, r := range []identity.Record{
		{Person: identity.Person{ID: "both", Name: "Record", Roles: roles(identity.Auditor)}, Active: true},
		{Person: identity.Person{ID: "tied", Name: "Tied", Roles: roles(identity.Operator)}, Issuer: issuer, Subject: "s-tied", Active: true},
		{Person: identity.Person{ID: "gone", Name: "Gone", Roles: roles(identity.Operator)}, Issuer: issuer, Subject: "s-gone"},
	} {
		if _, err := s.PutOperator(t.Context(), r, audit.Entry{Action: audit.OperatorPut, Outcome: audit.Permit}); err != nil {
			t.Fatal(err)
		}
	}
	return people.Registry{Records: s, Seeds: seeds{
		"both": {ID: "both", Name: "Seed", Roles: roles(identity.Supervisor), Groups: []string{"g"}},
		"seed": {ID: "seed", Name: "Seed", Roles: roles(identity.Supervisor)},
		"gone": {ID: "gone", Name: "Seed", Roles: roles(identity.Supervisor)},
	}}
}

// The first that knows a person speaks alone.
func TestOperator(t *testing.T) {
	r := known(t)
	for id, want := range map[string]struct {
		name string
		err  error
	}{
		"both": {"Record", nil}, "seed": {"Seed", nil},
		"gone": {"", identity.ErrInactive}, "nobody": {"", card.ErrNotFound}, "": {"", card.ErrNotFound},
	} {
		got, err := r.Operator(t.Context(), id)
		if got.Name != want.name || !errors.Is(err, want.err) {
			t.Errorf("%q is %+v, %v; want %q, %v", id, got, err, want.name, want.err)
		}
		if id == "both" && (len(got.Groups) != 0 || !cmp.Equal(got.Roles, roles(identity.Auditor))) {
			t.Errorf("the seed has a say in who %+v is", got)
		}
	}
}

func TestBearer(t *testing.T) {
	r := known(t)
	at := time.Date(2026, 5, 4, 8, 12, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		issuer, subject, claims string
		id                      string
		roles                   []identity.Role
		refused                 bool
		err                     error
	}{
		"nobody's record":             {issuer, "s-1", "new", "new", roles(identity.Administrator), false, nil},
		"a seed":                      {issuer, "s-1", "seed", "seed", roles(identity.Supervisor), false, nil},
		"a record without a token":    {issuer, "s-1", "both", "both", roles(identity.Auditor), false, nil},
		"the token of a record":       {issuer, "s-tied", "whatever", "tied", roles(identity.Operator), false, nil},
		"another token":               {issuer, "s-1", "tied", "", nil, true, nil},
		"the subject at another":      {"https://other.example", "s-tied", "tied", "", nil, true, nil},
		"inactive":                    {issuer, "s-gone", "new", "", nil, false, identity.ErrInactive},
		"inactive, with another's ID": {issuer, "s-gone", "both", "", nil, false, identity.ErrInactive},
		"no ID":                       {issuer, "s-1", "", "", nil, true, nil},
		"no ID, but the record's":     {issuer, "s-tied", "", "tied", roles(identity.Operator), false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			claimed := identity.Person{ID: test.claims, Name: "Claimed", Roles: roles(identity.Administrator), MFA: true, AuthenticatedAt: at}
			got, err := r.Bearer(t.Context(), identity.Token{Issuer: test.issuer, Subject: test.subject, Person: claimed})
			var refused *identity.TokenError
			if errors.As(err, &refused) != test.refused || !errors.Is(err, test.err) && !test.refused {
				t.Fatalf("%v", err)
			}
			if got.ID != test.id || !cmp.Equal(got.Roles, test.roles) {
				t.Errorf("%+v, want %s with %v", got, test.id, test.roles)
			}
			if err == nil && (!got.MFA || !got.AuthenticatedAt.Equal(at)) {
				t.Errorf("what the token tells of the login is lost: %+v", got)
			}
		})
	}
}
