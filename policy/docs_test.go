package policy

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
)

var update = flag.Bool("update", false, "write the table in docs/policies.md anew")

// The table of attributes in docs/policies.md is the schema's: its attributes, their
// types and what @doc says of them.
func TestDocs(t *testing.T) {
	const page, begin, end = "../docs/policies.md", "<!-- the schema's attributes -->\n", "<!-- end -->\n"
	rules, err := newRules()
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	table.WriteString("\n| attribute | type | meaning |\n|---|---|---|\n")
	rules.rows(t, &table, "principal", rules.schema.Entities[operatorType].Shape)
	rules.rows(t, &table, "resource", rules.schema.Entities[cardType].Shape)
	rules.rows(t, &table, "context", rules.schema.Actions[unblockAction()].AppliesTo.Context)
	table.WriteString("\n")

	kept, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(kept), begin)
	_, after, ok := strings.Cut(rest, end)
	if !ok {
		t.Fatalf("%s has no place for the table", page)
	}
	want := before + begin + table.String() + end + after
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != string(kept) {
		t.Errorf("%s is not what the schema says; run go test ./policy -run TestDocs -update", page)
	}
}

// rows writes a row for each attribute, and for those of records and entities in it.
func (r *rules) rows(t *testing.T, table *strings.Builder, path string, shape resolved.RecordType) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(shape)) {
		a := shape[name]
		doc := string(a.Annotations["doc"])
		if doc == "" {
			t.Errorf("%s.%s has no @doc in the schema", path, name)
		}
		full, kind, inner := path+"."+string(name), "", resolved.RecordType(nil)
		switch k := a.Type.(type) {
		case resolved.StringType:
			kind = "String"
		case resolved.LongType:
			kind = "Long"
		case resolved.BoolType:
			kind = "Bool"
		case resolved.SetType:
			kind = "Set of String"
		case resolved.ExtensionType:
			kind = string(k)
		case resolved.RecordType:
			kind, inner = "record", k
		case resolved.EntityType:
			kind = string(k)
			if list, ok := r.schema.Enums[cedar.EntityType(k)]; ok {
				var words []string
				for _, v := range list.Values {
					words = append(words, fmt.Sprintf("`%q`", v.ID))
				}
				doc += ": " + strings.Join(words, ", ")
			} else if k != resolved.EntityType(operatorType) {
				inner = r.schema.Entities[cedar.EntityType(k)].Shape
			}
		default:
			t.Errorf("%s is of a type that this table does not know: %T", full, k)
		}
		if a.Optional {
			kind += ", may be absent"
		}
		fmt.Fprintf(table, "| `%s` | %s | %s |\n", full, kind, doc)
		r.rows(t, table, full, inner)
	}
}
