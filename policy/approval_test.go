package policy_test

import (
	"strings"
	"testing"
	"time"

	"latchkey/identity"
	"latchkey/policy"
)

// forbid is a policy that somebody's approval satisfies, or nobody's.
func forbid(id, approval string) string {
	text := `@id("` + id + `") @reason("Because of ` + id + `.") `
	if approval != "" {
		text += `@approval("` + approval + `") `
	}
	text += `forbid (principal, action == Action::"unblock", resource)`
	if approval != "" {
		text += ` unless { context has approver && context.approver.roles.contains("` + approval + `") }`
	}
	return text + ";\n"
}

// An approval is asked for only where it would lead to a yes.
func TestApproval(t *testing.T) {
	eva := &identity.Person{ID: "eva", Roles: []identity.Role{identity.Supervisor}}
	anna := &identity.Person{ID: "anna", Roles: []identity.Role{identity.Supervisor}}
	const permit = `@id("permit") @reason("With a reason.") permit (principal, action, resource) unless { principal.id == "nobody" };`
	for name, test := range map[string]struct {
		forbids  string
		operator string
		approver *identity.Person
		approval identity.Role
		allow    bool
		why      string
	}{
		"one":                {forbid("a", "supervisor"), "anna", nil, identity.Supervisor, false, "Because of a."},
		"two of one role":    {forbid("a", "supervisor") + forbid("b", "supervisor"), "anna", nil, identity.Supervisor, false, "Because of a. Because of b."},
		"two of two roles":   {forbid("a", "supervisor") + forbid("b", "security-officer"), "anna", nil, "", false, "Because of a. Because of b."},
		"one that is final":  {forbid("a", "supervisor") + forbid("b", ""), "anna", nil, "", false, "Because of a. Because of b."},
		"final comes first":  {forbid("a", "") + forbid("b", "supervisor"), "anna", nil, "", false, "Because of a. Because of b."},
		"nothing permits":    {forbid("a", "supervisor"), "nobody", nil, "", false, "Because of a. Besides, no policy permits this. With a reason."},
		"approved":           {forbid("a", "supervisor"), "anna", eva, "", true, "With a reason."},
		"approved by itself": {forbid("a", "supervisor"), "anna", anna, "", false, "Because of a."},
		"in other letters":   {forbid("a", "supervisor"), "Anna", anna, "", false, "Because of a."},
		"by another role":    {forbid("a", "security-officer"), "anna", eva, "", false, "Because of a."},
	} {
		t.Run(name, func(t *testing.T) {
			engine := load(t, map[string]string{"a.cedar": permit + test.forbids})
			r := request()
			r.Operator.ID, r.Approver = test.operator, test.approver
			got, err := engine.Decide(t.Context(), r)
			if err != nil || got.Allow != test.allow || got.Approval != test.approval || got.Why != test.why {
				t.Errorf("allow %v, approval %q, why %q, error %v", got.Allow, got.Approval, got.Why, err)
			}
		})
	}
}

// An @approval that would come to nothing is a fault, at its place.
func TestApprovalFaults(t *testing.T) {
	const scope = `@reason("r") `
	engine, err := policy.Load([]policy.Source{policy.BuiltIn(), {Name: "a.cedar", Text: strings.Join([]string{
		`@id("1") ` + scope + `@approval("supervisor") permit (principal, action == Action::"unblock", resource) when { context has approver };`,
		`@id("2") ` + scope + `@approval("boss") forbid (principal, action == Action::"unblock", resource) unless { context has approver && context.approver.id == "x" };`,
		`@id("3") ` + scope + `@approval("backend") forbid (principal, action == Action::"unblock", resource) unless { context has approver && context.approver.id == "x" };`,
		`@id("4") ` + scope + `@approval("supervisor") forbid (principal, action, resource);`,
		`@id("5") ` + scope + `@approved("supervisor") forbid (principal, action, resource);`,
	}, "\n")}})
	want := []string{
		"a.cedar:1:23: @approval is for a forbid only",
		`a.cedar:2:23: @approval "boss" is not a role of a person`,
		`a.cedar:3:23: @approval "backend" is not a role of a person`,
		"a.cedar:4:23: @approval has no effect",
		"a.cedar:5:23: annotation @approved is not known",
	}
	if err == nil {
		t.Fatal("loaded")
	}
	lines := strings.Split(err.Error(), "\n")
	if engine != nil || len(lines) != len(want) {
		t.Fatalf("faults:\n%v", err)
	}
	for i, w := range want {
		if !strings.HasPrefix(lines[i], w) {
			t.Errorf("fault %q\ndoes not begin with %q", lines[i], w)
		}
	}
}

// Without a time there is no decision, for policies may be about the hour.
func TestDecideNeedsTime(t *testing.T) {
	engine := load(t, map[string]string{"all.cedar": permitAll})
	r := request()
	r.Now = time.Time{}
	if got, err := engine.Decide(t.Context(), r); err == nil || got.Allow {
		t.Errorf("decision %+v, %v; want an error", got, err)
	}
}
