package console_test

import (
	"crypto/tls"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"latchkey/card"
	"latchkey/server/api"
	"latchkey/softhsm-test/browser"
	"latchkey/softhsm-test/house"
	openidtest "latchkey/softhsm-test/openid"
)

// An operator without a certificate signs in at a real provider, unblocks a card
// and signs out; and nobody else gets in by what is left.
func TestSignIn(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	address := free.Addr().String()
	check(t, free.Close())
	redirect := "https://" + address + "/console/callback"
	secret := filepath.Join(t.TempDir(), "secret")
	check(t, os.WriteFile(secret, []byte(openidtest.ClientSecret+"\n"), 0o600))
	dex := openidtest.NewDex(t, redirect)
	authority := filepath.Join(t.TempDir(), "ca.pem")
	check(t, os.WriteFile(authority, dex.CA, 0o600))
	h := house.New(t, house.Config{Address: address, More: fmt.Sprintf(`
oidc:
  issuer: %s
  ca: %s
  audience: latchkey-api
  claims: {operator: name}
  console: {client_id: %s, client_secret_file: %s, redirect_url: %s}
`, dex.Issuer, authority, openidtest.ClientID, secret, redirect)})
	h.CardType(t, "employee", "Employee card", "tdes")
	registered := api.Card{Serial: "5F41 0087 2C19", Type: "employee", State: "blocked", Holder: api.Holder{ID: "u1", Name: "Astrid Berg", State: "active"}}
	made := h.Issue(t, registered, card.TDES3)

	b := browser.New(t, h.URL)
	// signIn goes to the provider from where the browser is, and comes back.
	signIn := func(name string, status int64) {
		t.Helper()
		_, err := chromedp.RunResponse(b.Context(), chromedp.Click(chromedp.CSS(".links a")))
		check(t, err)
		_, err = chromedp.RunResponse(b.Context(), chromedp.Click(chromedp.CSS(`a[href*="/auth/local"]`)))
		check(t, err)
		b.Do(t, chromedp.SendKeys(chromedp.CSS("#login"), name+"@example.org"))
		b.Goes(t, status, chromedp.SendKeys(chromedp.CSS("#password"), openidtest.Password+"\r"))
	}
	const page = "/console/cards/5F41%200087%202C19"
	b.Goes(t, 401, chromedp.Navigate(b.Base+page))
	b.Shows(t, "Sign in")
	b.Shot(t, "sign-in")
	signIn("anna", 200)
	if at := browser.Evaluate[string](t, b, "location.pathname"); at != page {
		t.Errorf("signed in, and led to %s", at)
	}
	b.Shows(t, "Anna Blom", "Sign out", "Astrid Berg")
	unblock(t, b, "session", "Astrid", registered, made)
	b.Goes(t, 200, chromedp.Navigate(b.Base+page))

	cookie := cookie(t, b)
	if !cookie.Secure || !cookie.HTTPOnly || !cookie.Session || cookie.SameSite != network.CookieSameSiteLax || cookie.Path != "/" || cookie.Domain != "127.0.0.1" {
		t.Errorf("the session's cookie is %+v", cookie)
	}
	sessionIsForPagesAlone(t, h, cookie.Value)

	t.Run("form of another session", func(t *testing.T) {
		browser.Evaluate[string](t, b, "document.querySelector('form[action$=unblock] [name=form]').value = 'x'")
		b.Do(t, chromedp.SendKeys(chromedp.CSS("#reason"), "forged"), chromedp.SendKeys(chromedp.CSS("#verification"), "Called"))
		b.Goes(t, 403, chromedp.Click(chromedp.CSS("form[action$=unblock] button")))
		b.Shows(t, "The form is of another session")
		b.Goes(t, 200, chromedp.Navigate(b.Base+page))
		browser.Evaluate[string](t, b, "(document.querySelector('.leave [name=form]').remove(), '')")
		b.Goes(t, 403, chromedp.Click(chromedp.CSS(".leave button")))
	})

	b.Goes(t, 200, chromedp.Navigate(b.Base+page))
	b.Goes(t, 200, chromedp.Click(chromedp.CSS(".leave button")))
	b.Shows(t, "Signed out")
	b.Shot(t, "signed-out")
	for _, to := range []chromedp.Action[chromedp.Void]{chromedp.NavigateBack(), chromedp.Navigate(b.Base + page)} {
		b.Goes(t, 401, to)
		if text := b.Text(t, "body"); strings.Contains(text, "Astrid") || strings.Contains(text, "Anna") {
			t.Errorf("after signing out, the page before shows:\n%s", text)
		}
	}
	if status, _ := get(t, h, "/console/", cookie.Value, ""); status != http.StatusUnauthorized {
		t.Errorf("with the cookie of the session that ended: %d", status)
	}

	b.Goes(t, 401, chromedp.Navigate(b.Base+"/console/"))
	signIn("omar", 403)
	b.Shows(t, "The sign-in failed", "no role")
	b.Goes(t, 400, chromedp.Navigate(b.Base+"/console/callback?state=x&code=y"))
	b.Shows(t, "no sign-in that this browser has under way")
}

