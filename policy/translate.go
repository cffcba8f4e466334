package policy

import (
	"net/netip"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"latchkey/card"
	"latchkey/identity"
)

// entities are those of one request: what cedar.EntityGetter finds in a map, without
// the map.
type entities struct {
	operator, approver, client, kind, card cedar.Entity
}

// Get implements cedar.EntityGetter.
func (e *entities) Get(uid cedar.EntityUID) (cedar.Entity, bool) {
	var found *cedar.Entity
	switch uid.Type {
	case operatorType:
		if found = &e.operator; uid != found.UID {
			found = &e.approver
		}
	case clientType:
		found = &e.client
	case cardTypeType:
		found = &e.kind
	case cardType:
		found = &e.card
	default:
		return cedar.Entity{}, false
	}
	return *found, uid == found.UID
}

// words are the attributes that the policies for an action ask for; nil is all of
// them. Others need not be built, which is most of what a decision costs.
type words map[cedar.String]bool

// asked gathers the attributes that policies ask for. Where one writes a record down,
// it may compare it with a whole one, so then nothing is left out.
func asked(policies []named) words {
	asked, whole := make(words), false
	for _, p := range policies {
		for _, condition := range (*ast.Policy)(p.policy.AST()).Conditions {
			ast.Inspect(ast.NewNode(condition.Body), func(n ast.IsNode) bool {
				switch n := n.(type) {
				case ast.NodeTypeAccess:
					asked[n.Value] = true
				case ast.NodeTypeHas:
					asked[n.Value] = true
				case ast.NodeTypeRecord:
					whole = true
				case ast.NodeValue:
					_, record := n.Value.(cedar.Record)
					whole = whole || record
				}
				return true
			})
		}
	}
	if whole {
		return nil
	}
	return asked
}

func (w words) has(name cedar.String) bool { return w == nil || w[name] }

// The rest put an attribute where it is asked for.

func (w words) text(m cedar.RecordMap, name cedar.String, s string) {
	if w.has(name) {
		m[name] = cedar.String(s)
	}
}

// optional leaves out what is empty.
func (w words) optional(m cedar.RecordMap, name cedar.String, s string) {
	if s != "" {
		w.text(m, name, s)
	}
}

func (w words) number(m cedar.RecordMap, name cedar.String, n int64) {
	if w.has(name) {
		m[name] = cedar.Long(n)
	}
}

func (w words) flag(m cedar.RecordMap, name cedar.String, b bool) {
	if w.has(name) {
		m[name] = cedar.Boolean(b)
	}
}

func set[T ~string](w words, m cedar.RecordMap, name cedar.String, list []T) {
	if !w.has(name) {
		return
	}
	values := make([]cedar.Value, len(list))
	for i, t := range list {
		values[i] = cedar.String(t)
	}
	m[name] = cedar.NewSet(values...)
}

// translate puts a request to unblock into the words of latchkey.cedarschema.
func (w words) translate(r Request) (cedar.Request, *entities) {
	request, found := w.translateView(ViewRequest{Operator: r.Operator, Client: r.Client, Card: r.Card, Type: r.Type})
	context := make(cedar.RecordMap, 11)
	request.Action = selfAction()
	if !r.Self {
		request.Action = unblockAction()
		w.asOperator(context, found, r)
	}
	w.number(context, "unconfirmed", int64(r.Unconfirmed))
	if w.has("client") {
		context["client"] = found.client.UID
	}
	if w.has("authentication") {
		context["authentication"] = w.authentication(r)
	}
	if w.has("time") {
		context["time"] = w.clock(r.Now)
	}
	if r.Address.IsValid() && w.has("address") {
		a := r.Address.Unmap().WithZone("")
		context["address"] = cedar.IPAddr(netip.PrefixFrom(a, a.BitLen()))
	}
	request.Context = cedar.NewRecord(context)
	return request, found
}

// asOperator adds what only an operator says.
func (w words) asOperator(context cedar.RecordMap, found *entities, r Request) {
	w.text(context, "reason", strings.TrimSpace(r.Reason))
	w.flag(context, "override", r.Override)
	w.optional(context, "ticket", strings.TrimSpace(r.Ticket))
	if r.Verification != "" && w.has("verification") {
		context["verification"] = cedar.NewEntityUID(verificationType, cedar.String(r.Verification))
	}
	// Nobody is their own second person, whatever a policy would think of it.
	if r.Approver != nil && !strings.EqualFold(r.Approver.ID, r.Operator.ID) && w.has("approver") {
		found.approver = w.person(*r.Approver)
		context["approver"] = found.approver.UID
	}
}

