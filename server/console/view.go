package console

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"latchkey/card"
	"latchkey/policy"
	"latchkey/server/console/words"
	"latchkey/unblock"
)

// The pages, by the names of their templates.
const (
	searchPage   = "search"
	cardPage     = "card"
	processPage  = "process"
	responsePage = "response"
	messagePage  = "message"

	approvalsPage = "approvals"

	signInPage    = "sign-in"
	signedOutPage = "signed-out"
)

// approvalsPath is where supervisors decide on what waits for them.
const approvalsPath = Path + "approvals"

// layout is what every page is put into.
type layout struct {
	Title, Operator, Version string
	Language                 words.Language
	Form                     string // the session's token, empty for a certificate
	Menu                     []item
	Choice                   *choice // nil where nothing can be chosen
	Content                  any
}

// item is one place of the head.
type item struct {
	Path, Name string // the name by its key
	Here       bool
	Count      int // how much waits there
}

// choice is the menu of languages and time zones.
type choice struct {
	Path, To   string
	Languages  []option
	Zones      []option
	Configured string // the zone of those who choose none, empty for the server's own
}

// option is one of several things to choose from.
type option struct {
	Value, Text string
	Chosen      bool
}

// choice offers the languages and time zones, and leads back to the same page.
func (s *console) choice(v visit) *choice {
	c := &choice{Path: preferencesPath, To: v.r.URL.RequestURI()}
	for _, l := range words.Languages() {
		c.Languages = append(c.Languages, option{string(l), l.Name(), l == v.words.Language})
	}
	if id := s.Zone.String(); id != "Local" {
		c.Configured = strings.ReplaceAll(id, "_", " ")
	}
	for _, z := range s.zones {
		c.Zones = append(c.Zones, option{z.ID, z.Name, z.ID == v.words.Zone.String()})
	}
	return c
}

// entrance is where somebody signs in.
type entrance struct {
	Path      string
	Elsewhere string // where the browser goes to sign out there too
}

// link leads to another page.
type link struct{ Path, Text string }

// message is a page that says something: a refusal, or a place where there is
// nothing.
type message struct {
	Title, Detail, Remedy  string
	Code, Check, RequestID string
	Next                   []link
}

// badge is a state with how it is to be taken.
type badge struct {
	State string
	Good  bool
}

// subject is a card with its holder, as they are shown on several pages.
type subject struct {
	card.Card
	TypeName               string
	CardBadge, HolderBadge badge
	Path                   string
	// Standing says how many responses were given out and are left, where that was
	// looked up.
	Standing string
}

// Who is the holder's name, or the card's serial number where no name is known.
func (s subject) Who() string { return cmp.Or(s.Card.Holder.Name, s.Card.Serial) }

// found is the search page.
type found struct {
	Query  string
	Cards  []subject
	Fault  string
	More   string // path of the next page of cards
	Paged  bool   // this is not the first page
	Search string // path of the first page
}

// atCard is the page of a card.
type atCard struct {
	subject
	Form      string   // the session's token
	Key       string   // the idempotency key of the start
	Hindrance *message // why an unblock would be refused now
	Closed    bool     // nothing that the operator can say will help
	Beyond    bool     // a supervisor may go on beyond the card's attempts

	Asked  asked // as it was typed
	Faults faults

	Warning string // that few attempts are left
	Open    []open
}

// asked is the form that starts an unblock, as it was filled in.
type asked struct{ Reason, Ticket, Verification, Override string }

// faults are what is wrong with a form, by its fields.
type faults map[string]string

// notVerified is what the form has where nobody made sure of who the holder is. Not to
// say anything is no answer.
const notVerified = "none"

// way is one way to make sure of who the holder is.
type way struct {
	Value, Text string
	Chosen      bool
}

// Ways lists what can be said of how the holder was verified.
func (a asked) Ways() []way {
	list := []way{{Value: "", Text: "Choose one"}}
	for _, v := range append(policy.Verifications(), notVerified) {
		list = append(list, way{Value: string(v), Text: verified(v)})
	}
	for i := range list {
		list[i].Chosen = list[i].Value == a.Verification
	}
	return list
}

// verified says how a holder was verified.
func verified(v policy.Verification) string {
	switch v {
	case policy.CallBack:
		return "Called back on the number on file"
	case policy.Video:
		return "Face and document seen in a video call"
	case policy.Manager:
		return "Their manager vouches for them"
	case policy.Code:
		return "By a code sent to them another way"
	case policy.Document:
		return "Identity document seen in person"
	case "", notVerified:
		return "Not verified"
	}
	return string(v)
}

