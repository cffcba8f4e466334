package console

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"

	"latchkey/card"
	"latchkey/identity"
	"latchkey/server/session"
	"latchkey/unblock"
)

// Where people sign in and out. The provider has to know the callback.
const (
	signInPath   = Path + "sign-in"
	callbackPath = Path + "callback"
	signOutPath  = Path + "sign-out"
)

// formField is the field of a form that holds the session's token.
const formField = "form"

// askToSignIn shows the way in, instead of a page that is for operators.
func (s *console) askToSignIn(v visit) {
	page := entrance{Path: signInPath}
	if v.r.Method == http.MethodGet && v.r.URL.Path != Path {
		page.Path += "?" + url.Values{"to": {v.r.URL.EscapedPath()}}.Encode()
	}
	s.show(v, http.StatusUnauthorized, signInPage, "Sign in", page)
}

// signIn sends the browser to the provider.
func (s *console) signIn(w http.ResponseWriter, r *http.Request) {
	v := s.visit(w, r)
	if v.caller.Operator != nil {
		s.see(v, Path) // he is in already, by a certificate perhaps
		return
	}
	if err := s.SignIn.Begin(w, r, r.URL.Query().Get("to")); err != nil {
		s.refuseSignIn(v, err)
	}
}

// signedIn takes the browser back from the provider.
func (s *console) signedIn(w http.ResponseWriter, r *http.Request) {
	v := s.visit(w, r)
	to, err := s.SignIn.Finish(w, r)
	if err != nil {
		s.refuseSignIn(v, err)
		return
	}
	s.see(v, to)
}

// signOut ends the session. The browser leaves from a page and not from the form:
// the console's forms lead nowhere else.
func (s *console) signOut(v visit) {
	if v.token == "" { // a certificate has no session that could end
		s.see(v, Path)
		return
	}
	elsewhere, err := s.SignIn.End(v.w, v.r, v.caller.Operator.ID)
	if err != nil && !errors.Is(err, session.ErrNone) {
		s.refuse(v, unblock.Unavailable("The session could not be ended. Try again.", err))
		return
	}
	if elsewhere != "" {
		v.w.Header().Set("Refresh", "0; url="+elsewhere)
	}
	v.caller, v.token = unblock.Caller{RequestID: v.caller.RequestID}, ""
	s.show(v, http.StatusOK, signedOutPage, "Signed out", entrance{Path: signInPath, Elsewhere: elsewhere})
}

// refuseSignIn says why somebody did not get in.
func (s *console) refuseSignIn(v visit, err error) {
	s.Report(v.r, err)
	m, status := message{Title: "The sign-in failed", Next: []link{{signInPath, "Sign in"}}}, http.StatusForbidden
	var no *identity.TokenError
	switch {
	case errors.Is(err, identity.ErrProviderAway):
		status = http.StatusServiceUnavailable
		m.Detail, m.Remedy = "The identity provider cannot be reached.", "Try again in a while. Operators who have a certificate for this console get in with that."
	case errors.Is(err, session.ErrStrange):
		status = http.StatusBadRequest
		m.Detail, m.Remedy = "This answer of the identity provider belongs to no sign-in that this browser has under way, or to one that took too long or is over.", "Sign in again, from here, and in one window."
	case errors.Is(err, session.ErrBusy):
		status = http.StatusTooManyRequests
		m.Detail, m.Remedy = "Too many people sign in at the moment.", "Try again in a few seconds."
	case errors.Is(err, session.ErrDeclined):
		m.Detail, m.Remedy = "The identity provider did not sign you in.", "Try again. If it goes on, ask those who run the identity provider."
	case errors.Is(err, session.ErrNotAdmitted):
		m.Detail, m.Remedy = "You have no role that this console takes.", "Ask an administrator for the role operator or supervisor."
	case errors.Is(err, identity.ErrInactive):
		m.Detail, m.Remedy = "You are registered as inactive.", "Ask an administrator."
	case errors.Is(err, card.ErrNotFound):
		m.Detail, m.Remedy = "You are not registered as an operator.", "Ask an administrator."
	case errors.As(err, &no):
		m.Detail, m.Remedy = "What the identity provider says of you is not to be believed: the token "+no.Why+".", "Sign in again. If it goes on, tell an administrator the request."
	case errors.Is(err, context.Canceled):
		return // nobody waits for the page
	default:
		s.refuse(v, unblock.Unavailable("The sign-in could not be carried out. Try again later.", err))
		return
	}
	s.tell(v, status, m)
}

// genuine tells whether the form that was sent is one of this session's. With a
// certificate there is no session, and its origin has been looked at.
func (v visit) genuine() bool {
	return v.token == "" || subtle.ConstantTimeCompare([]byte(v.r.PostForm.Get(formField)), []byte(v.token)) == 1
}
