// Package console is the operators' web console: a help-desk operator finds a
// card, starts an unblock process, types the challenge in, reads it back, reads
// the response out and reports what became of it. A supervisor approves what
// policy wants a second person for.
//
// The pages are made on the server from html/template, in the reader's language and
// on the reader's clock (package words), and work without JavaScript. What there is of
// it, static/console.js, only makes them quicker to use. A response is in one place
// only, the page that answers the POST of its challenge: never in a URL and never in a
// cache.
//
// To add a page: its line in routes and, where the head leads to it, in places
// (access.go), which say whom it is for; templates/NAME.html, which defines "content"
// out of the parts in parts.html and is shown by show(v, status, NAME, title, content);
// its texts in words/ROOM.LANGUAGE.yaml for every language, which a template has as
// {{t "key" "name" value}} and code as v.say("key", "name", value); a message page is
// v.message("name") with message.name.title, .detail and .remedy; times are
// {{when t}} or {{clock t}}. The tests find a text that is missing, left over or not in
// the words.
//
// A form that starts or answers holds a random key, the idempotency key of its
// call: sent twice by a double click or a reload it has the same answer, and
// nothing is done or counted twice. So that page alone can be reloaded, by the
// operator who got it, until the outcome is reported or the process's time is over.
//
// A challenge has no check digit, and a wrong one costs the card a try. So each is
// shown as it was understood before it is answered, with the focus on the one
// button that goes on: whoever works by the keyboard presses Enter once more, after
// reading it back. Where something speaks against a challenge the focus is on the
// field that corrects it, and going on takes a deliberate click.
//
// The package knows the use case by the small interfaces in Config, and nothing
// of how callers authenticate: the server does that before it hands a request on.
package console

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"latchkey/card"
	"latchkey/server/console/words"
	"latchkey/store"
	"latchkey/unblock"
)

// Path is where the console has to be mounted, with its trailing slash: the
// handler takes requests with their whole path.
const Path = "/console/"

// Desk runs unblock processes, as *unblock.Desk does.
type Desk interface {
	Foresee(ctx context.Context, caller unblock.Caller, b unblock.Begin) *unblock.Refusal
	Start(ctx context.Context, caller unblock.Caller, b unblock.Begin) (unblock.Opened, error)
	Process(ctx context.Context, caller unblock.Caller, id string) (unblock.Process, error)
	Answer(ctx context.Context, caller unblock.Caller, id string, t unblock.Typed) (unblock.Answer, error)
	Complete(ctx context.Context, caller unblock.Caller, id string, outcome unblock.Outcome) (unblock.Process, error)
	Cancel(ctx context.Context, caller unblock.Caller, id string) (unblock.Process, error)
	ReadBack(ctx context.Context, caller unblock.Caller, id, challenge string) (unblock.ReadBack, error)
	Look(ctx context.Context, caller unblock.Caller, serial string) (unblock.Outlook, error)
	Sees(ctx context.Context, caller unblock.Caller) func(card.Card) (bool, error)
	Pending(ctx context.Context, caller unblock.Caller) ([]unblock.Pending, error)
	Approve(ctx context.Context, caller unblock.Caller, id, statement, reason string) (unblock.Pending, error)
	Refuse(ctx context.Context, caller unblock.Caller, id, reason string) (unblock.Pending, error)
}

// Cards finds cards, as *store.Store does. Card and CardType give
// card.ErrNotFound for what is not there.
type Cards interface {
	FindCards(ctx context.Context, q store.Query) (cards []card.Card, next string, err error)
	Card(ctx context.Context, serial string) (card.Card, error)
	CardType(ctx context.Context, id string) (card.Type, error)
}

// Problem is how the server tells of one kind of problem: with which HTTP
// status, under which title, and with what there is to do about it.
type Problem struct {
	Status        int
	Title, Remedy string
}

// SignIn signs people in who have no certificate, as *session.Sessions does.
type SignIn interface {
	Begin(w http.ResponseWriter, r *http.Request, to string) error
	Finish(w http.ResponseWriter, r *http.Request) (to string, err error)
	End(w http.ResponseWriter, r *http.Request, person string) (elsewhere string, err error)
	// FormToken is what the forms of the request's session have to hold.
	FormToken(r *http.Request) string
}

