package server

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/registry"
	"latchkey/server/api"
	"latchkey/store"
	"latchkey/unblock"
)

func (s *Server) getCard(c echo.Context) error {
	serial, err := parameter(c, "serial")
	if err != nil {
		return err
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	if caller := who(c); caller.Operator != nil {
		seen, err := s.Desk.Look(ctx, caller, serial)
		if err != nil {
			return err
		}
		return reply(c, http.StatusOK, cardBody(seen.Card))
	}
	found, err := s.Live.Card(ctx, serial)
	switch {
	case errors.Is(err, card.ErrNotFound):
		return refuse(string(unblock.CardUnknown), "No card has this serial number. Check it, character by character.")
	case err != nil:
		return unblock.CardUnread(err)
	}
	return reply(c, http.StatusOK, cardBody(found))
}

func (s *Server) findCards(c echo.Context) error {
	query, sync, faults := searchOf(c.Request().URL.RawQuery)
	if err := invalid(faults); err != nil {
		return err
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	if sync != "" {
		found, err := s.Directory.Sync(ctx, sync)
		if err != nil {
			return syncFailed(err)
		}
		query.Unconfirmed = &store.Unconfirmed{Source: found.Source, Since: found.StartedAt}
	}
	query.Keep = s.Desk.Sees(ctx, who(c))
	found, next, err := s.Directory.FindCards(ctx, query)
	var no *unblock.Refusal
	switch {
	case errors.As(err, &no):
		return no
	case errors.Is(err, store.ErrQuery): // the text was looked at, so it is the cursor
		return noSuchPage()
	case err != nil:
		return storeFailed(err)
	}
	page := api.Cards{Cards: make([]api.Card, len(found)), Next: next}
	for i, f := range found {
		page.Cards[i] = cardBody(f)
	}
	return reply(c, http.StatusOK, page)
}

// searchOf reads the query of a search. Sync is the synchronisation whose source's
// other cards are looked for, if it names one.
func searchOf(text string) (_ store.Query, sync string, _ []card.Fault) {
	values, limit, faults := pageOf(text, store.MaxCards, "q", "not_in_sync", "limit", "after")
	if values.Has("not_in_sync") && values.Has("q") {
		faults = append(faults, card.Fault{Field: "not_in_sync", Detail: "goes without q"})
	}
	query := store.Query{Text: values.Get("q"), After: values.Get("after"), Limit: limit}
	if wrong := card.TextFault(query.Text, card.MaxText, false); wrong != "" {
		faults = append(faults, card.Fault{Field: "q", Detail: wrong})
	} else if len(strings.Fields(query.Text)) > store.MaxTerms {
		faults = append(faults, card.Fault{Field: "q", Detail: fmt.Sprintf("has more than %d words", store.MaxTerms)})
	}
	return query, values.Get("not_in_sync"), faults
}

// pageOf reads the query of a page: parameters that are known, each at most once,
// and the limit among them, which goes up to most.
func pageOf(text string, most int, known ...string) (values url.Values, limit int, faults []card.Fault) {
	values, err := url.ParseQuery(text)
	if err != nil { // what could be read of it might find what nobody asked for
		return nil, 0, []card.Fault{{Field: "query", Detail: "is not name=value pairs, percent-encoded and joined with &"}}
	}
	fault := func(field, detail string) { faults = append(faults, card.Fault{Field: brief(field), Detail: detail}) }
	for name, list := range values {
		switch {
		case !slices.Contains(known, name):
			fault(name, "is not a parameter here; there are "+strings.Join(known, ", "))
		case len(list) > 1:
			fault(name, "is there twice")
		}
	}
	if !values.Has("limit") {
		return values, store.DefaultCards, faults
	}
	if limit, err = strconv.Atoi(values.Get("limit")); err != nil || limit < 1 || limit > most {
		fault("limit", fmt.Sprintf("must be from 1 to %d", most))
	}
	return values, limit, faults
}

// noSuchPage tells the caller of a cursor that is none.
func noSuchPage() error {
	return invalid([]card.Fault{{Field: "after", Detail: "is not one that came as next of a page; start again without it"}})
}

func (s *Server) putCard(c echo.Context) error {
	serial, err := parameter(c, "serial")
	if err != nil {
		return err
	}
	var body api.Card
	if err := read(c, &body); err != nil {
		return err
	}
	if body.Serial != "" && body.Serial != serial {
		return invalid([]card.Fault{{Field: "serial", Detail: "is another one than in the path; leave it out"}})
	}
	body.Serial = serial
	ctx, cancel := s.inTime(c)
	defer cancel()
	sent, faults := cardOf(body)
	put, err := s.batch(who(c)).Card(ctx, sent, faults...)
	if err != nil {
		return err
	}
	results, err := s.Directory.PutCards(ctx, []store.CardPut{put}, nil)
	if err != nil {
		return storeFailed(err)
	}
	stored, err := s.Directory.Card(ctx, serial)
	if err != nil {
		return storeFailed(err)
	}
	return reply(c, putStatus(results[0]), cardBody(stored))
}

func putStatus(r store.Result) int {
	if r == store.Created {
		return http.StatusCreated
	}
	return http.StatusOK
}

// batch begins cards that are written together, as the caller's.
func (s *Server) batch(caller unblock.Caller) *registry.Batch {
	return s.registry.Batch(caller.Client, signed(caller, audit.Entry{}))
}

// keyOf reads a wrapped key's body, and lists what in it is not even text.
func keyOf(body api.WrappedKey) ([]byte, []card.Fault) {
	wrapped, err := hex.DecodeString(body.WrappedKey)
	if err != nil {
		return nil, []card.Fault{{Field: "wrapped_key", Detail: "is not hex, two digits a byte"}}
	}
	return wrapped, nil
}

// cardOf reads a card's body, and lists what in it is not even text.
func cardOf(body api.Card) (card.Card, []card.Fault) {
	var faults []card.Fault
	binary := func(field, digits string) []byte {
		b, err := hex.DecodeString(digits)
		if err != nil {
			faults = append(faults, card.Fault{Field: field, Detail: "is not hex, two digits a byte"})
			return nil
		}
		return b
	}
	c := card.Card{
		Serial: body.Serial, Type: body.Type, State: body.State,
		CUID: binary("cuid", body.CUID), KDD: binary("kdd", body.KDD),
		WrappedKey: binary("wrapped_key", body.WrappedKey), MasterKeyVersion: body.MasterKeyVersion,
		Unit: body.Unit, Assurance: body.Assurance, Holder: card.Holder(body.Holder),
	}
	return c, faults
}

func cardBody(c card.Card) api.Card {
	return api.Card{
		Serial: c.Serial, Type: c.Type, State: c.State,
		CUID: hex.EncodeToString(c.CUID), KDD: hex.EncodeToString(c.KDD),
		HasWrappedKey: len(c.WrappedKey) != 0, MasterKeyVersion: c.MasterKeyVersion,
		Unit: c.Unit, Assurance: c.Assurance, Holder: api.Holder(c.Holder),
		Source: c.Source, SyncedAt: c.SyncedAt,
	}
}
