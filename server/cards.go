package server

import (
	"context"
	"crypto/sha256"
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
	found, err := s.Directory.Card(ctx, serial)
	switch {
	case errors.Is(err, card.ErrNotFound):
		return refuse(string(unblock.CardUnknown), "No card has this serial number. Check it, character by character.")
	case err != nil:
		return storeFailed(err)
	}
	return reply(c, http.StatusOK, cardBody(found))
}

func (s *Server) findCards(c echo.Context) error {
	query, faults := searchOf(c.Request().URL.RawQuery)
	if err := invalid(faults); err != nil {
		return err
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	found, next, err := s.Directory.FindCards(ctx, query)
	switch {
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

// searchOf reads the query of a search.
func searchOf(text string) (store.Query, []card.Fault) {
	values, limit, faults := pageOf(text, store.MaxCards, "q", "limit", "after")
	query := store.Query{Text: values.Get("q"), After: values.Get("after"), Limit: limit}
	if wrong := card.TextFault(query.Text, card.MaxText, false); wrong != "" {
		faults = append(faults, card.Fault{Field: "q", Detail: wrong})
	} else if len(strings.Fields(query.Text)) > store.MaxTerms {
		faults = append(faults, card.Fault{Field: "q", Detail: fmt.Sprintf("has more than %d words", store.MaxTerms)})
	}
	return query, faults
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
	release, err := s.register(ctx)
	if err != nil {
		return err
	}
	defer release()
	put, err := s.registration(who(c)).prepare(ctx, body)
	if err != nil {
		return err
	}
	result, err := s.Directory.PutCard(ctx, put.Card, put.Entry)
	if err != nil {
		return storeFailed(err)
	}
	return reply(c, putStatus(result), cardBody(put.Card))
}

func putStatus(r store.Result) int {
	if r == store.Created {
		return http.StatusCreated
	}
	return http.StatusOK
}

// register takes the turn to write cards.
func (s *Server) register(ctx context.Context) (release func(), err error) {
	select {
	case s.registering <- struct{}{}:
		return func() { <-s.registering }, nil
	case <-ctx.Done():
		return nil, storeFailed(ctx.Err())
	}
}

// registration prepares cards to be written in one transaction. The server's turn
// to write cards is held from its beginning until they are written.
type registration struct {
	*Server
	caller   unblock.Caller
	profiles map[string]string    // of the card types met
	cards    map[string]card.Card // the cards met, as they are to be
	fresh    map[string]int       // master key versions of new cards, by profile
}

func (s *Server) registration(caller unblock.Caller) *registration {
	return &registration{s, caller, map[string]string{}, map[string]card.Card{}, map[string]int{}}
}

// prepare makes a card of its body with the audit entry that tells of it, or
// refuses it with all its faults.
func (r *registration) prepare(ctx context.Context, body api.Card) (store.CardPut, error) {
	c, faults := cardOf(body)
	c.Source, c.SyncedAt = r.caller.Client, r.Now()
	faults = append(faults, c.Faults(r.CardStates, r.HolderStates)...)
	profile, err := r.profileOf(ctx, c.Type)
	switch {
	case card.TextFault(c.Type, card.MaxID, true) != "": // is among the faults already
	case errors.Is(err, card.ErrNotFound):
		faults = append(faults, card.Fault{Field: "type", Detail: "is not a registered card type; register it with PUT /v1/card-types/{id}"})
	case err != nil:
		return store.CardPut{}, storeFailed(err)
	}
	if err := invalid(faults); err != nil {
		return store.CardPut{}, err
	}
	detail := fmt.Sprintf("card %s, holder %s", c.State, c.Holder.State)
	if len(c.WrappedKey) != 0 {
		if err := r.takesKey(profile, c.WrappedKey); err != nil {
			return store.CardPut{}, err
		}
		detail += ", " + fingerprint(c.WrappedKey)
	}
	if err := r.complete(ctx, &c, profile); err != nil {
		return store.CardPut{}, err
	}
	return r.put(c, profile, audit.CardPut, detail), nil
}

// prepareKey makes the card that is registered with a new wrapped key of the
// body, or refuses the key.
func (r *registration) prepareKey(ctx context.Context, body api.WrappedKey) (store.CardPut, error) {
	wrapped, err := hex.DecodeString(body.WrappedKey)
	var faults []card.Fault
	switch {
	case err != nil:
		faults = append(faults, card.Fault{Field: "wrapped_key", Detail: "is not hex, two digits a byte"})
	case len(wrapped) == 0:
		faults = append(faults, card.Fault{Field: "wrapped_key", Detail: "is required"})
	}
	if v := body.MasterKeyVersion; v < 0 || v > card.MaxKeyVersion {
		faults = append(faults, card.Fault{Field: "master_key_version", Detail: fmt.Sprintf("must be from 1 to %d, or left out", card.MaxKeyVersion)})
	}
	if err := invalid(faults); err != nil {
		return store.CardPut{}, err
	}
	c, err := r.known(ctx, body.Serial)
	var profile string
	if err == nil {
		profile, err = r.profileOf(ctx, c.Type)
	}
	switch {
	case errors.Is(err, card.ErrNotFound) && c.Serial == "":
		return store.CardPut{}, refuse(string(unblock.CardUnknown), "No card has this serial number. Register the card first.")
	case errors.Is(err, card.ErrNotFound):
		return store.CardPut{}, refuse(codeTypeUnknown, fmt.Sprintf("The card's type %s is not registered, so its profile is not known.", brief(c.Type)))
	case err != nil:
		return store.CardPut{}, storeFailed(err)
	}
	if err := r.takesKey(profile, wrapped); err != nil {
		return store.CardPut{}, err
	}
	c.WrappedKey = wrapped
	if body.MasterKeyVersion != 0 {
		c.MasterKeyVersion = body.MasterKeyVersion
	}
	return r.put(c, profile, audit.CardKeyPut, fingerprint(wrapped)), nil
}

// put is the card with the audit entry that tells of it.
func (r *registration) put(c card.Card, profile string, action audit.Action, detail string) store.CardPut {
	r.cards[c.Serial] = c
	return store.CardPut{Card: c, Entry: signed(r.caller, audit.Entry{
		Time: r.Now(), Action: action, Outcome: audit.Permit,
		Card: c.Serial, CardType: c.Type, Profile: profile, KeyVersion: c.MasterKeyVersion,
		Detail: detail,
	})}
}

// fingerprint tells wrapped keys apart in the audit log.
func fingerprint(wrapped []byte) string {
	sum := sha256.Sum256(wrapped)
	return fmt.Sprintf("wrapped key with SHA-256 %X...", sum[:8])
}

// takesKey refuses a wrapped key that cards of the profile cannot have.
func (r *registration) takesKey(profile string, wrapped []byte) error {
	p, err := r.Profiles.Profile(profile)
	if err != nil {
		return refuse(codeProfileUnknown, fmt.Sprintf("The card type's profile %s is not configured, so it is not known whether its cards have wrapped keys. Mend the card type.", profile))
	}
	if fault := p.WrappedKeyFault(wrapped); fault != "" {
		return invalid([]card.Fault{{Field: "wrapped_key", Detail: fault}})
	}
	return nil
}

// profileOf is the profile of a card type, looked up once.
func (r *registration) profileOf(ctx context.Context, id string) (string, error) {
	if profile, met := r.profiles[id]; met {
		return profile, nil
	}
	t, err := r.Directory.CardType(ctx, id)
	if err != nil {
		return "", err
	}
	r.profiles[id] = t.Profile
	return t.Profile, nil
}

// known is the card as it stands, with what was prepared before.
func (r *registration) known(ctx context.Context, serial string) (card.Card, error) {
	if c, met := r.cards[serial]; met {
		return c, nil
	}
	return r.Directory.Card(ctx, serial)
}

// complete fills in what the card's data does not say: of a card that is known
// what stands, for issuing a card is what decides its master key version and its
// wrapped key; of a new card the key's current version, so that it keeps it when
// that moves on.
func (r *registration) complete(ctx context.Context, c *card.Card, profile string) error {
	if c.MasterKeyVersion != 0 && len(c.WrappedKey) != 0 {
		return nil
	}
	known, err := r.known(ctx, c.Serial)
	if err != nil && !errors.Is(err, card.ErrNotFound) {
		return storeFailed(err)
	}
	if len(c.WrappedKey) == 0 {
		c.WrappedKey = known.WrappedKey
	}
	switch {
	case c.MasterKeyVersion != 0:
		return nil
	case err == nil:
		c.MasterKeyVersion = known.MasterKeyVersion
		return nil
	}
	if version, met := r.fresh[profile]; met {
		c.MasterKeyVersion = version
		return nil
	}
	p, err := r.Profiles.Profile(profile)
	if err != nil {
		return refuse(codeProfileUnknown, fmt.Sprintf("The card type's profile %s is not configured. Name the card's master_key_version, or mend the card type.", profile))
	}
	if c.MasterKeyVersion, err = r.Custody.NewCardVersion(ctx, p); err == nil {
		r.fresh[profile] = c.MasterKeyVersion
	}
	return err
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
