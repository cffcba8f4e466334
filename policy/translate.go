package policy

import (
	"strings"

	"github.com/cedar-policy/cedar-go"

	"latchkey/identity"
)

// translate puts a request to unblock into the words of latchkey.cedarschema.
func translate(r Request) (cedar.Request, cedar.EntityMap) {
	request, entities := translateView(ViewRequest{Operator: r.Operator, Client: r.Client, Card: r.Card, Type: r.Type})
	request.Action = unblockAction()
	request.Context = cedar.NewRecord(cedar.RecordMap{
		"reason":    cedar.String(strings.TrimSpace(r.Reason)),
		"delegated": cedar.Boolean(r.Means == identity.ByName || r.Means == identity.ByPassedToken),
		"client":    cedar.NewEntityUID(clientType, cedar.String(r.Client)),
	})
	return request, entities
}

// translateView does the same for a request to see a card.
func translateView(r ViewRequest) (cedar.Request, cedar.EntityMap) {
	operator := cedar.NewEntityUID(operatorType, cedar.String(r.Operator.ID))
	client := cedar.NewEntityUID(clientType, cedar.String(r.Client))
	kind := cedar.NewEntityUID(cardTypeType, cedar.String(r.Card.Type))
	card := cedar.NewEntityUID(cardType, cedar.String(r.Card.Serial))

	who := cedar.RecordMap{
		"id":     cedar.String(r.Operator.ID),
		"name":   cedar.String(r.Operator.Name),
		"roles":  set(r.Operator.Roles),
		"groups": set(r.Operator.Groups),
	}
	withUnit(who, r.Operator.Unit)
	holder := cedar.RecordMap{
		"id":     cedar.String(r.Card.Holder.ID),
		"groups": set(r.Card.Holder.Groups),
	}
	withUnit(holder, r.Card.Holder.Unit)

	entities := make(cedar.EntityMap)
	for uid, attributes := range map[cedar.EntityUID]cedar.RecordMap{
		operator: who,
		client:   {"name": cedar.String(r.Client)},
		kind: {
			"id":      cedar.String(r.Card.Type),
			"name":    cedar.String(r.Type.Name),
			"profile": cedar.String(r.Type.Profile),
		},
		card: {
			"serial": cedar.String(r.Card.Serial),
			"type":   kind,
			"state":  cedar.String(r.Card.State),
			"holder": cedar.NewRecord(holder),
		},
	} {
		entities[uid] = cedar.Entity{UID: uid, Attributes: cedar.NewRecord(attributes)}
	}
	return cedar.Request{
		Principal: operator,
		Action:    viewAction(),
		Resource:  card,
		Context: cedar.NewRecord(cedar.RecordMap{
			"client": client,
		}),
	}, entities
}

func withUnit(attributes cedar.RecordMap, unit string) {
	if unit != "" {
		attributes["unit"] = cedar.String(unit)
	}
}

func set[T ~string](texts []T) cedar.Set {
	values := make([]cedar.Value, len(texts))
	for i, t := range texts {
		values[i] = cedar.String(t)
	}
	return cedar.NewSet(values...)
}
