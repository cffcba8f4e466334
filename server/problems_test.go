package server

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"latchkey/server/api"
	"latchkey/unblock"
)

var update = flag.Bool("update", false, "write docs/problems.md anew")

// constants finds the string constants of a Go file whose names or types fit.
func constants(t *testing.T, file string, fits func(name string, typ ast.Expr) bool) []string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for i, name := range spec.Names {
			if i < len(spec.Values) && fits(name.Name, spec.Type) {
				value, err := strconv.Unquote(spec.Values[i].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				found = append(found, value)
			}
		}
		return true
	})
	return found
}

// isCode tells whether a constant is of a type named Code, of whatever package.
func isCode(_ string, typ ast.Expr) bool {
	if other, ok := typ.(*ast.SelectorExpr); ok {
		typ = other.Sel
	}
	ident, ok := typ.(*ast.Ident)
	return ok && ident.Name == "Code"
}

// custodyCodes lists the codes that officers are refused with.
func custodyCodes(t *testing.T) []string {
	return slices.Concat(constants(t, "../custody/refusal.go", isCode), constants(t, "../dualcontrol/refusal.go", isCode), constants(t, "../rulebook/refusal.go", isCode))
}

// Every code that the use case or the server can refuse with is in the table of
// problems, and the description lists the same codes.
func TestProblemTable(t *testing.T) {
	codes := constants(t, "../unblock/refusal.go", isCode)
	if len(codes) < 20 {
		t.Fatalf("only %d codes found in unblock", len(codes))
	}
	codes = append(codes, custodyCodes(t)...)
	codes = append(codes, constants(t, "problems.go", func(name string, _ ast.Expr) bool { return strings.HasPrefix(name, "code") })...)

	var table []string
	for _, p := range problems() {
		table = append(table, p.code)
		if http.StatusText(p.status) == "" || p.status < 400 || p.title == "" || !strings.HasSuffix(p.remedy, ".") {
			t.Errorf("problem is not complete: %+v", p)
		}
	}
	c := loadContract(t)
	schema, _ := c.model.Components.Schemas.Get("ProblemCode")
	var described []string
	for _, node := range schema.Schema().Enum {
		described = append(described, node.Value)
	}
	documentedSomewhere := map[string]bool{
		codeMethod:                     true,                                     // of no operation
		string(unblock.SelfServiceOff): true, string(unblock.SecondFactor): true, // of the console's pages alone
	}
	for _, op := range c.operations() {
		for _, e := range documented(op) {
			documentedSomewhere[e.code] = true
		}
	}
	for code := range c.model.Components.Examples.FromOldest() {
		if example, _ := c.model.Components.Examples.Get(code); slices.Contains(table, code) {
			var p api.Problem
			if err := example.Value.Decode(&p); err != nil {
				t.Error(err)
			}
			known, _ := problemOf(code)
			if p.Code != code || p.Status != known.status || p.Title != known.title || p.Type != "/problems/"+code {
				t.Errorf("the example of %s is of %s, %d %q", code, p.Code, p.Status, p.Title)
			}
		}
	}
	for _, code := range table {
		if !documentedSomewhere[code] {
			t.Errorf("no operation documents %s", code)
		}
	}
	for name, list := range map[string][]string{"the constants": codes, "openapi.yaml": described} {
		// Some refusals are those of both rooms.
		a, b := slices.Compact(slices.Sorted(slices.Values(list))), slices.Sorted(slices.Values(table))
		if !slices.Equal(a, b) {
			t.Errorf("%s:\n%q\nthe table:\n%q", name, a, b)
		}
	}
}

// docs/problems.md is the table, for people. `go test ./server -run Problems -update`
// writes it.
func TestProblemsPage(t *testing.T) {
	const page = "../docs/problems.md"
	var text bytes.Buffer
	fmt.Fprint(&text, "# Problems\n\n"+
		"Every error of the API is an RFC 9457 problem document whose `type` is `/problems/` and the code.\n"+
		"The code is stable: act on it. The server tells the same at `/problems/CODE`.\n\n"+
		"| code | status | meaning | what to do |\n|---|---|---|---|\n")
	for _, p := range problems() {
		fmt.Fprintf(&text, "| `%s` | %d | %s | %s |\n", p.code, p.status, p.title, p.remedy)
	}
	if *update {
		if err := os.WriteFile(page, text.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	stands, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(stands, text.Bytes()) {
		t.Error("docs/problems.md is not the table in problems.go; run: go test ./server -run TestProblemsPage -update")
	}
}
