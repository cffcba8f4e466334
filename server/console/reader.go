package console

import (
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"latchkey/server/console/words"
	"latchkey/unblock"
)

// What a reader chose is in two cookies, which say nothing of who that is.
const (
	languageCookie = "latchkey-language"
	zoneCookie     = "latchkey-zone"
	chosenFor      = 365 * 24 * time.Hour
)

// preferencesPath is where the language and the time zone are chosen.
const preferencesPath = Path + "preferences"

// wordsFor are the words for whoever sent the request.
func (s *console) wordsFor(r *http.Request) words.Words {
	chosen := func(name string) string {
		c, err := r.Cookie(name)
		if err != nil {
			return ""
		}
		value, err := url.QueryUnescape(c.Value)
		if err != nil {
			return ""
		}
		return value
	}
	language := s.texts.Choose(chosen(languageCookie), r.Header.Get("Accept-Language"))
	zone := s.Zone
	if id := chosen(zoneCookie); s.zone(id) {
		if known, err := time.LoadLocation(id); err == nil {
			zone = known
		}
	}
	return s.texts.For(language, zone)
}

// zone tells whether it is one of the menu's.
func (s *console) zone(id string) bool {
	return slices.ContainsFunc(s.zones, func(z words.Zone) bool { return z.ID == id })
}

// prefer keeps what a reader chose, and leads back. It asks nobody who they are: the
// page to sign in on has the menu too.
func (s *console) prefer(w http.ResponseWriter, r *http.Request) {
	v := s.visit(w, r)
	if !s.form(v) {
		return
	}
	for field, cookie := range map[string]string{"language": languageCookie, "zone": zoneCookie} {
		if !r.PostForm.Has(field) {
			continue
		}
		c := &http.Cookie{
			Name: cookie, Value: url.QueryEscape(r.PostForm.Get(field)), Path: Path, MaxAge: int(chosenFor.Seconds()),
			Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
		}
		if c.Value == "" {
			c.MaxAge = -1
		}
		http.SetCookie(w, c)
	}
	s.see(v, within(r.PostForm.Get("to")))
}

// within is an address if it is one of the console, and else its first page.
func within(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(u.Path, Path) {
		return Path
	}
	return u.RequestURI()
}

// sheet is the template of a page with the words that it is filled in with: a
// template's functions are bound when it is parsed, so each has a place of its own for
// them, and no two requests have one sheet at a time.
type sheet struct {
	page  *template.Template
	words words.Words
}

// sheets makes and keeps the sheets of one page.
type sheets struct {
	name string
	pool sync.Pool
}

func (s *sheets) take() (*sheet, error) {
	if ready, ok := s.pool.Get().(*sheet); ok {
		return ready, nil
	}
	made := &sheet{}
	var err error
	made.page, err = template.New("layout.html").Funcs(functions(&made.words)).
		ParseFS(files, "templates/layout.html", "templates/parts.html", "templates/"+s.name+".html")
	if err != nil {
		return nil, fmt.Errorf("console page %s: %w", s.name, err)
	}
	return made, nil
}

// functions are what templates can call: t is a text by its key, with the values of
// its placeholders behind it by name and value; when and clock are moments.
func functions(w *words.Words) template.FuncMap {
	return template.FuncMap{
		"t": func(key string, pairs ...any) (template.HTML, error) {
			values, err := words.Pairs(pairs...)
			if err != nil {
				return "", fmt.Errorf("%s: %w", key, err)
			}
			return w.HTML(key, values)
		},
		"when":   func(t time.Time) (template.HTML, error) { return w.When(t) },
		"clock":  func(t time.Time) (template.HTML, error) { return w.Clock(t) },
		"number": func(n any) string { return w.Number(n) },

		"verified": verified,
		"sentence": func(c unblock.Check) string { return sentence(string(c)) },
	}
}

// say is a text by its key, with the values of its placeholders behind it by name and
// value. One that cannot be said is shown by its key and reported.
func (v visit) say(key string, pairs ...any) string {
	values, err := words.Pairs(pairs...)
	var text string
	if err == nil {
		text, err = v.words.Text(key, values)
	}
	if err != nil {
		v.report(err)
		return key
	}
	return text
}

// message is a message by its name: its title, detail and remedy. The values are for
// all of them.
func (v visit) message(name string, pairs ...any) message {
	key := "message." + name
	return message{Title: v.say(key+".title", pairs...), Detail: v.say(key+".detail", pairs...), Remedy: v.say(key+".remedy", pairs...)}
}
