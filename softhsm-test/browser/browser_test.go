package browser_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"latchkey/softhsm-test/browser"
)

// The browser hears of what a page does against its policy, of a script that fails and
// of a barrier; else the tests of pages would prove nothing.
func TestBrowserComplains(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if r.URL.Path == "/policy" {
			w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'")
		}
		_, _ = w.Write([]byte(`<!DOCTYPE html><html lang="en"><title>x</title><main><h1>x</h1><p style="color:#ccc">pale</p><script>boom()</script></main>`))
	}))
	t.Cleanup(server.Close)
	b := browser.New(t, server.URL)
	// The page with a policy has no colours of its own, so it does not come last.
	for _, page := range []struct{ path, want string }{{"/policy", "policy was broken"}, {"/script", "boom is not defined"}} {
		b.Do(t, chromedp.Navigate(b.Base+page.path))
		if got := strings.Join(b.Complaints(), "\n"); !strings.Contains(got, page.want) {
			t.Errorf("%s: the browser complains of %q", page.path, got)
		}
	}
	if faults := b.Barriers(t); !strings.Contains(strings.Join(faults, "\n"), "color-contrast") {
		t.Errorf("axe finds %q", faults)
	}
}
