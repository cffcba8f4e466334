package policy_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
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
		"not UTF-8": {
			map[string]string{"a.cedar": "// å\n// \xff\n" + permitAll},
			[]string{"a.cedar:2:4: is not valid UTF-8"},
		},
		"what is not seen": {
			map[string]string{"a.cedar": "// \u202e\n" + permitAll, "b.cedar": "\x00", "c.cedar": "\ufeff" + permitAll},
			[]string{
				"a.cedar:1:4: has a character that is not seen, U+202E",
				"b.cedar:1:1: has a character that is not seen, U+0000",
				"c.cedar:1:1: has a character that is not seen, U+FEFF",
			},
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

// What costs Cedar more than its length is either refused or loaded in no time, and
// does not end the program.
func TestLoadBounds(t *testing.T) {
	const before, after = `@id("long") @reason("Long.") permit (principal, action, resource) when { `, " };"
	fill := func(in, piece, more string) string {
		n := (policy.MaxFile - len(before) - len(after) - len(in)) / (len(piece) + len(more))
		return before + strings.Repeat(piece, n) + in + strings.Repeat(more, n) + after
	}
	nest := func(n int) string { return before + strings.Repeat("(", n) + "true" + strings.Repeat(")", n) + after }
	many := func(n int) string {
		var text strings.Builder
		for i := range n {
			fmt.Fprintf(&text, "@id(%q)@reason(\"r\")permit(principal,action,resource);\n", strconv.Itoa(i))
		}
		return text.String()
	}
	files := func(n int) []policy.Source {
		list := make([]policy.Source, n)
		for i := range list {
			list[i] = policy.Source{Name: fmt.Sprintf("%03d.cedar", i), Text: strings.Replace(permitAll, "all", strconv.Itoa(i), 1)}
		}
		return list
	}
	one := func(text string) []policy.Source { return []policy.Source{{Name: "a.cedar", Text: text}} }
	const nested = "there are more than 64 brackets within each other"
	for name, test := range map[string]struct {
		sources []policy.Source
		fault   string // the first one's beginning, "" for none
	}{
		"nested":             {one(nest(policy.MaxNesting - 1)), ""}, // the condition has braces of its own
		"nested more":        {one(nest(policy.MaxNesting)), "a.cedar:1:137: " + nested},
		"brackets":           {one(fill("true", "(", ")")), "a.cedar:1:137: " + nested},
		"sets":               {one(fill("true", "[", "]")), "a.cedar:1:137: " + nested},
		"not":                {one(fill("true", "!", "")), ""},
		"and":                {one(fill("true", "true && ", "")), ""},
		"has":                {one(fill("true", "principal has unit && ", "")), ""},
		"if":                 {one(fill("true", "if true then true else ", "")), ""},
		"unknown attributes": {one(fill("true", "principal.x == 1 || ", "")), "a.cedar:1:84: attribute `x`"},
		"a long path":        {one(fill("principal", "", ".x")), "a.cedar:1:74: attribute `x`"},
		"many policies":      {one(many(policy.MaxPolicies)), ""},
		"too many policies":  {one(many(policy.MaxPolicies + 1)), "a.cedar: there are more than 500 policies"},
		"many files":         {files(policy.MaxFiles), ""},
		"too many files":     {files(policy.MaxFiles + 1), "064.cedar: there are more than 64 files"},
	} {
		t.Run(name, func(t *testing.T) {
			engine, err := policy.Load(test.sources)
			if test.fault == "" {
				if err != nil {
					t.Fatal(err)
				}
				if _, err := engine.Decide(t.Context(), request()); err != nil {
					t.Error(err)
				}
				return
			}
			var faults policy.Faults
			if !errors.As(err, &faults) || len(faults) > 100 || !strings.HasPrefix(faults[0].String(), test.fault) {
				t.Errorf("error %.300v\nwant %s", err, test.fault)
			}
		})
	}
}

// Any text is either an engine that decides or faults that say where. An engine never
// permits where one of its policies forbids, and it always decides the same.
func FuzzLoad(f *testing.F) {
	shipped, err := policy.Shipped()
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range shipped {
		f.Add(s.Text)
	}
	for _, seed := range []string{
		"", permitAll, ownUnit, permitAll + permitAll, permitAll + strings.Replace(ownUnit, "permit", "forbid", 1),
		`@id("a") @reason("b") permit (principal, action, resource) when { ` + strings.Repeat("(", 40) + "true" + strings.Repeat(")", 40) + " };",
		`@id("a") @reason("b") permit (principal == ?principal, action, resource);`,
		`@id("a") @reason("b") permit (principal, action in [Action::"unblock"], resource) when { context.reason like "*\*" };`,
		`@id("a") @reason("b") @approval("supervisor") forbid (principal, action, resource) when { if context has x then [{a: 1}].contains(context.time) else -1 == ip("::") };`,
		"permit\x00(", "@id(\"\xff\")", "@id @id(\"a\") permit // \"\n(", "@",
	} {
		f.Add(seed)
	}
	always := []policy.Source{{Name: "always.cedar", Text: strings.Replace(permitAll, `"all"`, `"always of the fuzz test"`, 1)}}
	f.Fuzz(func(t *testing.T, text string) {
		fuzzed := policy.Source{Name: "fuzz.cedar", Text: text}
		// With a policy that permits everything, text that only forbids loads too.
		engine, err := policy.Load(append(always, fuzzed))
		var faults policy.Faults
		if err != nil {
			if !errors.As(err, &faults) || len(faults) == 0 {
				t.Fatalf("error %v is not faults", err)
			}
			for _, f := range faults {
				if f.File != "fuzz.cedar" || f.What == "" || f.Line > strings.Count(text, "\n")+1 || (f.Line == 0) != (f.Column == 0) {
					t.Errorf("fault %+v names no place in the text", f)
				}
			}
			if again := faultsOf(append(always, fuzzed)); again.Error() != err.Error() {
				t.Errorf("faults differ from one time to another:\n%v\n%v", err, again)
			}
			return
		}
		alone, err := policy.Load([]policy.Source{fuzzed})
		if err != nil {
			alone = engine
		}
		forbids := make(map[string]bool)
		for _, p := range engine.Policies() {
			forbids[p.ID] = !p.Permits
		}
		for _, r := range []policy.Request{request(), everything()} {
			got, err := engine.Decide(t.Context(), r)
			again, againErr := engine.Decide(t.Context(), r)
			if diff := cmp.Diff(got, again); diff != "" || fmt.Sprint(err) != fmt.Sprint(againErr) {
				t.Errorf("decides differently: %s, %v, %v", diff, err, againErr)
			}
			if err != nil {
				if got.Allow {
					t.Errorf("allowed with error %v", err)
				}
				continue
			}
			if got.Why == "" {
				t.Errorf("decision %+v gives no reason", got)
			}
			for _, id := range got.Policies {
				if forbids[id] == got.Allow {
					t.Errorf("allow %v by %s, of which forbid is %v", got.Allow, id, forbids[id])
				}
			}
			// All that denies now is forbids, and those deny whatever else permits.
			if own, err := alone.Decide(t.Context(), r); err == nil && own.Allow && !got.Allow {
				t.Errorf("permitted although %v forbid", got.Policies)
			}
		}
	})
}

func faultsOf(sources []policy.Source) error {
	_, err := policy.Load(sources)
	return err
}
