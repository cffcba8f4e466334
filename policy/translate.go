package policy

import (
	"net/netip"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go"

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

// translate puts a request to unblock into the words of latchkey.cedarschema.
func translate(r Request) (cedar.Request, *entities) {
	request, found := translateView(ViewRequest{Operator: r.Operator, Client: r.Client, Card: r.Card, Type: r.Type})
	context := cedar.RecordMap{
		"reason":         cedar.String(strings.TrimSpace(r.Reason)),
		"unconfirmed":    cedar.Long(r.Unconfirmed),
		"override":       cedar.Boolean(r.Override),
		"authentication": authentication(r),
		"time":           clock(r.Now),
		"client":         found.client.UID,
	}
	optional(context, "ticket", strings.TrimSpace(r.Ticket))
	if r.Verification != "" {
		context["verification"] = cedar.NewEntityUID(verificationType, cedar.String(r.Verification))
	}
	// Nobody is their own second person, whatever a policy would think of it.
	if r.Approver != nil && r.Approver.ID != r.Operator.ID {
		found.approver = person(*r.Approver)
		context["approver"] = found.approver.UID
	}
	if r.Address.IsValid() {
		a := r.Address.Unmap().WithZone("")
		context["address"] = cedar.IPAddr(netip.PrefixFrom(a, a.BitLen()))
	}
	request.Action = unblockAction()
	request.Context = cedar.NewRecord(context)
	return request, found
}

// translateView does the same for a request to see a card.
func translateView(r ViewRequest) (cedar.Request, *entities) {
	client := cedar.NewEntityUID(clientType, cedar.String(r.Client))
	kind := cedar.NewEntityUID(cardTypeType, cedar.String(r.Card.Type))
	found := &entities{
		operator: person(r.Operator),
		client:   entity(client, cedar.RecordMap{"name": cedar.String(r.Client)}),
		kind: entity(kind, cedar.RecordMap{
			"id":      cedar.String(r.Card.Type),
			"name":    cedar.String(r.Type.Name),
			"profile": cedar.String(r.Type.Profile),
		}),
		card: cardEntity(r.Card, kind),
	}
	return cedar.Request{
		Principal: found.operator.UID,
		Action:    viewAction(),
		Resource:  found.card.UID,
		Context:   cedar.NewRecord(cedar.RecordMap{"client": client}),
	}, found
}

func person(p identity.Person) cedar.Entity {
	attributes := cedar.RecordMap{
		"id":     cedar.String(p.ID),
		"name":   cedar.String(p.Name),
		"roles":  set(p.Roles),
		"groups": set(p.Groups),
	}
	optional(attributes, "unit", p.Unit)
	optional(attributes, "employee_number", p.EmployeeNumber)
	email := p.Email
	if email == "" && strings.Contains(p.ID, "@") {
		email = p.ID
	}
	optional(attributes, "email", strings.ToLower(email))
	return entity(cedar.NewEntityUID(operatorType, cedar.String(p.ID)), attributes)
}

func cardEntity(c card.Card, kind cedar.EntityUID) cedar.Entity {
	holder := cedar.RecordMap{
		"id":         cedar.String(c.Holder.ID),
		"groups":     set(c.Holder.Groups),
		"state":      cedar.String(c.Holder.State),
		"privileged": cedar.Boolean(c.Holder.Privileged),
	}
	optional(holder, "email", strings.ToLower(c.Holder.Email))
	optional(holder, "employee_number", c.Holder.EmployeeNumber)
	optional(holder, "unit", c.Holder.Unit)
	attributes := cedar.RecordMap{
		"serial": cedar.String(c.Serial),
		"type":   kind,
		"state":  cedar.String(c.State),
		"holder": cedar.NewRecord(holder),
	}
	optional(attributes, "unit", c.Unit)
	optional(attributes, "assurance", c.Assurance)
	optional(attributes, "source", c.Source)
	return entity(cedar.NewEntityUID(cardType, cedar.String(c.Serial)), attributes)
}

// skew is how far the clock of whoever authenticated the operator may be ahead.
const skew = time.Minute

func authentication(r Request) cedar.Record {
	attributes := cedar.RecordMap{"mfa": cedar.Boolean(r.Operator.MFA)}
	if r.Means != "" {
		attributes["means"] = cedar.NewEntityUID(meansType, cedar.String(r.Means))
	}
	if r.Operator.MFA && !r.Operator.AuthenticatedAt.IsZero() {
		if age := r.Now.Sub(r.Operator.AuthenticatedAt); age >= -skew {
			attributes["mfa_age"] = cedar.Long(max(0, age) / time.Second)
		}
	}
	return cedar.NewRecord(attributes)
}

func clock(now time.Time) cedar.Record {
	return cedar.NewRecord(cedar.RecordMap{
		"hour":    cedar.Long(now.Hour()),
		"minute":  cedar.Long(now.Minute()),
		"weekday": cedar.Long((now.Weekday()+6)%7 + 1),
		"date":    cedar.String(now.Format(time.DateOnly)),
	})
}

func entity(uid cedar.EntityUID, attributes cedar.RecordMap) cedar.Entity {
	return cedar.Entity{UID: uid, Attributes: cedar.NewRecord(attributes)}
}

// optional leaves out what is empty.
func optional(attributes cedar.RecordMap, name cedar.String, text string) {
	if text != "" {
		attributes[name] = cedar.String(text)
	}
}

func set[T ~string](texts []T) cedar.Set {
	values := make([]cedar.Value, len(texts))
	for i, t := range texts {
		values[i] = cedar.String(t)
	}
	return cedar.NewSet(values...)
}
