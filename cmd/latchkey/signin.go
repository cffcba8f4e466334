package main

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"go.uber.org/zap"

	"latchkey/config"
	"latchkey/identity"
	"latchkey/identity/oidc"
	"latchkey/identity/people"
	"latchkey/server"
	"latchkey/server/console"
	"latchkey/server/session"
	"latchkey/store"
)

// sessionsOf has people sign in to the console where that is configured, and is nil
// where it is not. Its tokens are for a client of their own, so the provider's keys
// are followed apart from those of the API's tokens.
func sessionsOf(ctx context.Context, c *config.Config, known people.Registry, s *store.Store, log *zap.Logger) (*session.Sessions, error) {
	if c.Console == nil {
		return nil, nil
	}
	secret, err := c.Console.Secret()
	if err != nil {
		return nil, err
	}
	settings := *c.OIDC
	settings.Audience = c.Console.ClientID
	provider, err := followed(ctx, settings, log)
	if err != nil {
		return nil, err
	}
	callback, err := url.Parse(c.Console.RedirectURL)
	if err != nil {
		return nil, err
	}
	return session.New(session.Config{
		Flow:  provider.Code(oidc.SignIn{ClientSecret: secret, Redirect: c.Console.RedirectURL, Scopes: c.Console.Scopes}),
		Store: s, People: known, Admit: func(p identity.Person) bool { return server.MayUseConsole(p) || c.Holders.Of(p) != "" }, Idle: c.Console.Idle, Lifetime: c.Console.Lifetime,
		Home: console.Path, Origin: callback.Scheme + "://" + callback.Host,
		Request: func(r *http.Request) (id, address string) {
			caller, _ := server.CallerOf(r)
			return caller.RequestID, caller.Address
		},
		Now: time.Now,
	})
}
