package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"latchkey/card"
	"latchkey/store"
	"latchkey/unblock"
)

// reasonToCome stands for the reason in foreseeing refusals, before it is typed:
// policies refuse an empty one.
const reasonToCome = "not given yet"

// perPage is how many cards a search shows at a time.
const perPage = 20

// search finds cards.
func (s *console) search(v visit) {
	q := v.r.URL.Query()
	text, after := strings.TrimSpace(q.Get("q")), q.Get("after")
	page := found{Query: text, Paged: after != "", Search: searchPath(text, "")}
	title := "Find a card"
	switch {
	case text == "":
	case card.TextFault(text, card.MaxText, true) != "":
		page.Fault = "The text " + card.TextFault(text, card.MaxText, true) + "."
	default:
		title = text
		cards, next, err := s.Cards.FindCards(v.r.Context(), store.Query{Text: text, Limit: perPage, After: after})
		switch {
		case errors.Is(err, store.ErrQuery) && after != "":
			s.see(v, page.Search) // a cursor that somebody typed
			return
		case errors.Is(err, store.ErrQuery):
			page.Fault = fmt.Sprintf("The text has more than %d words.", store.MaxTerms)
		case err != nil:
			s.refuse(v, unblock.Unavailable("The cards could not be searched. Try again later.", err))
			return
		}
		for _, c := range cards {
			page.Cards = append(page.Cards, s.subject(c))
		}
		if next != "" {
			page.More = searchPath(text, next)
		}
	}
	s.show(v, http.StatusOK, searchPage, title, page)
}

// card shows a card with its holder, and what would hinder an unblock.
func (s *console) card(v visit) {
	s.showCard(v, http.StatusOK, atCard{})
}

// showCard shows the page of the card in the request's path.
func (s *console) showCard(v visit, status int, page atCard) {
	ctx, serial := v.r.Context(), v.r.PathValue("serial")
	switch c, err := s.known(ctx, s.Live, serial); {
	case errors.Is(err, card.ErrNotFound):
		s.tell(v, http.StatusNotFound, message{
			Title:  "The card is not registered",
			Detail: fmt.Sprintf("No card has the serial number %s.", serial),
			Remedy: "Check the number on the card, character by character, or search by the holder's name.",
			Code:   string(unblock.CardUnknown),
		})
		return
	case err != nil:
		s.refuse(v, unblock.CardUnread(err))
		return
	default:
		page.subject, page.Form = c, v.token
	}
	if no := s.Desk.Foresee(ctx, v.caller, unblock.Begin{Card: serial, Reason: cmp.Or(page.Reason, reasonToCome)}); no != nil {
		if errors.Unwrap(no) != nil {
			s.Report(v.r, no)
		}
		m, _ := s.words(v, no)
		page.Hindrance = &m
		// Another reason may be one that the policies permit.
		page.Closed = no.Code != unblock.PolicyDenied
	}
	s.show(v, status, cardPage, page.Card.Holder.Name, page)
}

func (s *console) toCard(v visit) { s.see(v, cardPath(v.r.PathValue("serial"))) }

// start starts an unblock process for a card.
func (s *console) start(v visit) {
	if !s.form(v) {
		return
	}
	serial, reason := v.r.PathValue("serial"), strings.TrimSpace(v.r.PostForm.Get("reason"))
	if fault := card.TextFault(reason, card.MaxText, true); fault != "" {
		s.showCard(v, http.StatusUnprocessableEntity, atCard{Reason: reason, Fault: "The reason " + fault + "."})
		return
	}
	opened, err := s.Desk.Start(v.r.Context(), v.caller, unblock.Begin{Card: serial, Reason: reason})
	if err != nil {
		s.refuse(v, err, link{cardPath(serial), "Back to the card"})
		return
	}
	s.see(v, processPath(opened.Process.ID))
}

// process shows how a process stands: with the field for its challenge, with the
// question of its outcome, or as it ended.
func (s *console) process(v visit) {
	if page, ok := s.load(v); ok {
		s.show(v, http.StatusOK, processPage, page.Subject.Who(), page)
	}
}

func (s *console) toProcess(v visit) { s.see(v, processPath(v.r.PathValue("id"))) }

// load reads the process in the request's path with its card, or shows why it
// cannot.
func (s *console) load(v visit) (atProcess, bool) {
	ctx := v.r.Context()
	p, err := s.Desk.Process(ctx, v.caller, v.r.PathValue("id"))
	if err != nil {
		s.refuse(v, err)
		return atProcess{}, false
	}
	// A process goes on, whether or not the card's source can be asked.
	c, err := s.known(ctx, s.Cards, p.Card)
	if errors.Is(err, card.ErrNotFound) {
		// Cards are not unregistered, but a process is to be ended even so.
		c, err = s.subject(card.Card{Serial: p.Card}), nil
	}
	digits := 0
	if err == nil {
		digits, err = s.challengeDigits(ctx, c.Type)
	}
	if err != nil {
		s.refuse(v, unblock.Unavailable("The card could not be looked up. Try again later.", err))
		return atProcess{}, false
	}
	page := atProcess{
		Process: p, Subject: c, Path: processPath(p.ID), Checks: unblock.StartChecks(),
		Digits: digits, Blank: blank(digits), Form: v.token,
	}
	another := link{c.Path, "Back to the card"}
	switch p.State {
	case unblock.Waiting, unblock.Started:
		page.Steps = steps(1)
	case unblock.Answered:
		page.Steps = steps(3)
	case unblock.Completed, unblock.Failed:
		page.Steps = steps(4)
		page.Next = []link{{Path, "Find the next card"}, another}
	case unblock.Cancelled, unblock.Refused, unblock.Expired:
		page.Next = []link{another, {Path, "Find another card"}}
	}
	return page, true
}

