package console_test

import (
	"encoding/hex"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"latchkey/card"
	"latchkey/server/api"
	"latchkey/softhsm-test/browser"
	"latchkey/softhsm-test/house"
)

// TestApprovalInBrowser: an operator and a supervisor, each with a browser and a
// certificate of their own, take the card of a privileged holder to its new PIN, and
// press every button twice.
func TestApprovalInBrowser(t *testing.T) {
	h := house.New(t, house.Config{})
	h.CardType(t, "employee", "Employee card", "tdes")
	registered := api.Card{
		Serial: "5F41 0087 2C19", Type: "employee", State: "blocked",
		Holder: api.Holder{ID: "u1", Name: "Berta Beispiel", Unit: "Board", State: "active", Privileged: true},
	}
	made := h.Issue(t, registered, card.TDES3)
	const page = "/console/cards/5F41%200087%202C19"
	twice := func(button string) chromedp.Action[chromedp.Void] { return chromedp.DoubleClick(chromedp.CSS(button)) }

	anna, sven := browser.New(t, h.Door(t, "email:anna@example.org")), browser.New(t, h.Door(t, "email:sven@example.org"))
	anna.Goes(t, 200, chromedp.Navigate(anna.Base+page))
	anna.Start(t, "PIN forgotten on holiday", twice(browser.StartButton))
	anna.Shows(t, "A supervisor has to approve")
	anna.Shot(t, "approval-1-waiting")
	process := browser.Evaluate[string](t, anna, "location.pathname")
	anna.Goes(t, 200, chromedp.Navigate(anna.Base+page)) // back at the card
	anna.Shows(t, "Waits for approval", "Go on with your unblock")
	anna.Shot(t, "approval-2-busy")
	anna.Goes(t, 200, chromedp.Click(chromedp.CSS(".notice + .links a")))
	if at := browser.Evaluate[string](t, anna, "location.pathname"); at != process {
		t.Errorf("the card's page leads to %s, not to %s", at, process)
	}

	sven.Goes(t, 200, chromedp.Navigate(sven.Base+"/console/"))
	if count := browser.Evaluate[string](t, sven, "document.querySelector('.count').textContent"); count != "11 waits" {
		t.Errorf("the head says %q", count)
	}
	sven.Goes(t, 200, chromedp.Click(chromedp.CSS("nav a[href$=approvals]")))
	sven.Shows(t, "anna.schmidt asks to unblock", "Berta Beispiel", "PIN forgotten on holiday", "INC-10422", "Called back", "own certificate")
	sven.Shot(t, "approval-3-asked")
	sven.Do(t, chromedp.SendKeys(chromedp.CSS("#reason-0"), "Spoke to her myself\r")) // Enter alone decides nothing
	sven.Goes(t, 200, twice("button[value=approve]"))
	sven.Shows(t, "Approved.", "Nothing waits for your approval")
	sven.Shot(t, "approval-4-done")

	// The page that waits goes on by itself.
	for until := time.Now().Add(time.Minute); !browser.Evaluate[bool](t, anna, "document.querySelector('#challenge') != null"); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("the page still waits:\n%s", anna.Text(t, "body"))
		}
	}
	anna.Shows(t, "sven.strand", "Spoke to her myself")
	anna.Shot(t, "approval-5-approved")

	anna.Goes(t, 200, chromedp.SendKeys(chromedp.CSS("#challenge"), "1111 1111 1111 1111\r"))
	anna.Shows(t, "one digit over and over")
	if id := browser.Evaluate[string](t, anna, "document.activeElement.id"); id != "challenge" {
		t.Errorf("the focus of a suspicious challenge is on %q", id)
	}
	anna.Shot(t, "approval-6-suspicious")
	challenge, err := made.Challenge()
	check(t, err)
	anna.Do(t, chromedp.Evaluate[chromedp.Void]("document.getElementById('challenge').select()"))
	anna.Goes(t, 200, chromedp.SendKeys(chromedp.CSS("#challenge"), card.Challenge(challenge).Grouped()+"\r"))
	anna.Goes(t, 200, twice("form[action$=response] button"))
	digits := anna.Digits(t)
	response, err := hex.DecodeString(digits)
	check(t, err)
	check(t, made.Authenticate(response))
	check(t, made.SetPIN("583920"))
	anna.Goes(t, 200, chromedp.Reload())
	if again := anna.Digits(t); again != digits {
		t.Errorf("reloaded, the response is %s", again)
	}
	// Chromium asks before it sends the form of the page before again; nothing was.
	if _, err := chromedp.RunResponse(anna.Context(), chromedp.NavigateBack()); err == nil && anna.Digits(t) == digits {
		t.Errorf("back, the page has the response:\n%s", anna.Text(t, "body"))
	}
	anna.Goes(t, 200, chromedp.Navigate(anna.Base+page))
	anna.Shows(t, "1 given out since one last worked", "Report what happened")
	anna.Goes(t, 200, chromedp.Click(chromedp.CSS(".open a")))
	anna.Goes(t, 200, twice("button[value=pin-changed]"))
	anna.Shows(t, "The card works again")

	// Another is begun, and cancelled twice.
	anna.Goes(t, 200, chromedp.Navigate(anna.Base+page))
	anna.Start(t, "Again", twice(browser.StartButton))
	anna.Goes(t, 200, twice(".cancel button"))
	anna.Shows(t, "Cancelled")
	sven.Goes(t, 200, chromedp.Navigate(sven.Base+"/console/approvals"))
	sven.Shows(t, "Nothing waits")

	t.Run("attempts", func(t *testing.T) {
		mortal := api.Card{Serial: "5F41 0000 0001", Type: "employee", State: "blocked", Holder: api.Holder{ID: "u2", Name: "Max Muster", State: "active"}}
		made := h.Issue(t, mortal, card.TDES3)
		desk := h.Client(t, "email:anna@example.org")
		for left := 4; left > 0; left-- {
			if left == 1 {
				anna.Goes(t, 200, chromedp.Navigate(anna.Base+"/console/cards/5F41%200000%200001"))
				anna.Shows(t, "One response is left")
				anna.Shot(t, "attempts-1-few")
			}
			challenge, err := made.Challenge()
			check(t, err)
			_, err = desk.Respond(t.Context(), mortal.Serial, api.Respond{Reason: "PIN forgotten", Challenge: card.Challenge(challenge).Grouped()})
			check(t, err)
		}
		anna.Goes(t, 200, chromedp.Navigate(anna.Base+"/console/cards/5F41%200000%200001"))
		anna.Shows(t, "would be refused", "0 left", "Report what happened")
		anna.Shot(t, "attempts-2-exhausted")
		anna.Goes(t, 200, chromedp.Click(chromedp.CSS(".open a")))
		anna.Goes(t, 200, chromedp.Click(chromedp.CSS("button[value=failed]")))
	})
}
