package console

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"latchkey/audit"
	"latchkey/audit/digest"
	"latchkey/card"
	"latchkey/card/family"
	"latchkey/identity"
	"latchkey/registry"
	"latchkey/unblock"
)

// Types turns use cases on and off, as registry.Types does. Its errors are
// *registry.Refusal and registry.ErrTurned.
type Types interface {
	Turn(ctx context.Context, id string, u registry.UseCase, state string, on bool, by audit.Entry) (card.Type, error)
}

// Register is what administrators look after, as *store.Store keeps it.
type Register interface {
	CardTypes(ctx context.Context) ([]card.Type, error)
	Operators(ctx context.Context, after string, limit int) (page []identity.Record, next string, err error)
}

const (
	// perList is how many rows a page of a list has.
	perList = 50
	// historyLen is how many changes of a card type its page shows.
	historyLen = 50
)

const (
	cardTypesPath = Path + "card-types"
	profilesPath  = Path + "profiles"
	peoplePath    = Path + "people"
)

func cardTypePath(id string) string { return cardTypesPath + "/" + url.PathEscape(id) }

// atTypes is the page of card types.
type atTypes struct{ Types []typeRow }

// typeRow is a card type in a list.
type typeRow struct {
	card.Type
	Path         string
	Remote, Self []string // the states in which the use cases are on
}

// cardTypes lists the card types.
func (s *console) cardTypes(v visit) {
	list, err := s.Register.CardTypes(v.r.Context())
	if err != nil {
		s.refuse(v, unblock.Unavailable("The card types could not be read. Try again later.", err))
		return
	}
	page := atTypes{}
	for _, t := range list {
		page.Types = append(page.Types, typeRow{t, cardTypePath(t.ID), card.On(t.UnblockRemote), card.On(t.UnblockSelf)})
	}
	s.show(v, http.StatusOK, "card-types", v.say("admin.types.title"), page)
}

// atType is the page of one card type.
type atType struct {
	card.Type
	States  []stateRow
	History []change
	Turned  *turned // what was just turned
}

// stateRow is a card state with the switches of the use cases in it.
type stateRow struct {
	State string
	InUse bool
	Cases []switched
}

// switched is a use case in a state.
type switched struct {
	Case registry.UseCase
	On   bool
	Turn string // path of the page that turns it
}

// turned is a use case that was turned.
type turned struct {
	Case  registry.UseCase
	State string
	On    bool
}

// change is one that somebody made to a card type.
type change struct {
	At          time.Time
	Who, Client string
	What        []string
	Reason      string
}

// typeIn finds the card type in the request's path, or shows that there is none.
func (s *console) typeIn(v visit) (card.Type, bool) {
	t, err := s.Cards.CardType(v.r.Context(), v.r.PathValue("id"))
	switch {
	case errors.Is(err, card.ErrNotFound):
		m := v.message("no-type", "id", v.r.PathValue("id"))
		m.Next = []link{{cardTypesPath, v.say("admin.types.title")}}
		s.tell(v, http.StatusNotFound, m)
	case err != nil:
		s.refuse(v, unblock.Unavailable("The card type could not be read. Try again later.", err))
	}
	return t, err == nil
}

