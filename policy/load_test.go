package policy_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/policy"
)

// Every fault in every file comes back at once, each with its place.
func TestLoadDirFaults(t *testing.T) {
	const scope = "(principal, action, resource)"
	for name, test := range map[string]struct {
		files map[string]string
		want  []string // beginnings of the faults, in order
	}{
		"syntax": {
			map[string]string{"a.cedar": permitAll + "\n\npermit (principal, action,, resource);"},
			[]string{`a.cedar:3:`},
		},
		"string not ended": {
			map[string]string{"a.cedar": "@id(\"x\npermit " + scope + ";"},
			[]string{"a.cedar:1:5: literal not terminated"},
		},
		"empty file": {
			map[string]string{"a.cedar": "// Nothing yet.\n"},
			[]string{"a.cedar: no policy permits action unblock", "a.cedar: no policy permits action view"},
		},
		"only forbids": {
			map[string]string{"a.cedar": strings.Replace(permitAll, "permit", "forbid", 1)},
			[]string{"a.cedar: no policy permits action unblock", "a.cedar: no policy permits action view"},
		},
		"no annotations": {
			map[string]string{"a.cedar": "permit " + scope + ";"},
			[]string{"a.cedar:1:1: @id is required", "a.cedar:1:1: @reason is required"},
		},
		"blank annotations": {
			map[string]string{"a.cedar": `@id(" ") @reason permit ` + scope + ";"},
			[]string{"a.cedar:1:1: @id begins or ends with white space", "a.cedar:1:10: @reason is required"},
		},
		"annotations that cannot be shown": {
			map[string]string{"a.cedar": `@id("a\nb") @reason("` + strings.Repeat("x", 257) + `") permit ` + scope + ";"},
			[]string{"a.cedar:1:1: @id has a control character", "a.cedar:1:13: @reason longer than 256 bytes"},
		},
		"id twice, over two files": {
			map[string]string{"a.cedar": permitAll, "b.cedar": "\n" + permitAll},
			[]string{`b.cedar:2:1: @id "all" is taken by the policy at a.cedar:1:1`},
		},
		"annotation twice": {
			map[string]string{"a.cedar": `@id("a") @id("b") @reason("r") permit ` + scope + ";"},
			[]string{"a.cedar:1:"},
		},
		"unknown attributes": {
			map[string]string{"a.cedar": `@id("a") @reason("r") permit ` + scope +
				` when { principal.rolles.contains("x") || resource.holder.grp.contains("x") || context.delegate };`},
			[]string{
				"a.cedar:1:77: attribute `rolles` on entity type `Operator` not found",
				"a.cedar:1:117: attribute `holder.grp` on entity type `Card` not found",
				"a.cedar:1:146: attribute `delegate` in context not found",
			},
		},
		"unknown attributes behind has": {
			map[string]string{"a.cedar": permitAll + `
@id("a") @reason("r") forbid ` + scope + ` when { principal has unti && principal.unti == "it" };
@id("b") @reason("r") forbid ` + scope + ` when { resource.holder has unti && true };
@id("c") @reason("r") forbid ` + scope + ` when { resource.type has serial };
@id("d") @reason("r") forbid ` + scope + ` unless { !(context has when) };`},
			[]string{
				"a.cedar:2:81: attribute `unti` is asked for with has",
				"a.cedar:3:87: attribute `unti` is asked for with has",
				"a.cedar:4:85: attribute `serial` is asked for with has",
				"a.cedar:5:83: attribute `when` is asked for with has",
			},
		},
		"optional attribute not asked for": {
			map[string]string{"a.cedar": `@id("a") @reason("r") permit ` + scope + ` when { principal.unit == "it" };`},
			[]string{"a.cedar:1:77: attribute `unit` on entity type `Operator` may be absent; ask for it first, as in: ... has unit && ..."},
		},
		"unknown action": {
			map[string]string{"a.cedar": `@id("a") @reason("r") permit (principal, action == Action::"unblok", resource);`},
			[]string{"a.cedar:1:52: unrecognized action `Action::\"unblok\"`"},
		},
		"unknown entity type": {
			map[string]string{"a.cedar": `@id("a") @reason("r") permit (principal is Operater, action, resource);`},
			[]string{"a.cedar:1:44: unrecognized entity type `Operater`"},
		},
		"resource of the wrong type": {
			map[string]string{"a.cedar": `@id("a") @reason("r") permit (principal, action, resource is CardType);`},
			[]string{"a.cedar:1:23: unable to find an applicable action"},
		},
		"wrong type": {
			map[string]string{"a.cedar": `@id("a") @reason("r") permit ` + scope + ` when { principal.roles == "operator" };`},
			[]string{"a.cedar:1:67: the types String and Set<String> are not compatible"},
		},
		"too long a file": {
			map[string]string{"a.cedar": permitAll + strings.Repeat(" ", 64<<10)},
			[]string{"a.cedar: has more than 65536 bytes"},
		},
		"several files": {
			map[string]string{
				"c.cedar": "permit (principal, action, resource) when { principal.x };",
				"a.cedar": "permit (",
				"b.cedar": permitAll,
			},
			[]string{"a.cedar:1:", "c.cedar:1:1: @id is required", "c.cedar:1:1: @reason is required", "c.cedar:1:55: attribute `x`"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			engine, err := policy.LoadDir(folder(t, test.files))
			var faults policy.Faults
			if !errors.As(err, &faults) || engine != nil {
				t.Fatalf("engine %v, error %v; want faults only", engine, err)
			}
			if len(faults) != len(test.want) {
				t.Fatalf("%d faults, want %d:\n%v", len(faults), len(test.want), err)
			}
			for i, want := range test.want {
				if !strings.HasPrefix(faults[i].String(), want) {
					t.Errorf("fault %q\ndoes not begin with %q", faults[i].String(), want)
				}
			}
		})
	}
}

