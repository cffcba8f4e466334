package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"latchkey/server/api"
)

// sampleTypes are the card types of the demonstration; one has the use case off.
func sampleTypes() []api.CardType {
	on := map[string]bool{"active": true, "blocked": true}
	return []api.CardType{
		{ID: "employee", Name: "Employee card", Profile: "gids", UnblockRemote: on},
		{ID: "datacentre", Name: "Data centre card", Profile: "piv-aes", UnblockRemote: on},
		{ID: "contractor", Name: "Contractor card", Profile: "gids", UnblockRemote: map[string]bool{}},
		{ID: "virtual", Name: "Virtual card", Profile: "virtual", UnblockRemote: on},
	}
}

// sampleCards are the cards of the demonstration: two that can be unblocked, and
// one for each of several reasons why not.
func sampleCards() []api.Card {
	person := func(id, name, unit, state string, groups ...string) api.Holder {
		return api.Holder{ID: id, Name: name, Email: id + "@demo.example", Unit: unit, Groups: groups, State: state}
	}
	return []api.Card{
		{Serial: "DEMO-0001", Type: "employee", State: "active", Holder: person("u1", "Astrid Berg", "Sales", "active")},
		{Serial: "DEMO-0002", Type: "datacentre", State: "blocked", Holder: person("u2", "Bilal Karim", "Operations", "active")},
		{Serial: "DEMO-0003", Type: "employee", State: "revoked", Holder: person("u3", "Carla Nunes", "Sales", "active")},
		{Serial: "DEMO-0004", Type: "employee", State: "blocked", Holder: person("u4", "David Osei", "Sales", "inactive")},
		{Serial: "DEMO-0005", Type: "contractor", State: "blocked", Holder: person("u5", "Eva Novak", "Works", "active")},
		{Serial: "DEMO-0006", Type: "employee", State: "blocked", Holder: person("u6", "Farid Haddad", "Board", "active", "privileged")},
		{Serial: virtualSerial, Type: "virtual", State: "blocked", Holder: person("u0", "Vera Virtanen", "Demonstration", "active")},
	}
}

// register sees to it that the samples are there. Those that are stay as they
// are, and their data is confirmed, as a nightly synchronisation would do: the
// server acts on no data that is too old.
func register(ctx context.Context, c *api.Client) error {
	for _, t := range sampleTypes() {
		if _, err := c.CardType(ctx, t.ID); err == nil {
			continue
		} else if !notFound(err) {
			return err
		}
		if _, _, err := c.PutCardType(ctx, t); err != nil {
			return fmt.Errorf("register card type %s: %w", t.ID, err)
		}
	}
	for _, sample := range sampleCards() {
		kept, err := c.Card(ctx, sample.Serial)
		switch {
		case err == nil:
			sample = kept
		case !notFound(err):
			return err
		}
		if _, _, err := c.PutCard(ctx, sample); err != nil {
			return fmt.Errorf("register card %s: %w", sample.Serial, err)
		}
	}
	return nil
}

func notFound(err error) bool {
	var p *api.Problem
	return errors.As(err, &p) && p.Status == http.StatusNotFound
}