// cardType shows a card type, its switches and who turned them.
func (s *console) cardType(v visit) {
	t, ok := s.typeIn(v)
	if !ok {
		return
	}
	page := atType{Type: t}
	for _, state := range s.CardStates.Names() {
		row := stateRow{State: state, InUse: s.CardStates.Active(state)}
		for _, u := range registry.UseCases() {
			on := u.On(t, state)
			row.Cases = append(row.Cases, switched{u, on, turnPath(t.ID, u, state, !on)})
		}
		page.States = append(page.States, row)
	}
	// What can be turned to some use comes first.
	slices.SortStableFunc(page.States, func(a, b stateRow) int {
		switch {
		case a.InUse == b.InUse:
			return 0
		case a.InUse:
			return -1
		}
		return 1
	})
	found, err := s.Log.Search(v.r.Context(), digest.Query{CardType: t.ID, Action: audit.CardTypePut, Outcome: audit.Permit, Limit: historyLen})
	if err != nil {
		s.refuse(v, unblock.Unavailable("The card type's history could not be read. Try again later.", err))
		return
	}
	for _, e := range found.Entries {
		page.History = append(page.History, change{e.Time, e.Operator, e.Client, strings.Split(e.Detail, "; "), e.Reason})
	}
	q := v.r.URL.Query()
	if u := registry.UseCase(q.Get("turned")); slices.Contains(registry.UseCases(), u) && s.CardStates.Known(q.Get("state")) {
		page.Turned = &turned{u, q.Get("state"), u.On(t, q.Get("state"))}
	}
	s.show(v, http.StatusOK, "card-type", t.Name, page)
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func turnPath(id string, u registry.UseCase, state string, on bool) string {
	return cardTypePath(id) + "/turn?" + url.Values{"case": {string(u)}, "state": {state}, "to": {onOff(on)}}.Encode()
}

// atTurn is the page that asks whether a use case is to be turned.
type atTurn struct {
	card.Type
	turned
	To     string // on or off
	Form   string
	Reason string
	Fault  string
	Back   string
}

// turning reads what is to be turned, or leads back to the card type.
func (s *console) turning(v visit, values url.Values) (page atTurn, ok bool) {
	page.Case, page.State, page.To = registry.UseCase(values.Get("case")), values.Get("state"), values.Get("to")
	page.On = page.To == "on"
	if !slices.Contains(registry.UseCases(), page.Case) || !s.CardStates.Known(page.State) || page.To != onOff(page.On) {
		s.see(v, cardTypePath(v.r.PathValue("id")))
		return page, false
	}
	page.Type, ok = s.typeIn(v)
	page.Form, page.Back = v.token, cardTypePath(page.ID)
	return page, ok
}

// askToTurn says what it means to turn a use case, and asks why.
func (s *console) askToTurn(v visit) {
	if page, ok := s.turning(v, v.r.URL.Query()); ok {
		s.showTurn(v, http.StatusOK, page)
	}
}

func (s *console) showTurn(v visit, status int, page atTurn) {
	s.show(v, status, "turn", v.say("admin.turn.title-"+page.To, "case", v.say("admin.case."+string(page.Case))), page)
}

// turn turns a use case on or off. Whoever finds it turned already is where he wanted
// to be.
func (s *console) turn(v visit) {
	if !s.form(v) {
		return
	}
	page, ok := s.turning(v, v.r.PostForm)
	if !ok {
		return
	}
	page.Reason = strings.TrimSpace(v.r.PostForm.Get("reason"))
	if page.Fault = card.TextFault(page.Reason, card.MaxText, true); page.Fault != "" {
		s.showTurn(v, http.StatusUnprocessableEntity, page)
		return
	}
	e := v.entry(s.Now())
	e.Reason = page.Reason
	_, err := s.Types.Turn(v.r.Context(), page.ID, page.Case, page.State, page.On, e)
	if err != nil && !errors.Is(err, registry.ErrTurned) {
		s.refuse(v, err, link{page.Back, v.say("admin.turn.back")})
		return
	}
	s.see(v, page.Back+"?"+url.Values{"turned": {string(page.Case)}, "state": {page.State}}.Encode())
}

// entry begins the audit entry of what the person does.
func (v visit) entry(now time.Time) audit.Entry {
	return audit.Entry{
		Time: now, Client: v.caller.Client, Operator: v.caller.Operator.ID, Delegation: string(v.caller.Means),
		Address: v.caller.Address, RequestID: v.caller.RequestID,
	}
}

// atProfiles is the page of profiles.
type atProfiles struct{ Profiles []profileView }

// profileView is a profile with the documents that say what is known of its family.
type profileView struct {
	card.Profile
	Limit   string
	Family  *family.Family
	Remarks []string
}

// profiles shows the profiles of the configuration.
func (s *console) profiles(v visit) {
	page := atProfiles{}
	for _, p := range s.Families {
		shown := profileView{Profile: p, Limit: p.Retry.String(), Remarks: p.Remarks()}
		if p.Family != "" {
			known, err := family.Find(p.Family)
			if err != nil {
				s.refuse(v, err)
				return
			}
			shown.Family = &known
		}
		page.Profiles = append(page.Profiles, shown)
	}
	s.show(v, http.StatusOK, "profiles", v.say("admin.profiles.title"), page)
}

// atPeople is the page of people.
type atPeople struct {
	People      []identity.Record
	More, First string
}

// people lists whom administrators registered.
func (s *console) people(v visit) {
	after := v.r.URL.Query().Get("after")
	list, next, err := s.Register.Operators(v.r.Context(), after, perList)
	if err != nil {
		s.refuse(v, unblock.Unavailable("The operators could not be read. Try again later.", err))
		return
	}
	page := atPeople{People: list}
	if next != "" {
		page.More = peoplePath + "?" + url.Values{"after": {next}}.Encode()
	}
	if after != "" {
		page.First = peoplePath
	}
	s.show(v, http.StatusOK, "people", v.say("admin.people.title"), page)
}
