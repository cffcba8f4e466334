package cases_test

import (
	"path/filepath"
	"slices"
	"testing"

	"latchkey/policy"
	"latchkey/policy/cases"
)

// What is shipped does what its cases say: the built-in policies, and each of the
// library on top of them. No policy goes untried.
func TestShippedPolicies(t *testing.T) {
	shipped, err := policy.Shipped()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range shipped {
		if text.Name == "schema" {
			continue
		}
		t.Run(text.Name, func(t *testing.T) {
			if text.About == "" {
				t.Error("does not say what it is for")
			}
			file, sources := filepath.Join("..", "library", text.Name+".yaml"), []policy.Source{policy.BuiltIn()}
			if text.Name == "default" {
				file = filepath.Join("..", "default.yaml")
			} else {
				sources = append(sources, policy.Source{Name: text.Name + ".cedar", Text: text.Text})
			}
			engine, err := policy.Load(sources)
			if err != nil {
				t.Fatal(err)
			}
			outcomes := try(t, file, engine)
			for _, p := range engine.Policies() {
				if p.File == sources[len(sources)-1].Name && slices.Contains(cases.Untried(engine, outcomes), p.ID) {
					t.Errorf("no case tries %s", p.ID)
				}
			}
		})
	}
}

// The library holds together: each of its policies can be had with all the others.
func TestWholeLibrary(t *testing.T) {
	shipped, err := policy.Shipped()
	if err != nil {
		t.Fatal(err)
	}
	sources := []policy.Source{policy.BuiltIn()}
	for _, text := range shipped {
		if text.Name != "schema" && text.Name != "default" {
			sources = append(sources, policy.Source{Name: text.Name + ".cedar", Text: text.Text})
		}
	}
	if _, err := policy.Load(sources); err != nil {
		t.Error(err)
	}
}

// try runs a file of cases and reports those that went wrong.
func try(t *testing.T, file string, engine *policy.Engine) []cases.Outcome {
	t.Helper()
	suite, err := cases.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	outcomes, err := suite.Run(t.Context(), engine)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range outcomes {
		if o.Wrong != "" {
			t.Errorf("%s:%d: %s: %s (%s)", o.File, o.Line, o.Name, o.Wrong, o.Why)
		}
	}
	return outcomes
}
