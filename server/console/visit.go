package console

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"latchkey/card"
	"latchkey/identity"
	"latchkey/server/console/words"
	"latchkey/unblock"
)

// maxForm is the most bytes that the console reads of a form.
const maxForm = 8 << 10

// visit is one request of an operator, and where its page goes.
type visit struct {
	w      http.ResponseWriter
	r      *http.Request
	caller unblock.Caller
	// token is what the forms of the caller's session hold, empty where he comes with
	// a certificate.
	token string
	// words are those that the caller is told things in.
	words words.Words
	// report puts an error into the server's log.
	report func(error)
}

// visit is a request with whatever is known of who sent it.
func (s *console) visit(w http.ResponseWriter, r *http.Request) visit {
	caller, ok := s.Caller(r)
	v := visit{w: w, r: r, caller: caller, words: s.wordsFor(r), report: func(err error) { s.Report(r, err) }}
	if ok && caller.Means == identity.BySession && s.SignIn != nil {
		v.token = s.SignIn.FormToken(r)
	}
	return v
}

// only lets people in who have one of the roles, and tells everybody else why not.
func (s *console) only(roles []identity.Role, next func(visit)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := s.visit(w, r)
		_, known := s.Caller(r)
		switch {
		case !known && s.SignIn != nil:
			s.askToSignIn(v)
		case !known:
			s.refuse(v, &unblock.Refusal{Code: unblock.CallerUnknown, Detail: "The caller is not authenticated."})
		case v.caller.Operator == nil:
			s.tell(v, http.StatusForbidden, v.message("no-person", "client", v.caller.Client))
		case !v.is(roles):
			s.tell(v, http.StatusForbidden, v.message("no-role", "roles", v.roles(roles)))
		case r.Method != http.MethodPost || v.token == "":
			next(v)
		case !s.form(v):
		case !v.genuine():
			s.tell(v, http.StatusForbidden, v.message("other-session"))
		default:
			next(v)
		}
	})
}

// roles names roles for the reader.
func (v visit) roles(list []identity.Role) string {
	names := make([]string, len(list))
	for i, r := range list {
		names[i] = v.say("role." + string(r))
	}
	return strings.Join(names, ", ")
}

// form reads the form that was sent, or shows why it cannot be read.
func (s *console) form(v visit) bool {
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, maxForm)
	err := v.r.ParseForm()
	if err == nil {
		return true
	}
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		s.tell(v, http.StatusRequestEntityTooLarge, v.message("form-too-long", "limit", tooLarge.Limit))
		return false
	}
	s.tell(v, http.StatusBadRequest, v.message("form-unread"))
	return false
}

// keyed reads a form that has to hold an idempotency key, or shows why it cannot.
func (s *console) keyed(v visit) bool {
	if !s.form(v) {
		return false
	}
	if card.TextFault(v.r.PostForm.Get(keyField), maxKey, true) == "" {
		return true
	}
	s.tell(v, http.StatusBadRequest, v.message("no-key"))
	return false
}

// keyField is the field of a form that holds its idempotency key, of maxKey bytes at
// most.
const (
	keyField = "key"
	maxKey   = 64
)

// key is the idempotency key of the form that was sent, or of one that is to be
// sent: what is shown again for correction is the same form.
func (v visit) key() string {
	if key := v.r.PostForm.Get(keyField); key != "" {
		return key
	}
	return rand.Text()
}

// show writes a page.
func (s *console) show(v visit, status int, name, title string, content any) {
	around := layout{Title: title, Version: s.Version, Language: v.words.Language, Form: v.token, Content: content}
	if v.caller.Operator != nil {
		around.Operator, around.Menu = cmp.Or(v.caller.Operator.Name, v.caller.Operator.ID), s.menu(v)
	}
	// Choosing leads back to the page by its address: what answers a form has none.
	if v.r.Method == http.MethodGet {
		around.Choice = s.choice(v)
	}
	// A page is made as a whole first, so that none is sent by half.
	var page bytes.Buffer
	paper, err := s.sheets[name].take()
	if err == nil {
		paper.words = v.words
		err = paper.page.ExecuteTemplate(&page, "layout.html", around)
		s.sheets[name].pool.Put(paper)
	}
	if err != nil {
		s.Report(v.r, fmt.Errorf("console page %s: %w", name, err))
		http.Error(v.w, "The page could not be made.", http.StatusInternalServerError)
		return
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.WriteHeader(status)
	// Whoever does not wait for the page need not be told.
	_, _ = page.WriteTo(v.w)
}

// refuse shows why something was refused, on a page of its own.
func (s *console) refuse(v visit, err error, next ...link) {
	m, status := s.problem(v, err)
	m.Next = next
	s.tell(v, status, m)
}

// problem reports an error to the server's log, and puts it into words.
func (s *console) problem(v visit, err error) (message, int) {
	s.Report(v.r, err)
	return s.words(v, err)
}

// words tells an operator of an error, with the HTTP status that goes with it.
func (s *console) words(v visit, err error) (message, int) {
	m := message{Code: codeInternal, RequestID: v.caller.RequestID}
	var no *unblock.Refusal
	if errors.As(err, &no) {
		m.Code, m.Check, m.Detail = string(no.Code), sentence(string(no.Check)), no.Detail
		if no.Code == unblock.ProcessAnswered {
			m.Detail += " Its response cannot be shown again."
		}
	}
	p := s.Problem(m.Code)
	m.Title, m.Remedy = p.Title, p.Remedy
	return m, p.Status
}

// codeInternal is the server's code for an error that nobody foresaw.
const codeInternal = "internal-error"

// tell shows a page that says something and leads on.
func (s *console) tell(v visit, status int, m message) {
	m.RequestID = v.caller.RequestID
	if len(m.Next) == 0 && v.caller.Operator != nil {
		m.Next = []link{{Path, v.say("message.home")}}
	}
	s.show(v, status, messagePage, m.Title, m)
}

// see sends the browser to another page of the console.
func (s *console) see(v visit, path string) {
	http.Redirect(v.w, v.r, path, http.StatusSeeOther) //nolint:gosec // the paths are the console's own; what a sign-in leads to is seen to in session
}
