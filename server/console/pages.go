package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"latchkey/card"
	"latchkey/policy"
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
		cards, next, err := s.Cards.FindCards(v.r.Context(), store.Query{
			Text: text, Limit: perPage, After: after, Keep: s.Desk.Sees(v.r.Context(), v.caller),
		})
		var no *unblock.Refusal
		switch {
		case errors.Is(err, store.ErrQuery) && after != "":
			s.see(v, page.Search) // a cursor that somebody typed
			return
		case errors.Is(err, store.ErrQuery):
			page.Fault = fmt.Sprintf("The text has more than %d words.", store.MaxTerms)
		case errors.As(err, &no):
			s.refuse(v, no)
			return
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
	seen, err := s.Desk.Look(ctx, v.caller, serial)
	var no *unblock.Refusal
	switch {
	case errors.As(err, &no) && no.Code == unblock.CardUnknown:
		s.tell(v, http.StatusNotFound, message{
			Title:  "The card is not registered",
			Detail: fmt.Sprintf("No card has the serial number %s.", serial),
			Remedy: "Check the number on the card, character by character, or search by the holder's name.",
			Code:   string(unblock.CardUnknown),
		})
		return
	case err != nil:
		s.refuse(v, err)
		return
	}
	page.subject, page.Form, page.Key = s.subject(seen.Card), v.token, v.key()
	page.TypeName, page.subject.Standing = seen.Type.Name, standing(seen.Attempts)
	page.Warning, page.Open = seen.Attempts.Warning(), opened(seen.Open)

	begin := unblock.Begin{
		Card: serial, Reason: cmp.Or(page.Asked.Reason, reasonToCome), Ticket: page.Asked.Ticket,
		Verification: page.Asked.verification(),
	}
	no = s.Desk.Foresee(ctx, v.caller, begin)
	if no != nil && no.Code == unblock.AttemptsExhausted && v.approves() {
		page.Beyond = true
		begin.Override = cmp.Or(page.Asked.Override, reasonToCome)
		no = s.Desk.Foresee(ctx, v.caller, begin)
	}
	if no != nil {
		if errors.Unwrap(no) != nil {
			s.Report(v.r, no)
		}
		m, _ := s.words(v, no)
		m.Next = own(no)
		page.Hindrance = &m
		// Another reason or a verified holder may be what the policies permit.
		page.Closed = no.Code != unblock.PolicyDenied
	}
	s.show(v, status, cardPage, page.Card.Holder.Name, page)
}

// own leads to the operator's own process that stands in the way, if one does.
func own(no *unblock.Refusal) []link {
	if no.Process == "" {
		return nil
	}
	return []link{{processPath(no.Process), "Go on with your unblock"}}
}

func (s *console) toCard(v visit) { s.see(v, cardPath(v.r.PathValue("serial"))) }

// verification is what the form says of how the holder was verified.
func (a asked) verification() policy.Verification {
	if a.Verification == notVerified {
		return ""
	}
	return policy.Verification(a.Verification)
}

// faults says what is wrong with the form.
func (a asked) faults() faults {
	wrong := faults{}
	for field, text := range map[string]string{"reason": a.Reason, "ticket": a.Ticket, "override": a.Override} {
		if fault := card.TextFault(text, card.MaxText, field == "reason"); fault != "" {
			wrong[field] = "The text " + fault + "."
		}
	}
	if a.Verification != notVerified && !slices.Contains(policy.Verifications(), a.verification()) {
		wrong["verification"] = "Say how you made sure that the caller is the card's holder."
	}
	return wrong
}

// start starts an unblock process for a card.
func (s *console) start(v visit) {
	if !s.keyed(v) {
		return
	}
	field := func(name string) string { return strings.TrimSpace(v.r.PostForm.Get(name)) }
	form := asked{Reason: field("reason"), Ticket: field("ticket"), Verification: field("verification"), Override: field("override")}
	if wrong := form.faults(); len(wrong) != 0 {
		s.showCard(v, http.StatusUnprocessableEntity, atCard{Asked: form, Faults: wrong})
		return
	}
	serial := v.r.PathValue("serial")
	opened, err := s.Desk.Start(v.r.Context(), v.caller, unblock.Begin{
		Card: serial, Reason: form.Reason, Ticket: form.Ticket, Verification: form.verification(), Override: form.Override,
		IdempotencyKey: v.key(),
	})
	var no *unblock.Refusal
	switch {
	case err == nil:
		s.see(v, processPath(opened.Process.ID))
	case errors.As(err, &no):
		s.refuse(v, no, append(own(no), link{cardPath(serial), "Back to the card"})...)
	default:
		s.refuse(v, err, link{cardPath(serial), "Back to the card"})
	}
}

// lookAgain is after how long a page looks again that waits for somebody else.
const lookAgain = 10 * time.Second

