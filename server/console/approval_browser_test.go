package console_test

import (
	"encoding/hex"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"latchkey/card"
	"latchkey/server/api"
)

// TestApprovalInBrowser: an operator and a supervisor, each with a browser and a
// certificate of their own, take the card of a privileged holder to its new PIN, and
// press every button twice.
func TestApprovalInBrowser(t *testing.T) {
	h := newHouse(t)
	h.cardType(t, "employee", "Employee card", "tdes")
	registered := api.Card{
		Serial: "5F41 0087 2C19", Type: "employee", State: "blocked",
		Holder: api.Holder{ID: "u1", Name: "Berta Beispiel", Unit: "Board", State: "active", Privileged: true},
	}
	made := h.issue(t, registered, card.TDES3)
	const page = "/console/cards/5F41%200087%202C19"
	twice := func(button string) chromedp.Action[chromedp.Void] { return chromedp.DoubleClick(chromedp.CSS(button)) }

	anna, sven := newBrowser(t, h.door(t, "email:anna@example.org")), newBrowser(t, h.door(t, "email:sven@example.org"))
	anna.goes(t, 200, chromedp.Navigate(anna.base+page))
	anna.start(t, "PIN forgotten on holiday", twice(startButton))
	anna.shows(t, "A supervisor has to approve")
	anna.shot(t, "approval-1-waiting")
	process := evaluate[string](t, anna, "location.pathname")
	anna.goes(t, 200, chromedp.Navigate(anna.base+page)) // back at the card
	anna.shows(t, "Waits for approval", "Go on with your unblock")
	anna.shot(t, "approval-2-busy")
	anna.goes(t, 200, chromedp.Click(chromedp.CSS(".notice + .links a")))
	if at := evaluate[string](t, anna, "location.pathname"); at != process {
		t.Errorf("the card's page leads to %s, not to %s", at, process)
	}

	sven.goes(t, 200, chromedp.Navigate(sven.base+"/console/"))
	if count := evaluate[string](t, sven, "document.querySelector('.count').textContent"); count != "11 waits" {
		t.Errorf("the head says %q", count)
	}
	sven.goes(t, 200, chromedp.Click(chromedp.CSS("nav a[href$=approvals]")))
	sven.shows(t, "anna.schmidt asks to unblock", "Berta Beispiel", "PIN forgotten on holiday", "INC-10422", "Called back", "own certificate")
	sven.shot(t, "approval-3-asked")
	sven.do(t, chromedp.SendKeys(chromedp.CSS("#reason-0"), "Spoke to her myself\r")) // Enter alone decides nothing
	sven.goes(t, 200, twice("button[value=approve]"))
	sven.shows(t, "Approved.", "Nothing waits for your approval")
	sven.shot(t, "approval-4-done")

	// The page that waits goes on by itself.
	for until := time.Now().Add(time.Minute); !evaluate[bool](t, anna, "document.querySelector('#challenge') != null"); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("the page still waits:\n%s", anna.text(t, "body"))
		}
	}
	anna.shows(t, "sven.strand", "Spoke to her myself")
	anna.shot(t, "approval-5-approved")

	anna.goes(t, 200, chromedp.SendKeys(chromedp.CSS("#challenge"), "1111 1111 1111 1111\r"))
	anna.shows(t, "one digit over and over")
	if id := evaluate[string](t, anna, "document.activeElement.id"); id != "challenge" {
		t.Errorf("the focus of a suspicious challenge is on %q", id)
	}
	anna.shot(t, "approval-6-suspicious")
	challenge, err := made.Challenge()
	check(t, err)
	anna.do(t, chromedp.Evaluate[chromedp.Void]("document.getElementById('challenge').select()"))
	anna.goes(t, 200, chromedp.SendKeys(chromedp.CSS("#challenge"), card.Challenge(challenge).Grouped()+"\r"))
	anna.goes(t, 200, twice("form[action$=response] button"))
	digits := anna.digits(t)
	response, err := hex.DecodeString(digits)
	check(t, err)
	check(t, made.Authenticate(response))
	check(t, made.SetPIN("583920"))
	anna.goes(t, 200, chromedp.Reload())
	if again := anna.digits(t); again != digits {
		t.Errorf("reloaded, the response is %s", again)
	}
	// Chromium asks before it sends the form of the page before again; nothing was.
	if _, err := chromedp.RunResponse(anna.ctx, chromedp.NavigateBack()); err == nil && anna.digits(t) == digits {
		t.Errorf("back, the page has the response:\n%s", anna.text(t, "body"))
	}
	anna.goes(t, 200, chromedp.Navigate(anna.base+page))
	anna.shows(t, "1 given out since one last worked", "Report what happened")
	anna.goes(t, 200, chromedp.Click(chromedp.CSS(".open a")))
	anna.goes(t, 200, twice("button[value=pin-changed]"))
	anna.shows(t, "The card works again")

	// Another is begun, and cancelled twice.
	anna.goes(t, 200, chromedp.Navigate(anna.base+page))
	anna.start(t, "Again", twice(startButton))
	anna.goes(t, 200, twice(".cancel button"))
	anna.shows(t, "Cancelled")
	sven.goes(t, 200, chromedp.Navigate(sven.base+"/console/approvals"))
	sven.shows(t, "Nothing waits")

	t.Run("attempts", func(t *testing.T) {
		mortal := api.Card{Serial: "5F41 0000 0001", Type: "employee", State: "blocked", Holder: api.Holder{ID: "u2", Name: "Max Muster", State: "active"}}
		made := h.issue(t, mortal, card.TDES3)
		desk := h.client(t, "email:anna@example.org")
		for left := 4; left > 0; left-- {
			if left == 1 {
				anna.goes(t, 200, chromedp.Navigate(anna.base+"/console/cards/5F41%200000%200001"))
				anna.shows(t, "One response is left")
				anna.shot(t, "attempts-1-few")
			}
			challenge, err := made.Challenge()
			check(t, err)
			_, err = desk.Respond(t.Context(), mortal.Serial, api.Respond{Reason: "PIN forgotten", Challenge: card.Challenge(challenge).Grouped()})
			check(t, err)
		}
		anna.goes(t, 200, chromedp.Navigate(anna.base+"/console/cards/5F41%200000%200001"))
		anna.shows(t, "would be refused", "0 left", "Report what happened")
		anna.shot(t, "attempts-2-exhausted")
		anna.goes(t, 200, chromedp.Click(chromedp.CSS(".open a")))
		anna.goes(t, 200, chromedp.Click(chromedp.CSS("button[value=failed]")))
	})
}
