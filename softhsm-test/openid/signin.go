package openidtest

import (
	"net/http"
	"net/url"
	"testing"
)

// SignIn does what one of Dex's people does at its login page: fills it in. It gives
// the answer that follows, which sends the browser back.
func SignIn(tb testing.TB, browser *http.Client, page *http.Response, name string) *http.Response {
	tb.Helper()
	answer, err := browser.PostForm(page.Request.URL.String(), url.Values{"login": {name + "@example.org"}, "password": {Password}})
	if err != nil {
		tb.Fatal(err)
	}
	return answer
}
