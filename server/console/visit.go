package console

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"

	"latchkey/card"
	"latchkey/identity"
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
}

// visit is a request with whatever is known of who sent it.
func (s *console) visit(w http.ResponseWriter, r *http.Request) visit {
	caller, ok := s.Caller(r)
	v := visit{w: w, r: r, caller: caller}
	if ok && caller.Means == identity.BySession && s.SignIn != nil {
		v.token = s.SignIn.FormToken(r)
	}
	return v
}

// operatorsOnly lets operators in, and tells everybody else why not.
func (s *console) operatorsOnly(next func(visit)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := s.visit(w, r)
		_, known := s.Caller(r)
		switch {
		case !known && s.SignIn != nil:
			s.askToSignIn(v)
		case !known:
			s.refuse(v, &unblock.Refusal{Code: unblock.CallerUnknown, Detail: "The caller is not authenticated."})
		case v.caller.Operator == nil:
			s.tell(v, http.StatusForbidden, message{
				Title:  "The console is for operators",
				Detail: fmt.Sprintf("The client %s is no operator itself, so there is nobody in whose name it could work here.", v.caller.Client),
				Remedy: "Use the certificate of an operator. A program calls the API instead.",
			})
		case r.Method != http.MethodPost || v.token == "":
			next(v)
		case !s.form(v):
		case !v.genuine():
			s.tell(v, http.StatusForbidden, message{
				Title:  "The form is of another session",
				Detail: "Since the page with the form was shown, you have signed in anew or another page has sent the form. Nothing was done.",
				Remedy: "Find the card again, and go on from there.",
			})
		default:
			next(v)
		}
	})
}

// form reads the form that was sent, or shows why it cannot be read.
func (s *console) form(v visit) bool {
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, maxForm)
	err := v.r.ParseForm()
	if err == nil {
		return true
	}
	m := message{
		Title:  "The form could not be read",
		Detail: "What the browser sent is not a form of this console.",
		Remedy: "Go back, and send the form again.",
	}
	status := http.StatusBadRequest
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		status = http.StatusRequestEntityTooLarge
		m.Detail = fmt.Sprintf("The form is longer than %d bytes.", tooLarge.Limit)
		m.Remedy = "Go back, and type less."
	}
	s.tell(v, status, m)
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
	s.tell(v, http.StatusBadRequest, message{
		Title:  "The form is not whole",
		Detail: "It lacks the key by which it is known when it is sent twice, so nothing was done.",
		Remedy: "Go back, load the page anew, and send the form again.",
	})
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
	around := layout{Title: title, Version: s.Version, Form: v.token, Content: content}
	if v.caller.Operator != nil {
		around.Operator = v.caller.Operator.ID
	}
	if around.Approves = v.approves(); around.Approves {
		around.Waiting = s.waiting(v)
	}
	// A page is made as a whole first, so that none is sent by half.
	var page bytes.Buffer
	err := s.templates[name].ExecuteTemplate(&page, "layout.html", around)
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
		m.Next = []link{{Path, "Find a card"}}
	}
	s.show(v, status, messagePage, m.Title, m)
}

// see sends the browser to another page of the console.
func (s *console) see(v visit, path string) {
	http.Redirect(v.w, v.r, path, http.StatusSeeOther) //nolint:gosec // the paths are the console's own; what a sign-in leads to is seen to in session
}
