package server

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pb33f/libopenapi/datamodel/high/base"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"

	"latchkey/server/api"
)

// privileged are names that a body might try beside those of the description's
// own schemas.
func privileged() []string {
	return []string{
		"revision", "approved", "approver", "approvals", "role", "roles", "admin", "is_admin", "means", "delegation", "mfa", "on_behalf_of",
		"updated_by", "synced_at", "source", "unconfirmed", "enabled", "__proto__", "constructor", "Operator", "OPERATOR", "operator ", "oper\u0430tor",
	}
}

// fieldsOf are the names of all fields of all schemas.
func (c *contract) fieldsOf() []string {
	names := map[string]bool{}
	for _, n := range privileged() {
		names[n] = true
	}
	for _, schema := range c.model.Components.Schemas.FromOldest() {
		for name := range schema.Schema().Properties.FromOldest() {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// objects gives every object of a body with its schema: the body itself, and what
// the description says is an object within it with fields of its own.
func objects(schema *base.Schema, body map[string]any, visit func(*base.Schema, map[string]any)) {
	if schema.AdditionalProperties == nil || schema.AdditionalProperties.IsA() || schema.AdditionalProperties.B {
		return
	}
	visit(schema, body)
	for name, property := range schema.Properties.FromOldest() {
		if inner, ok := body[name].(map[string]any); ok {
			objects(property.Schema(), inner, visit)
		}
	}
}

// bodyOf is the example's JSON and its schema. The lines of an NDJSON body are text
// to the description; what they are is known here.
func (c *contract) bodyOf(t *testing.T, op *v3.Operation, e example) (*base.Schema, map[string]any) {
	t.Helper()
	schema := op.RequestBody.Content.First().Value().Schema.Schema()
	if e.media == api.NDJSON {
		line, ok := c.model.Components.Schemas.Get(map[string]string{"importCards": "CardPut", "importKeys": "WrappedKey"}[op.OperationId])
		if !ok {
			t.Fatalf("%s: of which schema are its lines?", op.OperationId)
		}
		schema = line.Schema()
		e.body, _, _ = strings.Cut(e.body, "\n")
	}
	var body map[string]any
	if err := json.Unmarshal([]byte(e.body), &body); err != nil {
		t.Fatalf("%s: %v", op.OperationId, err)
	}
	return schema, body
}

// No body takes a field that is not its own, at any depth, from whoever may send
// it: such a request is refused as a whole.
func TestMassAssignment(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Clients = append(c.Clients, roleClients()...) })
	w.stock()
	fields := w.contract.fieldsOf()
	lines := matrix(t)
	for place, op := range w.contract.operations() {
		if op.RequestBody == nil {
			continue
		}
		t.Run(place, func(t *testing.T) {
			e := exampleOf(t, place, op)
			schema, body := w.contract.bodyOf(t, op, e)
			if lines[place] == nil {
				t.Fatal("testdata/matrix.txt has no line for it")
			}
			var caller badge
			for role, may := range lines[place] {
				if may {
					caller.certificate = "role-" + role
				}
			}
			before, tried := w.onDisk(), 0
			objects(schema, body, func(s *base.Schema, object map[string]any) {
				for _, name := range fields {
					if _, own := s.Properties.Get(name); own {
						continue
					}
					tried++
					object[name] = "forged"
					text, err := json.Marshal(body)
					if err != nil {
						t.Fatal(err)
					}
					delete(object, name)
					e.body = string(text)
					a := w.send(e, caller)
					if e.media == api.NDJSON {
						var first api.ImportLine
						line, _, _ := strings.Cut(string(a.body), "\n")
						if err := json.Unmarshal([]byte(line), &first); err != nil || first.Result != "refused" || first.Problem == nil || first.Problem.Code != codeMalformed {
							t.Errorf("%q: %v %s", name, err, line)
						}
						continue
					}
					if p := a.problem(t); a.status != http.StatusBadRequest || p.Code != codeMalformed {
						t.Errorf("%q: %d %s", name, a.status, a.body)
					}
				}
			})
			if tried < len(privileged()) {
				t.Errorf("%d fields were tried; the schema says that others are let in", tried)
			}
			if after := w.onDisk(); after != before {
				t.Errorf("before\n%s\nafter\n%s", before, after)
			}
		})
	}
}

// What the server says of a thing and a body may hold, so that what was read can be
// sent back, is not believed.
func TestReadOnlyFields(t *testing.T) {
	w := newWorld(t)
	w.stock()
	bodies := map[string]struct {
		client, path string
		body         any
	}{
		"CardPut":     {"backend", "/v1/cards/NEW", aCard("gids")},
		"OperatorPut": {"admin", "/v1/operators/new", api.Operator{Name: "New", Roles: []string{"operator"}, State: "active"}},
		"CardTypePut": {"admin", "/v1/card-types/new", api.CardType{Name: "new", Profile: "gids", UnblockRemote: map[string]bool{}}},
	}
	for name, proxy := range w.contract.model.Components.Schemas.FromOldest() {
		forged := map[string]any{}
		for field, property := range proxy.Schema().Properties.FromOldest() {
			switch p := property.Schema(); {
			case p.ReadOnly == nil || !*p.ReadOnly:
			case p.Type[0] == "boolean":
				forged[field] = true
			case p.Format == "date-time":
				forged[field] = "2031-01-01T00:00:00Z"
			default:
				forged[field] = "forged"
			}
		}
		put, known := bodies[name]
		delete(bodies, name)
		if known != (len(forged) > 0) {
			t.Errorf("%s has %d fields that are read-only, and a body to forge them in: %v", name, len(forged), known)
		}
		if !known {
			continue
		}
		var honest, got map[string]any
		w.must(http.StatusCreated, nil, put.client, "PUT", put.path, put.body)
		w.must(http.StatusOK, &honest, put.client, "GET", put.path, nil)
		text, err := json.Marshal(put.body)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		maps.Copy(got, forged)
		w.must(http.StatusOK, nil, put.client, "PUT", put.path, got)
		clear(got)
		w.must(http.StatusOK, &got, put.client, "GET", put.path, nil)
		if diff := cmp.Diff(honest, got); diff != "" {
			t.Errorf("%s (-without +with forged fields):\n%s", name, diff)
		}
	}
	for name := range bodies {
		t.Errorf("openapi.yaml has no %s", name)
	}
}
