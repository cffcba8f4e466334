package cases_test

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/config/strictyaml"
	"latchkey/policy"
	"latchkey/policy/cases"
)

const given = "given: {operator: {id: anna, roles: [operator]}, reason: lost, card: {serial: '1', holder: {id: bo, privileged: true}}}\ncases:\n"

// A case that comes out otherwise than expected says in what.
func TestWrong(t *testing.T) {
	engine, err := policy.Default()
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"{name: a, expect: approval, approval: supervisor, policies: [privileged-holder]}": "",
		"{name: a, expect: allow}":                                                                         "got approval, want allow",
		"{name: a, expect: deny}":                                                                          "got approval, want deny",
		"{name: a, expect: approval, approval: auditor}":                                                   "got approval by supervisor, want auditor",
		"{name: a, expect: approval, policies: [not-own-card]}":                                            "decided by privileged-holder, want not-own-card",
		"{name: a, expect: approval, policies: []}":                                                        "decided by privileged-holder, want no policy",
		"{name: a, expect: deny, card: {holder: {privileged: false}}}":                                     "got allow, want deny",
		"{name: a, expect: deny, approver: {id: eva, roles: [supervisor]}}":                                "got allow, want deny",
		"{name: a, action: view, expect: deny}":                                                            "got allow, want deny",
		"{name: a, expect: allow, reason: '', card: {holder: {privileged: false}}}":                        "got deny, want allow",
		"{name: a, expect: deny, policies: [x], operator: {roles: []}, card: {holder: {id: anna}}}":        "decided by not-own-card, privileged-holder, want x",
		"{name: a, expect: deny, policies: [privileged-holder, not-own-card], card: {holder: {id: anna}}}": "",
	} {
		suite, err := cases.Parse("a.yaml", []byte(given+"  - "+text))
		if err != nil {
			t.Fatal(err)
		}
		outcomes, err := suite.Run(t.Context(), engine)
		if err != nil || len(outcomes) != 1 {
			t.Fatalf("%d outcomes, %v", len(outcomes), err)
		}
		if o := outcomes[0]; o.Wrong != want || o.File != "a.yaml" || o.Line != 3 {
			t.Errorf("%s: %s:%d: wrong %q, want %q", text, o.File, o.Line, o.Wrong, want)
		}
	}
}

// Every fault of a file comes back, each with its line.
func TestFaults(t *testing.T) {
	for text, want := range map[string][]string{
		"":               {"there is nothing in it"},
		"cases: []":      {"there are no cases in it"},
		given + "  - {}": {"line 3: name is required", "line 3: expect is required"},
		given + "  - {name: a, expect: allow}\n  - {name: a, expect: deny}": {"line 4: this name is there twice"},
		given + "  - {name: a, expect: allow, unconfirmed: many}":           {"line 3: must be a whole number"},
		given + "  - {name: a, expect: allow, card: {holders: {}}}":         {`line 3: unknown key "holders"`},
		given + "  - {name: a, expect: deny, approval: boss, means: guess, address: here, approver: {mfa_age: long}}": {
			"line 3: approval must be one of: backend; operator; supervisor; administrator; security-officer; auditor",
			"line 3: means must be one of: own certificate; own token; own session; own token, passed by the client; named by the client; own session, as the card's holder",
			"line 3: approval is only for a case that expects approval",
			"line 3: address must be an IP address",
			"line 3: approver.id is required",
			"line 3: approver.mfa_age must be a duration, as in 15m",
		},
	} {
		_, err := cases.Parse("a.yaml", []byte(text))
		var faults *strictyaml.Faults
		if !errors.As(err, &faults) {
			t.Errorf("%s: error %v is not faults", text, err)
			continue
		}
		if diff := cmp.Diff(want, faults.Faults); diff != "" {
			t.Errorf("%s: faults (-want +got):\n%s", text, diff)
		}
	}
}

// What docs/policies.md shows works.
func TestGuide(t *testing.T) {
	text, err := os.ReadFile("../../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindSubmatch(text)
	visitors := regexp.MustCompile(`(?s)    @id\("visitors.*?;\n`).FindString(string(text))
	hours, err := policy.Find("out-of-hours")
	if err != nil || example == nil || visitors == "" {
		t.Fatalf("examples are missing: %v", err)
	}
	engine, err := policy.Load([]policy.Source{
		policy.BuiltIn(), {Name: "out-of-hours.cedar", Text: hours.Text}, {Name: "visitors.cedar", Text: visitors},
	})
	if err != nil {
		t.Fatal(err)
	}
	suite, err := cases.Parse("policies.md", example[1])
	if err != nil {
		t.Fatal(err)
	}
	outcomes, err := suite.Run(t.Context(), engine)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range outcomes {
		if o.Wrong != "" {
			t.Errorf("%s: %s", o.Name, o.Wrong)
		}
	}
	shipped, err := policy.Shipped()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range shipped {
		if !strings.Contains(string(text), "`"+s.Name+"`") && s.Name != "default" && s.Name != "schema" {
			t.Errorf("the guide does not name %s", s.Name)
		}
	}
}

// Any text is a suite or faults.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{given + "  - {name: a, expect: allow}", "cases: [null]", "given: null\ncases: [{}]", "cases: &a [*a]", "<<: {cases: [1]}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		suite, err := cases.Parse("a.yaml", []byte(text))
		var faults *strictyaml.Faults
		if (err == nil) == (len(suite.Cases) == 0) || err != nil && !errors.As(err, &faults) {
			t.Errorf("%d cases, error %v", len(suite.Cases), err)
		}
	})
}
