// Package lookup finds cards by asking the Identity Manager at the moment when they
// are needed, in place of synchronising all of them beforehand.
//
// What the source says is registered like any other card data, with the source's
// name, so that searches find it and an answer rests on what the store holds. That
// copy serves for as long as the configuration allows, on every node; after that
// the source is asked again. Where it cannot be asked, or says what cannot be
// right, the answer is ErrUnavailable and never the old copy: a card that was
// revoked must not be unblocked because a network is down.
package lookup

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/sync/singleflight"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/registry"
	"latchkey/store"
	"latchkey/unblock"
)

// Placeholder is what stands in the URL template for the card's serial number.
const Placeholder = "{serial}"

// The circuit: after so many failures in a row the source is left alone for a
// while, and then asked by one look-up at a time until one works.
const (
	failures = 5
	rest     = 5 * time.Second
)

// Directory keeps the copies, as *store.Store does.
type Directory interface {
	unblock.Cards
	PutCards(ctx context.Context, puts []store.CardPut, step *store.SyncStep) ([]store.Result, error)
}

// Config says whom to ask, and how. All fields are required but TokenFile.
type Config struct {
	// Name is what the source is called in card data and in the audit log.
	Name string
	// URL is the address of a card, with Placeholder in its path.
	URL string
	// TLS verifies the source and has the certificate, if any, that it is shown.
	TLS *tls.Config
	// TokenFile holds a bearer token. It is read for each look-up, so that it may
	// be replaced.
	TokenFile string
	// Timeout bounds one look-up. Fresh is how long its result serves, 0 for once.
	Timeout, Fresh time.Duration

	Directory Directory
	Registry  *registry.Registry
	Now       func() time.Time
}

// Source looks cards up. It is safe for concurrent use.
type Source struct {
	Config
	http    *http.Client
	circuit *gobreaker.CircuitBreaker[card.Card]
	flights singleflight.Group
}

var _ unblock.Cards = (*Source)(nil)

// New makes a source without asking it.
func New(c Config) (*Source, error) {
	if err := CheckURL(c.URL); err != nil {
		return nil, fmt.Errorf("card source %s: %w", c.Name, err)
	}
	return &Source{
		Config: c,
		http: &http.Client{
			Transport: &http.Transport{
				TLSClientConfig: c.TLS, TLSHandshakeTimeout: c.Timeout, ResponseHeaderTimeout: c.Timeout,
				MaxConnsPerHost: 32, MaxIdleConnsPerHost: 32, IdleConnTimeout: 90 * time.Second, MaxResponseHeaderBytes: 16 << 10,
				ForceAttemptHTTP2: true,
			},
			// Following would show the token, and which cards are asked for, to somebody else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		circuit: gobreaker.NewCircuitBreaker[card.Card](gobreaker.Settings{
			Name: c.Name, Timeout: rest,
			ReadyToTrip:  func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= failures },
			IsSuccessful: func(err error) bool { return err == nil || errors.Is(err, card.ErrNotFound) },
		}),
	}, nil
}

// CheckURL says what is wrong with a URL template.
func CheckURL(text string) error {
	u, err := url.Parse(strings.Replace(text, Placeholder, "SERIAL", 1))
	switch {
	case err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "":
		return fmt.Errorf("the address is not as in https://host/path/%s", Placeholder)
	case strings.Count(text, Placeholder) != 1 || !strings.Contains(u.Path, "SERIAL"):
		return fmt.Errorf("the address's path does not have %s once", Placeholder)
	}
	return nil
}

// Close closes the connections that are idle.
func (s *Source) Close() { s.http.CloseIdleConnections() }

// CardType finds a card type, which the source has no say in.
func (s *Source) CardType(ctx context.Context, id string) (card.Type, error) {
	return s.Directory.CardType(ctx, id)
}

// Card finds a card as its source has it now, or had it as long ago as Fresh
// allows. It gives card.ErrNotFound where the source knows no such card, and an
// error that is unblock.ErrCardSource where that is not known. Who asks for one
// card at the same time is told by one look-up.
func (s *Source) Card(ctx context.Context, serial string) (card.Card, error) {
	found, err := s.Dossier(ctx, unblock.Question{Card: serial})
	return found.Card, err
}

// Dossier tells besides what the directory knows of the card.
func (s *Source) Dossier(ctx context.Context, q unblock.Question) (unblock.Dossier, error) {
	// What is no serial number, or no name in a path, is not to become another path.
	if card.TextFault(q.Card, card.MaxSerial, true) != "" || q.Card == "." || q.Card == ".." {
		return unblock.Dossier{}, card.ErrNotFound
	}
	if s.Fresh > 0 {
		copied, err := s.Directory.Dossier(ctx, q)
		switch {
		case err == nil && copied.Card.Source == s.Name && s.fresh(copied.Card.SyncedAt):
			return copied, nil
		case err != nil && !errors.Is(err, card.ErrNotFound):
			return unblock.Dossier{}, err
		}
	}
	flight := s.flights.DoChan(q.Card, func() (any, error) {
		// The first to ask may give up while others wait.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.Timeout+writeTime)
		defer cancel()
		return nil, s.ask(ctx, q.Card)
	})
	select {
	case landed := <-flight:
		if landed.Err != nil {
			return unblock.Dossier{}, landed.Err
		}
		return s.Directory.Dossier(ctx, q)
	case <-ctx.Done():
		return unblock.Dossier{}, fmt.Errorf("%w: %w", unblock.ErrCardSource, ctx.Err())
	}
}

// writeTime is what the store is given, beside the source, to keep the copy.
const writeTime = 10 * time.Second

func (s *Source) fresh(at time.Time) bool {
	age := s.Now().Sub(at)
	return age >= 0 && age < s.Fresh
}

// ask has the source tell of the card, and keeps what it says.
func (s *Source) ask(ctx context.Context, serial string) error {
	said, err := s.circuit.Execute(func() (card.Card, error) {
		ctx, cancel := context.WithTimeout(ctx, s.Timeout)
		defer cancel()
		return s.fetch(ctx, serial)
	})
	switch {
	case errors.Is(err, card.ErrNotFound):
		return err
	case err != nil:
		return fmt.Errorf("%w: %s: %w", unblock.ErrCardSource, s.Name, err)
	}
	put, err := s.Registry.Batch(s.Name, audit.Entry{Client: s.Name}).Card(ctx, said)
	var no *registry.Refusal
	switch {
	case errors.As(err, &no) && no.Code != registry.Unavailable:
		return fmt.Errorf("%w: %s: the data of the card cannot be taken: %s %v", unblock.ErrCardSource, s.Name, no.Detail, no.Faults)
	case err != nil:
		return err
	}
	_, err = s.Directory.PutCards(ctx, []store.CardPut{put}, nil)
	return err
}

// token reads the bearer token, or gives an empty one where there is none.
func (s *Source) token() (string, error) {
	if s.TokenFile == "" {
		return "", nil
	}
	text, err := os.ReadFile(s.TokenFile)
	if err != nil {
		return "", fmt.Errorf("read the bearer token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", errors.New("read the bearer token: the file does not hold one line of it")
	}
	return token, nil
}