// translateView does the same for a request to see a card.
func (w words) translateView(r ViewRequest) (cedar.Request, *entities) {
	client := cedar.NewEntityUID(clientType, cedar.String(r.Client))
	kind := cedar.NewEntityUID(cardTypeType, cedar.String(r.Card.Type))
	found := &entities{operator: w.person(r.Operator), card: w.card(r.Card, kind)}
	var context cedar.RecordMap
	if w.has("client") {
		m := make(cedar.RecordMap, 1)
		w.text(m, "name", r.Client)
		found.client = entity(client, m)
		context = cedar.RecordMap{"client": client}
	}
	if w.has("type") {
		m := make(cedar.RecordMap, 3)
		w.text(m, "id", r.Card.Type)
		w.text(m, "name", r.Type.Name)
		w.text(m, "profile", r.Type.Profile)
		found.kind = entity(kind, m)
	}
	return cedar.Request{
		Principal: found.operator.UID,
		Action:    viewAction(),
		Resource:  found.card.UID,
		Context:   cedar.NewRecord(context),
	}, found
}

func (w words) person(p identity.Person) cedar.Entity {
	m := make(cedar.RecordMap, 7)
	w.text(m, "id", p.ID)
	w.text(m, "name", p.Name)
	set(w, m, "roles", p.Roles)
	set(w, m, "groups", p.Groups)
	w.optional(m, "unit", p.Unit)
	w.optional(m, "employee_number", p.EmployeeNumber)
	email := p.Email
	if email == "" && strings.Contains(p.ID, "@") {
		email = p.ID
	}
	w.optional(m, "email", strings.ToLower(email))
	return entity(cedar.NewEntityUID(operatorType, cedar.String(p.ID)), m)
}

func (w words) card(c card.Card, kind cedar.EntityUID) cedar.Entity {
	m := make(cedar.RecordMap, 7)
	w.text(m, "serial", c.Serial)
	w.text(m, "state", c.State)
	w.optional(m, "unit", c.Unit)
	w.optional(m, "assurance", c.Assurance)
	w.optional(m, "source", c.Source)
	if w.has("type") {
		m["type"] = kind
	}
	if w.has("holder") {
		m["holder"] = w.holder(c.Holder)
	}
	return entity(cedar.NewEntityUID(cardType, cedar.String(c.Serial)), m)
}

func (w words) holder(h card.Holder) cedar.Record {
	m := make(cedar.RecordMap, 7)
	w.text(m, "id", h.ID)
	set(w, m, "groups", h.Groups)
	w.text(m, "state", h.State)
	w.flag(m, "privileged", h.Privileged)
	w.optional(m, "email", strings.ToLower(h.Email))
	w.optional(m, "employee_number", h.EmployeeNumber)
	w.optional(m, "unit", h.Unit)
	return cedar.NewRecord(m)
}

// skew is how far the clock of whoever authenticated the operator may be ahead.
const skew = time.Minute

func (w words) authentication(r Request) cedar.Record {
	m := make(cedar.RecordMap, 3)
	w.flag(m, "mfa", r.Operator.MFA)
	if r.Means != "" && w.has("means") {
		m["means"] = cedar.NewEntityUID(meansType, cedar.String(r.Means))
	}
	if r.Operator.MFA && !r.Operator.AuthenticatedAt.IsZero() {
		if age := r.Now.Sub(r.Operator.AuthenticatedAt); age >= -skew {
			w.number(m, "mfa_age", int64(max(0, age)/time.Second))
		}
	}
	return cedar.NewRecord(m)
}

func (w words) clock(now time.Time) cedar.Record {
	m := make(cedar.RecordMap, 4)
	w.number(m, "hour", int64(now.Hour()))
	w.number(m, "minute", int64(now.Minute()))
	w.number(m, "weekday", int64((now.Weekday()+6)%7+1))
	w.text(m, "date", now.Format(time.DateOnly))
	return cedar.NewRecord(m)
}

func entity(uid cedar.EntityUID, attributes cedar.RecordMap) cedar.Entity {
	return cedar.Entity{UID: uid, Attributes: cedar.NewRecord(attributes)}
}
