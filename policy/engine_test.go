package policy_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"latchkey/card"
	"latchkey/identity"
	"latchkey/policy"
)

// request is one that the built-in policies permit.
func request() policy.Request {
	return policy.Request{
		Operator: policy.Operator{ID: "anna", Name: "Anna Blom", Roles: []identity.Role{identity.Operator}, Groups: []string{"help-desk"}, Unit: "it"},
		Client:   "identity-manager", Means: identity.ByName,
		Card: card.Card{
			Serial: "4711", Type: "staff", State: "blocked",
			Holder: card.Holder{ID: "bo", Name: "Bo Ek", Groups: []string{"finance"}, State: "active"},
		},
		Type:   card.Type{ID: "staff", Name: "Staff card", Profile: "gids"},
		Reason: "PIN forgotten on leave",
		Now:    time.Date(2026, 12, 24, 9, 30, 0, 0, time.FixedZone("CET", 3600)),
	}
}

func TestDefaultPolicies(t *testing.T) {
	const (
		permit     = "An operator or a supervisor may unblock a card, and has to give a reason."
		nothing    = "No policy permits this. " + permit
		own        = "Nobody unblocks their own card. Ask another operator."
		privileged = "The card's holder is privileged. A supervisor has to approve."
	)
	engine, err := policy.Default()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change   func(*policy.Request)
		allow    bool
		policies []string
		why      string
		approval identity.Role
	}{
		"operator": {
			func(*policy.Request) {}, true, []string{"operator-with-reason"}, permit, "",
		},
		"supervisor": {
			func(r *policy.Request) { r.Operator.Roles = []identity.Role{identity.Supervisor} },
			true, []string{"operator-with-reason"}, permit, "",
		},
		"operator with own certificate": {
			func(r *policy.Request) { r.Means = identity.ByCertificate },
			true, []string{"operator-with-reason"}, permit, "",
		},
		"no role": {
			func(r *policy.Request) { r.Operator.Roles = nil }, false, nil, nothing, "",
		},
		"another role": {
			func(r *policy.Request) {
				r.Operator.Roles = []identity.Role{identity.Administrator, identity.SecurityOfficer}
			},
			false, nil, nothing, "",
		},
		"role in other letters": {
			func(r *policy.Request) { r.Operator.Roles = []identity.Role{"Operator", "operator "} },
			false, nil, nothing, "",
		},
		"group named like a role": {
			func(r *policy.Request) { r.Operator.Roles, r.Operator.Groups = nil, []string{"operator"} },
			false, nil, nothing, "",
		},
		"no reason": {
			func(r *policy.Request) { r.Reason = "" }, false, nil, nothing, "",
		},
		"blank reason": {
			func(r *policy.Request) { r.Reason = " \t\u00a0\n" }, false, nil, nothing, "",
		},
		"own card": {
			func(r *policy.Request) { r.Card.Holder.ID = "anna" },
			false, []string{"not-own-card"}, own, "",
		},
		"supervisor's own card": {
			func(r *policy.Request) {
				r.Operator.Roles = []identity.Role{identity.Supervisor}
				r.Card.Holder.ID = "anna"
			},
			false, []string{"not-own-card"}, own, "",
		},
		"privileged holder": {
			func(r *policy.Request) { r.Card.Holder.Groups = []string{"finance", "privileged"} },
			false, []string{"privileged-holder"}, privileged, "supervisor",
		},
		"privileged holder, operator in that group too": {
			func(r *policy.Request) {
				r.Card.Holder.Groups = []string{"privileged"}
				r.Operator.Groups = []string{"privileged", "supervisor"}
			},
			false, []string{"privileged-holder"}, privileged, "supervisor",
		},
		"privileged holder, supervisor": {
			func(r *policy.Request) {
				r.Card.Holder.Groups = []string{"privileged"}
				r.Operator.Roles = []identity.Role{identity.Operator, identity.Supervisor}
			},
			true, []string{"operator-with-reason"}, permit, "",
		},
		"own card of a privileged operator": {
			func(r *policy.Request) {
				r.Card.Holder.ID, r.Card.Holder.Groups = "anna", []string{"privileged"}
			},
			false, []string{"not-own-card", "privileged-holder"}, own + " " + privileged, "",
		},
		"own card without a role and a reason": {
			func(r *policy.Request) { r.Card.Holder.ID, r.Operator.Roles, r.Reason = "anna", nil, "" },
			false, []string{"not-own-card"}, own, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := request()
			test.change(&r)
			got, err := engine.Decide(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			want := policy.Decision{Allow: test.allow, Policies: test.policies, Why: test.why, Approval: test.approval, Version: engine.Version()}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("decision (-want +got):\n%s", diff)
			}
		})
	}
}

// folder writes policy files and gives the folder.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	seen      = `@id("seen") @reason("Seen.") permit (principal, action == Action::"view", resource);`
	permitAll = `@id("all") @reason("Everybody may.") permit (principal, action, resource);`
	ownUnit   = `@id("own-unit") @reason("Only cards of your own unit.")
permit (principal, action, resource)
when { principal has unit && resource.holder has unit && principal.unit == resource.holder.unit };`
)

func load(t *testing.T, files map[string]string) *policy.Engine {
	t.Helper()
	engine, err := policy.LoadDir(folder(t, files))
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

// A folder replaces the built-in policies, and what is empty is not there: two
// people without a unit are not of the same one.
func TestUnitThatNobodyHas(t *testing.T) {
	engine := load(t, map[string]string{"unit.cedar": ownUnit})
	for name, test := range map[string]struct {
		operator, holder string
		allow            bool
	}{
		"same": {"it", "it", true}, "different": {"it", "sales", false},
		"neither": {"", "", false}, "operator only": {"it", "", false}, "holder only": {"", "it", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := request()
			r.Operator.Unit, r.Card.Holder.Unit = test.operator, test.holder
			got, err := engine.Decide(t.Context(), r)
			if err != nil || got.Allow != test.allow {
				t.Errorf("allow %v, %v; want %v", got.Allow, err, test.allow)
			}
		})
	}
}

