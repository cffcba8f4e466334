package policy

import (
	_ "embed" // the schema's text
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
)

//go:embed latchkey.cedarschema
var schemaText string

// The words of latchkey.cedarschema that the code names.
const (
	operatorType cedar.EntityType = "Operator"
	clientType   cedar.EntityType = "Client"
	cardType     cedar.EntityType = "Card"
	cardTypeType cedar.EntityType = "CardType"

	verificationType cedar.EntityType = "Verification"
	meansType        cedar.EntityType = "Means"
)

func unblockAction() cedar.EntityUID { return cedar.NewEntityUID("Action", "unblock") }
func selfAction() cedar.EntityUID    { return cedar.NewEntityUID("Action", "unblock-self") }
func viewAction() cedar.EntityUID    { return cedar.NewEntityUID("Action", "view") }

// actions are all of them.
func actions() []cedar.EntityUID {
	return []cedar.EntityUID{unblockAction(), selfAction(), viewAction()}
}

// rules checks policies against the schema.
type rules struct {
	schema    *resolved.Schema
	validator *validate.Validator
}

func newRules() (*rules, error) {
	var s schema.Schema
	s.SetFilename("latchkey.cedarschema")
	if err := s.UnmarshalCedar([]byte(schemaText)); err != nil {
		return nil, fmt.Errorf("parse policy schema: %w", err)
	}
	r, err := s.Resolve()
	if err != nil {
		return nil, fmt.Errorf("resolve policy schema: %w", err)
	}
	return &rules{r, validate.New(r, validate.WithStrict())}, nil
}

// faults lists, sorted, what a policy asks for and the schema does not know.
func (r *rules) faults(p *cedar.Policy) []string {
	tree := (*ast.Policy)(p.AST())
	faults := each(r.validator.Policy("", tree))
	if len(faults) > 1 {
		// It only follows from what is unknown in the scope.
		faults = slices.DeleteFunc(faults, func(f string) bool { return strings.HasPrefix(f, "unable to find an applicable action") })
	}
	for i, f := range faults {
		faults[i] = r.plain(f)
	}
	for _, condition := range tree.Conditions {
		ast.Inspect(ast.NewNode(condition.Body), func(n ast.IsNode) bool {
			switch n := n.(type) {
			case ast.NodeTypeHas:
				if fault := r.has(tree, n); fault != "" {
					faults = append(faults, fault)
				}
			case ast.NodeValue:
				if fault := r.value(n); fault != "" {
					faults = append(faults, fault)
				}
			}
			return true
		})
	}
	slices.Sort(faults) // the validator has no order of its own
	return slices.Compact(faults)
}

// What Cedar says of an attribute that an action's context does not have, and of one
// that may be absent.
var (
	inContext = regexp.MustCompile("^attribute `(.+)` in context for Action::\"(.+)\" not found$")
	optionals = regexp.MustCompile("^unable to guarantee safety of access to optional attribute `((?:.*\\.)?(.+?))`(.*)$")
)

// plain says of such a fault what to do. A policy that names no action is about all.
func (r *rules) plain(fault string) string {
	if m := optionals.FindStringSubmatch(fault); m != nil {
		return fmt.Sprintf("attribute `%s`%s may be absent; ask for it first, as in: ... has %s && ...", m[1], m[3], m[2])
	}
	m := inContext.FindStringSubmatch(fault)
	if m == nil {
		return fault
	}
	for _, action := range actions() {
		_, known := r.schema.Actions[action].AppliesTo.Context[cedar.String(m[1])]
		if known && string(action.ID) != m[2] {
			return fmt.Sprintf("attribute `%s` is in the context of action %s only; say in the policy: action == %s", m[1], action.ID, action)
		}
	}
	return fmt.Sprintf("attribute `%s` in context not found", m[1])
}

// has says what is wrong with asking whether an attribute is there. Cedar takes
// "principal has unti" for false and passes over what it guards, so a forbid with a
// typing error would never forbid.
func (r *rules) has(p *ast.Policy, n ast.NodeTypeHas) string {
	known, told := false, false
	for _, action := range actions() {
		if !applies(p, action) {
			continue
		}
		if shape := r.shape(action, n.Arg); shape != nil {
			_, has := shape[n.Value]
			known, told = known || has, true
		}
	}
	if told && !known {
		return fmt.Sprintf("attribute %#q is asked for with has, and is not in the schema", string(n.Value))
	}
	return ""
}

// value says what is wrong with a word of a list that the schema closes. Cedar takes
// one that is not in the list for unequal to all that are.
func (r *rules) value(n ast.NodeValue) string {
	uid, ok := n.Value.(cedar.EntityUID)
	if !ok {
		return ""
	}
	list, closed := r.schema.Enums[uid.Type]
	if !closed || slices.Contains(list.Values, uid) {
		return ""
	}
	known := make([]string, len(list.Values))
	for i, v := range list.Values {
		known[i] = string(v.ID)
	}
	return fmt.Sprintf("`%s` is not one of: %s", uid, strings.Join(known, "; "))
}

// applies tells whether the policy's scope takes the action in.
func applies(p *ast.Policy, action cedar.EntityUID) bool {
	switch scope := p.Action.(type) {
	case ast.ScopeTypeEq:
		return scope.Entity == action
	case ast.ScopeTypeIn:
		return scope.Entity == action
	case ast.ScopeTypeInSet:
		return slices.Contains(scope.Entities, action)
	}
	return true
}

// asks tells whether the policy reads the attribute of the context.
func asks(p *ast.Policy, attribute cedar.String) bool {
	found := false
	for _, condition := range p.Conditions {
		ast.Inspect(ast.NewNode(condition.Body), func(n ast.IsNode) bool {
			if access, ok := n.(ast.NodeTypeAccess); ok && access.Value == attribute {
				if v, ok := access.Arg.(ast.NodeTypeVariable); ok && v.Name == "context" {
					found = true
				}
			}
			return !found
		})
	}
	return found
}

// shape is the attributes of what an expression gives in an action, or nil where it
// gives neither an entity nor a record that can be told from here.
func (r *rules) shape(action cedar.EntityUID, n ast.IsNode) resolved.RecordType {
	switch n := n.(type) {
	case ast.NodeTypeVariable:
		switch n.Name {
		case "principal":
			return r.schema.Entities[operatorType].Shape
		case "resource":
			return r.schema.Entities[cardType].Shape
		case "context":
			return r.schema.Actions[action].AppliesTo.Context
		}
	case ast.NodeTypeAccess:
		switch t := r.shape(action, n.Arg)[n.Value].Type.(type) {
		case resolved.RecordType:
			return t
		case resolved.EntityType:
			return r.schema.Entities[cedar.EntityType(t)].Shape
		}
	}
	return nil
}

// each takes joined errors apart.
func each(err error) []string {
	var joined interface{ Unwrap() []error }
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &joined):
		return []string{err.Error()}
	}
	var texts []string
	for _, e := range joined.Unwrap() {
		texts = append(texts, e.Error())
	}
	return texts
}
