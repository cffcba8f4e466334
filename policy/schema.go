package policy

import (
	_ "embed" // the schema's text
	"errors"
	"fmt"
	"slices"

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
)

func unblockAction() cedar.EntityUID { return cedar.NewEntityUID("Action", "unblock") }
func viewAction() cedar.EntityUID    { return cedar.NewEntityUID("Action", "view") }

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
	for _, condition := range tree.Conditions {
		// Cedar takes "principal has unti" for false and passes over what it
		// guards, so a forbid with a typing error would never forbid.
		ast.Inspect(ast.NewNode(condition.Body), func(n ast.IsNode) bool {
			if has, ok := n.(ast.NodeTypeHas); ok {
				if shape := r.shape(has.Arg); shape != nil {
					if _, known := shape[has.Value]; !known {
						faults = append(faults, fmt.Sprintf("attribute %#q is asked for with has, and is not in the schema", string(has.Value)))
					}
				}
			}
			return true
		})
	}
	slices.Sort(faults) // the validator has no order of its own
	return faults
}

// shape is the attributes of what an expression gives, or nil where it gives
// neither an entity nor a record that can be told from here.
func (r *rules) shape(n ast.IsNode) resolved.RecordType {
	switch n := n.(type) {
	case ast.NodeTypeVariable:
		switch n.Name {
		case "principal":
			return r.schema.Entities[operatorType].Shape
		case "resource":
			return r.schema.Entities[cardType].Shape
		case "context":
			return r.schema.Actions[unblockAction()].AppliesTo.Context
		}
	case ast.NodeTypeAccess:
		switch t := r.shape(n.Arg)[n.Value].Type.(type) {
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