// standing says how many responses were given out for a card and are left.
func standing(a unblock.Attempts) string {
	given := fmt.Sprintf("%d given out since one last worked", a.Unconfirmed)
	switch left, limited := a.Left(); {
	case !limited:
		return given + "; no limit is set"
	case a.Unconfirmed == 0:
		return fmt.Sprintf("%d left", left)
	default:
		return fmt.Sprintf("%s; %d left", given, left)
	}
}

// open is a process of the card that has no outcome.
type open struct {
	unblock.Process
	Path string // empty where it is another operator's
}

// opened lists a card's open processes.
func opened(list []unblock.Process) []open {
	var shown []open
	for _, p := range list {
		o := open{Process: p}
		if p.ID != "" {
			o.Path = processPath(p.ID)
		}
		shown = append(shown, o)
	}
	return shown
}

// step is one of the steps of an unblock.
type step struct {
	Name string
	Now  bool
	Done bool
}

// steps lists the steps of an unblock with the one that it stands at, from 0; past
// the last one all are done.
func steps(at int) []step {
	list := []step{{Name: "Card"}, {Name: "Challenge"}, {Name: "Response"}, {Name: "Outcome"}}
	for i := range list {
		list[i].Now, list[i].Done = i == at, i < at
	}
	return list
}

// atProcess is the page of an unblock process.
type atProcess struct {
	unblock.Process
	Subject subject
	Path    string
	Form    string // the session's token
	Steps   []step
	Checks  []unblock.Check

	Key     string    // the idempotency key of the answer
	Digits  int       // how many hex digits the challenge has; 0 if that is not known
	Blank   string    // what the challenge looks like, with a line for each digit
	Typed   string    // the challenge as it was typed
	Misread bool      // it is none
	Wrong   *misspelt // where it is wrong
	Problem *message  // why it was not answered
	Back    *readBack // the challenge as it was understood
	Next    []link
}

// readBack is a challenge as it was understood, for the operator to read to the caller.
type readBack struct {
	Groups   []group
	Warnings []string
	// Suspicious tells that something speaks against the challenge itself.
	Suspicious bool
	Standing   string // of the card's attempts
}

func readBackOf(b unblock.ReadBack) *readBack {
	few := b.Attempts.Warning()
	return &readBack{
		Groups:     groups(b.Challenge.Grouped(), b.Challenge.Spoken()),
		Warnings:   b.Warnings,
		Suspicious: slices.ContainsFunc(b.Warnings, func(w string) bool { return w != few }),
		Standing:   standing(b.Attempts),
	}
}

// misspelt is a challenge as it was typed with the one character that is wrong.
type misspelt struct{ Before, Character, After string }

// atResponse is the page that shows a response.
type atResponse struct {
	atProcess
	Challenge string
	Groups    []group
	Again     bool   // the same response was shown before
	Standing  string // of the card's attempts
	Warning   string // that few are left
}

// atApprovals is the page of what waits for approval.
type atApprovals struct {
	Done string // what was just decided
	List []pending
}

// pending is a process that waits for approval.
type pending struct {
	unblock.Process
	Subject   subject
	Form      string // the session's token
	Path      string
	Statement string // the hash of what is decided on
	Typed     string // the reason, as it was typed
	Fault     string // what is wrong with it
}

// group is four digits of a response with how they are read aloud.
type group struct{ Digits, Spoken string }

// groups takes a challenge or a response apart, which is given in groups and as it is
// spoken. What it gives of a response is as secret as that.
func groups(grouped, spoken string) []group {
	digits, words := strings.Split(grouped, " "), strings.Split(spoken, ", ")
	list := make([]group, len(digits))
	for i := range list {
		list[i] = group{digits[i], words[i]}
	}
	return list
}

// blank is a challenge of so many digits with a line for each.
func blank(digits int) string {
	return strings.TrimSpace(strings.Repeat("____ ", digits/4) + strings.Repeat("_", digits%4))
}

// wrongIn finds the character that makes a typed challenge wrong, nil where it
// is no single one.
func wrongIn(typed string, err *card.ChallengeError) *misspelt {
	runes := []rune(typed)
	if err.Position < 1 || err.Position > len(runes) {
		return nil
	}
	at := err.Position - 1
	return &misspelt{string(runes[:at]), string(runes[at]), string(runes[at+1:])}
}

func cardPath(serial string) string { return Path + "cards/" + url.PathEscape(serial) }

func processPath(id string) string { return Path + "unblocks/" + url.PathEscape(id) }

func approvalPath(id string) string { return approvalsPath + "/" + url.PathEscape(id) }

func searchPath(text, after string) string {
	q := url.Values{"q": {text}}
	if after != "" {
		q.Set("after", after)
	}
	return Path + "?" + q.Encode()
}

// sentence begins a text with a capital letter.
func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