func TestLoadDirNeedsFiles(t *testing.T) {
	t.Run("no such folder", func(t *testing.T) {
		if _, err := policy.LoadDir(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("error %v, want os.ErrNotExist", err)
		}
	})
	t.Run("empty folder", func(t *testing.T) {
		dir := folder(t, map[string]string{"policies.txt": permitAll})
		_, err := policy.LoadDir(dir)
		want := policy.Faults{{File: dir, What: "no file here ends in .cedar, so nothing could ever be unblocked"}}
		if diff := cmp.Diff(error(want), err); diff != "" {
			t.Errorf("error (-want +got):\n%s", diff)
		}
	})
	t.Run("folders and broken links named like files", func(t *testing.T) {
		dir := folder(t, map[string]string{"good.cedar": permitAll})
		if err := os.Mkdir(filepath.Join(dir, "a.cedar"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("nowhere", filepath.Join(dir, "b.cedar")); err != nil {
			t.Fatal(err)
		}
		_, err := policy.LoadDir(dir)
		var faults policy.Faults
		if !errors.As(err, &faults) || len(faults) != 2 ||
			faults[0].File != "a.cedar" || faults[1].File != "b.cedar" {
			t.Errorf("error %v; want faults of a.cedar and b.cedar", err)
		}
	})
}

// The deepest nesting that the limit on a file's length lets through does not end
// the program.
func TestLoadDirDeepNesting(t *testing.T) {
	const before, after = `@id("deep") @reason("Deep.") permit (principal, action, resource) when { `, " };"
	deep := (64<<10 - len(before) - len(after) - len("true")) / 2
	for name, test := range map[string]struct{ open, in, end string }{
		"brackets": {strings.Repeat("(", deep), "true", strings.Repeat(")", deep)},
		"sets":     {strings.Repeat("[", deep), "true", strings.Repeat("]", deep)},
		"not":      {strings.Repeat("!(", deep/2), "true", strings.Repeat(")", deep/2)},
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder(t, map[string]string{"deep.cedar": before + test.open + test.in + test.end + after})
			engine, err := policy.LoadDir(dir)
			var faults policy.Faults
			if (engine == nil) == (err == nil) || err != nil && !errors.As(err, &faults) {
				t.Errorf("engine %v, error of type %T; want an engine or faults", engine, err)
			}
		})
	}
}

// Any text is either an engine that decides or faults that say where.
func FuzzLoadDir(f *testing.F) {
	builtIn, err := os.ReadFile("default.cedar")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		"", string(builtIn), permitAll, ownUnit, permitAll + permitAll,
		`@id("a") @reason("b") permit (principal, action, resource) when { ` + strings.Repeat("(", 40) + "true" + strings.Repeat(")", 40) + " };",
		`@id("a") @reason("b") permit (principal == ?principal, action, resource);`,
		`@id("a") @reason("b") permit (principal, action in [Action::"unblock"], resource) when { context.reason like "*\*" };`,
		"permit\x00(", "@id(\"\xff\")",
	} {
		f.Add(seed)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(filepath.Join(dir, "fuzz.cedar"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		engine, err := policy.LoadDir(dir)
		if err == nil {
			d, err := engine.Decide(t.Context(), request())
			if err != nil && d.Allow {
				t.Errorf("allowed with error %v", err)
			}
			if err == nil && d.Why == "" {
				t.Errorf("decision %+v gives no reason", d)
			}
			return
		}
		var faults policy.Faults
		if !errors.As(err, &faults) {
			t.Fatalf("error %v is not faults", err)
		}
		for _, fault := range faults {
			if !strings.HasPrefix(fault.String(), "fuzz.cedar:") {
				t.Errorf("fault %q names no place", fault)
			}
		}
	})
}