// Every attribute that the schema promises arrives.
func TestEveryAttributeArrives(t *testing.T) {
	engine := load(t, map[string]string{"all.cedar": `@id("exact") @reason("Exactly this.")
permit (principal == Operator::"anna", action == Action::"unblock", resource == Card::"4711")
when {
    principal.id == "anna" && principal.name == "Anna Blom" && principal.roles == ["operator"] &&
    principal.groups == ["help-desk"] && principal has unit && principal.unit == "it" &&
    resource.serial == "4711" && resource.state == "blocked" && resource.type == CardType::"staff" &&
    resource.type.id == "staff" && resource.type.name == "Staff card" && resource.type.profile == "gids" &&
    resource.holder.id == "bo" && resource.holder.groups == ["finance"] && !(resource.holder has unit) &&
    context.reason == "PIN forgotten on leave" && context.authentication has means && context.authentication.means == Means::"named by the client" &&
    context.client == Client::"identity-manager" && context.client.name == "identity-manager"
};`, "seen.cedar": seen})
	if got, err := engine.Decide(t.Context(), request()); err != nil || !got.Allow {
		t.Errorf("decision %+v, %v; want allow", got, err)
	}
}

// Attributes that no policy names are left out, but not of a record that is compared
// as a whole.
func TestWholeRecordArrives(t *testing.T) {
	engine := load(t, map[string]string{"a.cedar": seen + `@id("record") @reason("At that very time.")
permit (principal, action == Action::"unblock", resource)
when { context.time == {hour: 9, minute: 30, weekday: 4, date: "2026-12-24"} };`})
	if got, err := engine.Decide(t.Context(), request()); err != nil || !got.Allow {
		t.Errorf("decision %+v, %v; want allow", got, err)
	}
}

// A decision tells whether it may hang on the card's count.
func TestCounts(t *testing.T) {
	const counting = `@id("few") @reason("Few.") forbid (principal, action == Action::"unblock", resource) when { context.unconfirmed > 9 };`
	for text, want := range map[string]bool{seen + permitAll: false, seen + permitAll + counting: true} {
		got, err := load(t, map[string]string{"a.cedar": text}).Decide(t.Context(), request())
		if err != nil || !got.Allow || got.Counts != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}

// A policy that breaks at run time denies, though another one permits.
func TestBrokenPolicyFailsClosed(t *testing.T) {
	const overflow = "when { 9223372036854775807 + 1 > 0 };"
	for name, broken := range map[string]string{
		"permit": `@id("broken") @reason("Never.") permit (principal, action, resource) ` + overflow,
		"forbid": `@id("broken") @reason("Never.") forbid (principal, action, resource) ` + overflow,
	} {
		t.Run(name, func(t *testing.T) {
			engine := load(t, map[string]string{"1.cedar": permitAll, "2.cedar": "\n" + broken})
			got, err := engine.Decide(t.Context(), request())
			if err == nil || !strings.Contains(err.Error(), "policy broken at 2.cedar:2") {
				t.Errorf("error %v; want one that names the policy and its place", err)
			}
			if diff := cmp.Diff(policy.Decision{}, got); diff != "" {
				t.Errorf("decision is not empty: %s", diff)
			}
		})
	}
}

func TestDecideHonoursContext(t *testing.T) {
	engine := load(t, map[string]string{"all.cedar": permitAll})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := engine.Decide(ctx, request()); !errors.Is(err, context.Canceled) || got.Allow {
		t.Errorf("decision %+v, %v; want context.Canceled", got, err)
	}
}

func TestVersion(t *testing.T) {
	version := func(files map[string]string) string { return load(t, files).Version() }
	want := version(map[string]string{"a.cedar": permitAll, "b.cedar": ownUnit})
	if len(want) != 32 || strings.Trim(want, "0123456789abcdef") != "" {
		t.Errorf("version %q is not 32 hex digits", want)
	}
	for name, files := range map[string]map[string]string{
		"files in another order": {"a.cedar": ownUnit, "b.cedar": permitAll},
		"one file":               {"x.cedar": ownUnit + permitAll},
		"comments and layout":    {"x.cedar": "// Ours.\n" + strings.ReplaceAll(ownUnit, " && ", "\n  &&\t") + "\n\n" + permitAll},
		"other files":            {"x.cedar": ownUnit + permitAll, "README.md": "not a policy", "old.cedar.bak": "nor this"},
	} {
		if got := version(files); got != want {
			t.Errorf("%s: version %s, want %s", name, got, want)
		}
	}
	for name, files := range map[string]map[string]string{
		"one less":     {"a.cedar": permitAll},
		"condition":    {"a.cedar": permitAll, "b.cedar": strings.Replace(ownUnit, "==", "!=", 1)},
		"effect":       {"a.cedar": permitAll, "b.cedar": strings.Replace(ownUnit, "permit", "forbid", 1)},
		"id":           {"a.cedar": permitAll, "b.cedar": strings.Replace(ownUnit, "own-unit", "own", 1)},
		"reason":       {"a.cedar": permitAll, "b.cedar": strings.Replace(ownUnit, "Only", "Just", 1)},
		"text, spaces": {"a.cedar": permitAll, "b.cedar": strings.Replace(ownUnit, "Only cards", "Only  cards", 1)},
	} {
		if got := version(files); got == want {
			t.Errorf("%s changed, the version did not", name)
		}
	}
}
