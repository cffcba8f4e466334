package server

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/identity"
)

// The table of routes and the description say the same: what can be called, and
// by whom.
func TestRoutes(t *testing.T) {
	described := map[string][]identity.Role{}
	for place, op := range loadContract(t).operations() {
		node, ok := op.Extensions.Get("x-roles")
		if !ok {
			t.Errorf("%s has no x-roles", place)
			continue
		}
		var roles []identity.Role
		if err := node.Decode(&roles); err != nil {
			t.Errorf("%s: x-roles: %v", place, err)
		}
		slices.Sort(roles)
		described[place] = roles
		if public := op.Security != nil && len(op.Security) == 0; public != (len(roles) == 0) {
			t.Errorf("%s: public is %v, but x-roles is %v", place, public, roles)
		}
		if op.OperationId == "" || op.Summary == "" {
			t.Errorf("%s has no operationId or no summary", place)
		}
	}
	served := map[string][]identity.Role{}
	for _, r := range (&Server{}).routes() {
		roles := slices.Clone(r.roles)
		slices.Sort(roles)
		served[r.method+" "+r.path] = append([]identity.Role{}, roles...)
	}
	if diff := cmp.Diff(described, served); diff != "" {
		t.Errorf("openapi.yaml (-) and the routes (+) differ:\n%s", diff)
	}
}