// cookie is the one that the browser has of the console.
func cookie(t *testing.T, b *browser.Browser) *network.Cookie {
	t.Helper()
	got, err := chromedp.Call(b.Context(), network.GetCookies, network.GetCookiesParams{URLs: []string{b.Base}})
	check(t, err)
	if len(got.Cookies) != 1 || got.Cookies[0].Name != "__Host-latchkey" {
		t.Fatalf("the browser has the cookies %+v", got.Cookies)
	}
	return got.Cookies[0]
}

// get is what somebody is answered who has a session's secret, and a certificate of
// that name unless it is "".
func get(t *testing.T, h *house.House, path, secret, certificate string) (status int, body string) {
	t.Helper()
	config := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: h.CA.Pool()}
	if certificate != "" {
		pair, err := h.CA.Client(pkix.Name{CommonName: certificate}, certificate)
		check(t, err)
		config.Certificates = []tls.Certificate{pair.TLS()}
	}
	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.URL+path, nil)
	check(t, err)
	r.AddCookie(&http.Cookie{Name: "__Host-latchkey", Value: secret})
	answer, err := transport.RoundTrip(r)
	check(t, err)
	text, err := io.ReadAll(answer.Body)
	check(t, err)
	check(t, answer.Body.Close())
	return answer.StatusCode, string(text)
}

// sessionIsForPagesAlone checks that a session is nothing to the API, and that a
// certificate comes before it.
func sessionIsForPagesAlone(t *testing.T, h *house.House, secret string) {
	t.Helper()
	if status, body := get(t, h, "/console/", secret, ""); status != http.StatusOK || !strings.Contains(body, "Sign out") {
		t.Errorf("with the session: %d\n%s", status, body)
	}
	for _, path := range []string{"/v1/cards?q=a", "/v1/card-types", "/v1/keys"} {
		if status, body := get(t, h, path, secret, ""); status != http.StatusUnauthorized || !strings.Contains(body, "client-certificate-required") {
			t.Errorf("%s with a session: %d %s", path, status, body)
		}
	}
	if status, body := get(t, h, "/console/", secret, "email:anna@example.org"); status != http.StatusOK || strings.Contains(body, "Sign out") {
		t.Errorf("with a certificate besides: %d\n%s", status, body)
	}
	if status, _ := get(t, h, "/console/", secret, "dns:idm.example.org"); status != http.StatusForbidden {
		t.Errorf("with a backend's certificate besides: %d", status)
	}
	if status, body := get(t, h, "/console/", secret, "email:nobody@example.org"); status != http.StatusOK || !strings.Contains(body, "Sign out") {
		t.Errorf("with a certificate that is no client's besides: %d", status)
	}
}
