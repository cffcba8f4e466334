package main

import (
	"crypto/tls"
	"fmt"
	"time"

	"latchkey/config"
	"latchkey/custody"
	"latchkey/lookup"
	"latchkey/registry"
	"latchkey/store"
	"latchkey/trust"
	"latchkey/unblock"
)

// cardsOf is where cards are found: in the store, or at the source that is
// configured.
func cardsOf(c *config.Config, s *store.Store, office *custody.Office) (unblock.Cards, error) {
	source := c.Cards.Source
	if source == nil {
		return s, nil
	}
	ca, err := trust.Read(source.CA)
	if err != nil {
		return nil, fmt.Errorf("cards.source.ca: %w", err)
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: ca.Pool()}
	if source.Certificate != "" {
		pair, err := tls.LoadX509KeyPair(source.Certificate, source.Key)
		if err != nil {
			return nil, fmt.Errorf("cards.source.certificate: %w", err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return lookup.New(lookup.Config{
		Name: source.Name, URL: source.URL, TLS: t, TokenFile: source.TokenFile, Timeout: source.Timeout, Fresh: source.Fresh,
		Directory: s, Now: time.Now,
		Registry: &registry.Registry{
			Cards: s, Profiles: c, Keys: office, CardStates: c.Cards.States, HolderStates: c.Cards.HolderStates, Now: time.Now,
		},
	})
}