// process shows how a process stands: with the field for its challenge, with the
// question of its outcome, or as it ended.
func (s *console) process(v visit) {
	page, ok := s.load(v)
	if !ok {
		return
	}
	if page.State == unblock.Waiting {
		// The page looks again by itself, until somebody decided or the time is over.
		v.w.Header().Set("Refresh", strconv.Itoa(int(lookAgain.Seconds())))
	}
	s.show(v, http.StatusOK, processPage, page.Subject.Who(), page)
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
	c, err := s.known(ctx, p.Card)
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
		Digits: digits, Blank: blank(digits), Form: v.token, Key: v.key(),
	}
	another := link{c.Path, "Back to the card"}
	switch p.State {
	case unblock.Waiting:
		page.Steps = steps(1)
		page.Checks = slices.DeleteFunc(page.Checks, func(c unblock.Check) bool { return c == unblock.PolicyPermits })
	case unblock.Started:
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

// readBack shows the challenge that was typed in as it was understood, or what is
// wrong with it. Nothing is answered yet.
func (s *console) readBack(v visit) {
	if !s.keyed(v) {
		return
	}
	page, ok := s.load(v)
	if !ok {
		return
	}
	page.Typed = v.r.PostForm.Get("challenge")
	back, err := s.Desk.ReadBack(v.r.Context(), v.caller, page.ID, page.Typed)
	switch {
	case err == nil:
		page.Back = readBackOf(back)
		s.show(v, http.StatusOK, processPage, "Read the challenge back", page)
	case page.State == unblock.Started:
		page.mark()
		m, status := s.problem(v, err)
		page.Problem = &m
		s.show(v, status, processPage, m.Title, page)
	default:
		s.refuse(v, err, page.back()...)
	}
}

// mark looks whether what was typed is no challenge, and finds the character that
// makes it none.
func (p *atProcess) mark() {
	_, err := card.ParseChallenge(p.Typed, p.Digits/2)
	p.Misread = err != nil
	if misread := (*card.ChallengeError)(nil); errors.As(err, &misread) {
		p.Wrong = wrongIn(p.Typed, misread)
	}
}

func (p *atProcess) back() []link {
	return []link{{p.Path, "Back to this unblock"}, {p.Subject.Path, "Back to the card"}}
}

// respond answers the challenge that was read back, and shows the response or why
// there is none.
func (s *console) respond(v visit) {
	if !s.keyed(v) {
		return
	}
	// What the page needs is read first: once there is a response, nothing may
	// keep it from being shown.
	page, ok := s.load(v)
	if !ok {
		return
	}
	page.Typed = v.r.PostForm.Get("challenge")
	answer, err := s.Desk.Answer(v.r.Context(), v.caller, page.ID, unblock.Typed{
		Challenge: page.Typed, Confirmed: v.r.PostForm.Get("confirmed") != "", IdempotencyKey: v.key(),
	})
	defer answer.Response.Wipe()
	var no *unblock.Refusal
	switch {
	case err == nil:
		page.Process, page.Checks, page.Steps = answer.Process, answer.Checks, steps(2)
		challenge, _ := card.ParseChallenge(page.Typed, page.Digits/2) // the desk could read it
		s.show(v, http.StatusOK, responsePage, "Response", atResponse{
			atProcess: page, Challenge: challenge.Grouped(), Groups: groups(answer.Response.Grouped(), answer.Response.Spoken()),
			Again: answer.Repeated, Standing: standing(answer.Attempts), Warning: answer.Attempts.Warning(),
		})
	case errors.As(err, &no) && no.Check != "":
		// A check said no: the process still waits, and what was typed is kept.
		m, status := s.problem(v, err)
		page.Problem = &m
		page.mark()
		if back, err := s.Desk.ReadBack(v.r.Context(), v.caller, page.ID, page.Typed); err == nil {
			page.Back = readBackOf(back)
		}
		s.show(v, status, processPage, m.Title, page)
	default:
		s.refuse(v, err, page.back()...)
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
	s.ended(v, id, err, func(p unblock.Process) bool { return p.Outcome == outcome })
}

// cancel ends a process without an outcome.
func (s *console) cancel(v visit) {
	id := v.r.PathValue("id")
	_, err := s.Desk.Cancel(v.r.Context(), v.caller, id)
	s.ended(v, id, err, func(p unblock.Process) bool { return p.State == unblock.Cancelled })
}

// ended shows a process that was ended, also where that was done before: by the first
// of two clicks.
func (s *console) ended(v visit, id string, err error, done func(unblock.Process) bool) {
	if err != nil {
		if p, unread := s.Desk.Process(v.r.Context(), v.caller, id); unread != nil || !done(p) {
			s.refuse(v, err, link{processPath(id), "Back to this unblock"})
			return
		}
	}
	s.see(v, processPath(id))
}

// nowhere answers for every path that is no page.
func (s *console) nowhere(v visit) { s.tell(v, http.StatusNotFound, v.message("nowhere")) }

// foreign answers a form that did not come from a page of the console.
func (s *console) foreign(v visit) { s.tell(v, http.StatusForbidden, v.message("foreign")) }

// known looks a card up with the name of its type.
func (s *console) known(ctx context.Context, serial string) (subject, error) {
	c, err := s.Cards.Card(ctx, serial)
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