// Config is what the console works with. All fields but SignIn and Version are
// required.
type Config struct {
	Desk     Desk
	Cards    Cards
	Profiles unblock.Profiles
	// Zone is the time zone of those who choose none; nil is UTC.
	Zone *time.Location
	// CardStates and HolderStates say which states are shown as good ones.
	CardStates, HolderStates card.States

	// Caller tells who calls, as the server authenticated it, or false where it
	// did not.
	Caller func(*http.Request) (unblock.Caller, bool)
	// SignIn is nil where certificates alone let operators in.
	SignIn SignIn
	// Problem looks a problem code up: one of unblock's, or internal-error.
	Problem func(code string) Problem
	// Report puts an error that a page was refused with into the server's log.
	Report func(*http.Request, error)

	// What administrators look after; Families are the profiles of the configuration.
	Types    Types
	Register Register
	Families []card.Profile
	Log      Log

	Version string
	Now     func() time.Time
}

//go:embed templates static
var files embed.FS

// console serves the pages.
type console struct {
	Config
	texts  *words.Catalogue
	zones  []words.Zone
	sheets map[string]*sheets // by the name of the page
}

// New makes the console's handler, to be mounted at Path, or says what is missing
// from the configuration.
func New(c Config) (http.Handler, error) {
	for name, missing := range map[string]bool{
		"Desk": c.Desk == nil, "Cards": c.Cards == nil, "Profiles": c.Profiles == nil,
		"CardStates": len(c.CardStates) == 0, "HolderStates": len(c.HolderStates) == 0,
		"Types": c.Types == nil, "Register": c.Register == nil, "Log": c.Log == nil, "Now": c.Now == nil,
		"Caller": c.Caller == nil, "Problem": c.Problem == nil, "Report": c.Report == nil,
	} {
		if missing {
			return nil, fmt.Errorf("console: %s is not set", name)
		}
	}
	s := &console{Config: c, sheets: map[string]*sheets{}}
	if s.Zone == nil {
		s.Zone = time.UTC
	}
	s.zones = words.Zones(s.Zone)
	var err error
	if s.texts, err = words.Load(); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	pages, err := fs.Glob(files, "templates/*.html")
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	for _, name := range pages {
		page := &sheets{name: strings.TrimSuffix(path.Base(name), ".html")}
		first, err := page.take()
		if err != nil {
			return nil, err
		}
		page.pool.Put(first)
		s.sheets[page.name] = page
	}
	assets, err := assets()
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}

	mux := http.NewServeMux()
	mux.Handle("GET "+Path+"static/", assets)
	mux.HandleFunc("POST "+preferencesPath, s.prefer)
	for _, r := range s.routes() {
		mux.Handle(r.pattern, s.only(r.roles, r.serve))
	}
	mux.Handle("GET "+preferencesPath, s.only(everybody(), func(v visit) { s.see(v, Path) }))

	if s.SignIn != nil {
		mux.HandleFunc("GET "+signInPath, s.signIn)
		mux.HandleFunc("GET "+callbackPath, s.signedIn)
		mux.Handle("POST "+signOutPath, s.only(everybody(), s.signOut))
		mux.Handle("GET "+signOutPath, s.only(everybody(), func(v visit) { s.see(v, Path) }))
	}

	// A browser adds a certificate to the form of a foreign site as readily as it may
	// a cookie. So a POST has to come from a page of ours, and with a cookie it has to
	// hold the session's token besides.
	sameOrigin := http.NewCrossOriginProtection()
	sameOrigin.SetDenyHandler(s.only(everybody(), s.foreign))
	return secured(sameOrigin.Handler(mux)), nil
}

// secured sets the headers that every page and file of the console has.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		h.Set("X-Frame-Options", "DENY")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// assets serves the style sheet and the logo. They hold nothing about anybody, so
// a browser may keep them, and asks each time whether they are still the same.
func assets() (http.Handler, error) {
	tags := map[string]string{}
	err := fs.WalkDir(files, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := files.ReadFile(name)
		sum := sha256.Sum256(content)
		tags[name] = `"` + hex.EncodeToString(sum[:8]) + `"`
		return err
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := path.Join("static", path.Base(r.URL.Path))
		tag, ok := tags[name]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("ETag", tag)
		w.Header().Set("Cache-Control", "no-cache")
		http.ServeFileFS(w, r, files, name)
	}), err
}