// challengeDigits is how many hex digits the challenge of a card of this type
// has, 0 where that is not configured: then the desk will say so.
func (s *console) challengeDigits(ctx context.Context, cardType string) (int, error) {
	kind, err := s.Cards.CardType(ctx, cardType)
	var profile card.Profile
	if err == nil {
		profile, err = s.Profiles.Profile(kind.Profile)
	}
	if errors.Is(err, card.ErrNotFound) {
		return 0, nil
	}
	return 2 * profile.ChallengeLen, err
}

// respond answers the challenge that was typed in, and shows the response or
// what is wrong with the challenge.
func (s *console) respond(v visit) {
	if !s.form(v) {
		return
	}
	// What the page needs is read first: once there is a response, nothing may
	// keep it from being shown.
	page, ok := s.load(v)
	if !ok {
		return
	}
	page.Typed = v.r.PostForm.Get("challenge")
	challenge, err := card.ParseChallenge(page.Typed, page.Digits/2)
	var misread *card.ChallengeError
	if errors.As(err, &misread) {
		page.Wrong = wrongIn(page.Typed, misread)
	}

	answer, err := s.Desk.Answer(v.r.Context(), v.caller, page.ID, unblock.Typed{Challenge: page.Typed})
	defer answer.Response.Wipe()
	var no *unblock.Refusal
	switch {
	case err == nil:
		page.Process, page.Checks, page.Steps = answer.Process, answer.Checks, steps(2)
		s.show(v, http.StatusOK, responsePage, "Response", atResponse{page, challenge.Grouped(), groups(answer.Response)})
	case errors.As(err, &no) && no.Check != "":
		// A check said no: the process still waits, and what was typed is kept.
		m, status := s.problem(v, err)
		page.Problem = &m
		s.show(v, status, processPage, m.Title, page)
	default:
		s.refuse(v, err, link{page.Path, "Back to this unblock"}, link{page.Subject.Path, "Back to the card"})
	}
}

// complete ends a process with the outcome that was reported.
func (s *console) complete(v visit) {
	if !s.form(v) {
		return
	}
	id, outcome := v.r.PathValue("id"), unblock.Outcome(v.r.PostForm.Get("outcome"))
	if !slices.Contains(unblock.Outcomes(), outcome) {
		s.tell(v, http.StatusUnprocessableEntity, message{
			Title:  "The outcome is missing",
			Detail: "The form says nothing of what became of the unblock.",
			Remedy: "Go back, and choose what happened.",
			Next:   []link{{processPath(id), "Back to this unblock"}},
		})
		return
	}
	_, err := s.Desk.Complete(v.r.Context(), v.caller, id, outcome)
	s.ended(v, id, err)
}

// cancel ends a process without an outcome.
func (s *console) cancel(v visit) {
	id := v.r.PathValue("id")
	_, err := s.Desk.Cancel(v.r.Context(), v.caller, id)
	s.ended(v, id, err)
}

func (s *console) ended(v visit, id string, err error) {
	if err != nil {
		s.refuse(v, err, link{processPath(id), "Back to this unblock"})
		return
	}
	s.see(v, processPath(id))
}

// nowhere answers for every path that is no page.
func (s *console) nowhere(v visit) {
	s.tell(v, http.StatusNotFound, message{
		Title:  "There is no such page",
		Detail: "The address leads to nothing in this console.",
		Remedy: "Begin with a search.",
	})
}

// foreign answers a form that did not come from a page of the console.
func (s *console) foreign(v visit) {
	s.tell(v, http.StatusForbidden, message{
		Title:  "The form came from another site",
		Detail: "Your browser says that this request was not made on a page of the console, so nothing was done.",
		Remedy: "If you did not come from here on purpose, tell a security officer. Otherwise begin with a search.",
	})
}

// known looks a card up with the name of its type.
func (s *console) known(ctx context.Context, cards unblock.Cards, serial string) (subject, error) {
	c, err := cards.Card(ctx, serial)
	if err != nil {
		return subject{}, err
	}
	known := s.subject(c)
	kind, err := s.Cards.CardType(ctx, c.Type)
	if err != nil && !errors.Is(err, card.ErrNotFound) {
		return subject{}, err
	}
	known.TypeName = kind.Name
	return known, nil
}

func (s *console) subject(c card.Card) subject {
	return subject{
		Card: c, Path: cardPath(c.Serial),
		CardBadge:   badge{c.State, s.CardStates.Active(c.State)},
		HolderBadge: badge{c.Holder.State, s.HolderStates.Active(c.Holder.State)},
	}
}
