package console

import (
	"cmp"
	"html/template"
	"net/url"
	"strings"
	"time"

	"latchkey/card"
	"latchkey/unblock"
)

// The pages, by the names of their templates.
const (
	searchPage   = "search"
	cardPage     = "card"
	processPage  = "process"
	responsePage = "response"
	messagePage  = "message"

	signInPage    = "sign-in"
	signedOutPage = "signed-out"
)

// layout is what every page is put into.
type layout struct {
	Title, Operator, Version string
	Form                     string // the session's token, empty for a certificate
	Content                  any
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
	Hindrance *message // why an unblock would be refused now
	Closed    bool     // no reason that the operator can give will help
	Reason    string   // as it was typed
	Fault     string   // what is wrong with it
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

	Digits  int       // how many hex digits the challenge has; 0 if that is not known
	Blank   string    // what the challenge looks like, with a line for each digit
	Typed   string    // the challenge as it was typed
	Wrong   *misspelt // where it is wrong
	Problem *message  // why it was not answered
	Next    []link
}

// misspelt is a challenge as it was typed with the one character that is wrong.
type misspelt struct{ Before, Character, After string }

// atResponse is the page that shows a response, once.
type atResponse struct {
	atProcess
	Challenge string
	Groups    []group
}

// group is four digits of a response with how they are read aloud.
type group struct{ Digits, Spoken string }

// groups takes a response apart. What it gives is as secret as the response.
func groups(r card.Response) []group {
	digits, spoken := strings.Split(r.Grouped(), " "), strings.Split(r.Spoken(), ", ")
	list := make([]group, len(digits))
	for i := range list {
		list[i] = group{digits[i], spoken[i]}
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

// functions are what templates can call.
func functions() template.FuncMap {
	return template.FuncMap{
		"sentence": func(c unblock.Check) string { return sentence(string(c)) },
		// Times are shown as the clock on the server's wall has them.
		"time":    func(t time.Time) string { return t.Local().Format("2 January 2006, 15:04 MST") },
		"clock":   func(t time.Time) string { return t.Local().Format("15:04 MST") },
		"rfc3339": func(t time.Time) string { return t.Format(time.RFC3339) },
	}
}
