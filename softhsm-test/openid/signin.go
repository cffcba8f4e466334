package openidtest

import (
	"net/http"
	"net/url"
	"testing"
)

// SignIn does what one of Dex's people does at its pages: chooses to log in with a
// password, and fills the form in. It gives the answer that follows, which sends the
// browser back.
func SignIn(tb testing.TB, browser *http.Client, choice *http.Response, name string) *http.Response {
	tb.Helper()
	login := *choice.Request.URL
	login.Path += "/local"
	page, err := browser.Get(login.String())
	if err != nil {
		tb.Fatal(err)
	}
	_ = page.Body.Close()
	answer, err := browser.PostForm(page.Request.URL.String(), url.Values{"login": {name + "@example.org"}, "password": {Password}})
	if err != nil {
		tb.Fatal(err)
	}
	return answer
}
