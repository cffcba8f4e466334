package console_test

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"latchkey/card"
	"latchkey/server/api"
	"latchkey/softhsm-test/browser"
	"latchkey/softhsm-test/house"
	"latchkey/softhsm-test/virtualcard"
)

// TestUnblockInBrowser: an operator on the keyboard of a real browser takes a
// blocked card to its new PIN, through the binary as it is shipped.
func TestUnblockInBrowser(t *testing.T) {
	h := house.New(t, house.Config{})
	h.CardType(t, "employee", "Employee card", "tdes")
	h.CardType(t, "contractor", "Contractor card", "aes")
	b := browser.New(t, h.Door(t, "email:anna@example.org")).WithoutScript(t)

	for _, c := range []struct {
		name, search string
		keyType      card.KeyType
		card         api.Card
	}{
		{"tdes", "beispiel", card.TDES3, api.Card{
			Serial: "5F41 0087 2C19", Type: "employee", State: "blocked",
			Holder: api.Holder{ID: "u1", Name: "Berta Beispiel", Email: "berta.beispiel@example.org", EmployeeNumber: "004711", Unit: "Accounts", State: "active"},
		}},
		{"aes", "5f41 00A1", card.AES256, api.Card{
			Serial: "5F41 00A1/07", Type: "contractor", State: "blocked",
			Holder: api.Holder{ID: "u2", Name: "Jörg <b>Muster</b>", State: "active"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) { unblock(t, b, c.name, c.search, c.card, h.Issue(t, c.card, c.keyType)) })
	}

	t.Run("refused", func(t *testing.T) {
		h.Issue(t, api.Card{Serial: "REVOKED 1", Type: "employee", State: "revoked", Holder: api.Holder{ID: "u3", Name: "Rita Revoked", State: "active"}}, card.TDES3)
		b.Goes(t, 200, chromedp.Navigate(b.Base+"/console/cards/REVOKED%201"))
		b.Shows(t, "An unblock would be refused", "The card is revoked")
		b.Shot(t, "hindered")
		b.Goes(t, 200, chromedp.Navigate(b.Base+"/console/?q=nobody"))
		b.Shows(t, "No card matches “nobody”")
		b.Shot(t, "none")
	})
	t.Run("foreign form", func(t *testing.T) {
		evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = fmt.Fprintf(w, `<form method="post" action="%s/console/cards/5F41%%200087%%202C19/unblock"><input name="reason" value="x"><button>Win</button></form>`, b.Base)
		}))
		t.Cleanup(evil.Close)
		b.Do(t, chromedp.Navigate(evil.URL))
		b.Goes(t, 403, chromedp.Click(chromedp.CSS("button")))
		b.Shows(t, "The form came from another site")
	})
	t.Run("backend", func(t *testing.T) {
		b.Goes(t, 403, chromedp.Navigate(h.Door(t, "dns:idm.example.org")+"/console/"))
		b.Shows(t, "The console is for people", "identity-manager")
	})
}

// unblock takes a card through the whole of it.
func unblock(t *testing.T, b *browser.Browser, name, search string, registered api.Card, made *virtualcard.Card) {
	challenge, err := made.Challenge()
	check(t, err)
	typed := card.Challenge(challenge).Grouped()
	enter := func(field, text string) chromedp.Action[chromedp.Void] {
		return chromedp.SendKeys(chromedp.CSS(field), text+"\r")
	}

	b.Goes(t, 200, chromedp.Navigate(b.Base+"/console/"))
	if id := browser.Evaluate[string](t, b, "document.activeElement.id"); id != "q" {
		t.Errorf("the search page puts the cursor into %q", id)
	}
	b.Shot(t, name+"-1-search")
	b.Goes(t, 200, enter("#q", search))
	b.Shows(t, registered.Holder.Name, registered.Serial)
	b.Shot(t, name+"-2-found")
	b.Goes(t, 200, chromedp.Click(chromedp.CSS("tbody a")))
	b.Shows(t, registered.Holder.Name, registered.Serial, "blocked")
	b.Shot(t, name+"-3-card")
	b.Start(t, "PIN forgotten on holiday", browser.Click(browser.StartButton))
	b.Shows(t, fmt.Sprintf("%d digits", 2*len(challenge)), "Attempts left")
	b.Shot(t, name+"-4-challenge")

	// A wrong character is named, and the rest need not be typed again.
	b.Goes(t, 422, enter("#challenge", "S"+typed[1:]))
	if got := b.Text(t, "mark"); got != "S" {
		t.Errorf("marked is %q", got)
	}
	kept, err := chromedp.Run(b.Context(), chromedp.Value(chromedp.CSS("#challenge")))
	check(t, err)
	if kept != "S"+typed[1:] {
		t.Errorf("kept is %q", kept)
	}
	b.Shot(t, name+"-5-wrong")

	b.Do(t, chromedp.Evaluate[chromedp.Void]("document.getElementById('challenge').select()"))
	b.Goes(t, 200, enter("#challenge", strings.ToLower(typed)))
	b.Shows(t, "Read this back to the caller")
	if got := strings.Join(strings.Fields(b.Digits(t)), ""); got != strings.ReplaceAll(typed, " ", "") {
		t.Errorf("read back is %q", got)
	}
	b.Shot(t, name+"-5b-read-back")
	// Whoever works by the keyboard presses Enter once more.
	b.Goes(t, 200, chromedp.KeyEvent("\r"))
	b.Shows(t, typed, "Do not remove the card", "Audit entry durable")
	b.Shot(t, name+"-6-response")
	digits := b.Digits(t)
	response, err := hex.DecodeString(digits)
	check(t, err)
	check(t, made.Authenticate(response))
	check(t, made.SetPIN("583920"))
	check(t, made.VerifyPIN("583920"))

	// Its page alone has the response, however often it is loaded.
	b.Goes(t, 200, chromedp.Reload())
	b.Shows(t, "not given out twice")
	if again := b.Digits(t); again != digits {
		t.Errorf("reloaded, the response is %s", again)
	}
	gone := func(how string) {
		t.Helper()
		if page := browser.Evaluate[string](t, b, "document.documentElement.outerHTML + location.href"); strings.Contains(page, digits[:4]) {
			t.Errorf("after %s the page has the response:\n%s", how, page)
		}
	}
	b.Goes(t, 200, chromedp.Navigate(browser.Evaluate[string](t, b, "location.href")))
	b.Shot(t, name+"-8-outcome")
	gone("going on")
	b.Goes(t, 200, chromedp.Click(chromedp.CSS("button[value=pin-changed]")))
	b.Shows(t, "The card works again")
	b.Shot(t, name+"-9-done")
}
