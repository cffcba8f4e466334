package console_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"latchkey/card"
	"latchkey/server/api"
	"latchkey/softhsm-test/virtualcard"
)

// browser is Chromium without a window, its pages' scripts switched off: the
// console has none, and has to work where they are forbidden.
type browser struct {
	ctx  context.Context
	base string // of the server, without a slash at the end
	// shots is where screenshots go, "" for nowhere.
	shots string
}

func newBrowser(t *testing.T, base string) *browser {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("Chromium is missing; run: make deps")
	}
	home := t.TempDir()
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.Env("HOME="+home), chromedp.UserDataDir(filepath.Join(home, "profile")),
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("ignore-certificate-errors", true), chromedp.Flag("disable-component-update", true),
	)...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &browser{ctx: ctx, base: base, shots: os.Getenv("LATCHKEY_SCREENSHOTS")}
	b.do(t) // starts it
	_, err = chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	check(t, err)
	return b
}

func (b *browser) do(t *testing.T, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	check(t, chromedp.Do(b.ctx, actions...))
}

// goes does something that leads to another page, which has to come with the
// given HTTP status and be sound.
func (b *browser) goes(t *testing.T, status int64, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	r, err := chromedp.RunResponse(b.ctx, actions...)
	check(t, err)
	if r.Status != status {
		t.Fatalf("%s: status %d, want %d:\n%s", r.URL, r.Status, status, b.text(t, "body"))
	}
	b.sound(t)
}

// sound checks what holds for every page, at the widths of a desk and of a
// telephone: nothing sticks out, every field has a label, and there is one title.
func (b *browser) sound(t *testing.T) {
	t.Helper()
	at := evaluate[string](t, b, "location.pathname")
	for _, width := range []int64{1280, 390} {
		b.do(t, chromedp.EmulateViewport(width, 800))
		if w := evaluate[int64](t, b, "document.documentElement.scrollWidth"); w > width {
			t.Errorf("%s is %d pixels wide in a window of %d", at, w, width)
		}
	}
	b.do(t, chromedp.EmulateViewport(1280, 800))
	for what, expression := range map[string]string{
		"a field without a label":     "[...document.querySelectorAll('input:not([type=hidden]),select')].every(i => i.labels.length == 1)",
		"not one title":               "document.querySelectorAll('h1').length == 1",
		"an id that is there twice":   "(ids => new Set(ids).size == ids.length)([...document.querySelectorAll('[id]')].map(e => e.id))",
		"a reference to nothing":      "[...document.querySelectorAll('[aria-describedby],[aria-labelledby]')].every(e => `${e.getAttribute('aria-describedby') ?? ''} ${e.getAttribute('aria-labelledby') ?? ''}`.trim().split(/ +/).every(id => document.getElementById(id)))",
		"a style sheet that is empty": "[...document.styleSheets].length == 1 && document.styleSheets[0].cssRules.length > 0",
	} {
		if !evaluate[bool](t, b, expression) {
			t.Errorf("%s has %s", at, what)
		}
	}
}

func evaluate[T any](t *testing.T, b *browser, expression string) T {
	t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	check(t, err)
	return v
}

func (b *browser) text(t *testing.T, selector string) string {
	t.Helper()
	text, err := chromedp.Run(b.ctx, chromedp.Text(chromedp.CSS(selector)))
	check(t, err)
	return text
}

// shows checks that the page has every one of the texts.
func (b *browser) shows(t *testing.T, texts ...string) {
	t.Helper()
	page := b.text(t, "body")
	for _, text := range texts {
		if !strings.Contains(page, text) {
			t.Errorf("the page does not show %q:\n%s", text, page)
		}
	}
}

// shot takes pictures of the whole page in both widths and both colour schemes.
func (b *browser) shot(t *testing.T, name string) {
	t.Helper()
	if b.shots == "" {
		return
	}
	check(t, os.MkdirAll(b.shots, 0o755))
	for _, scheme := range []string{"light", "dark"} {
		_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		check(t, err)
		for _, width := range []int64{390, 1280} {
			b.do(t, chromedp.EmulateViewport(width, 800))
			picture, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
			check(t, err)
			check(t, os.WriteFile(filepath.Join(b.shots, fmt.Sprintf("%s-%d-%s.png", name, width, scheme)), picture, 0o644))
		}
	}
}

// TestUnblockInBrowser: an operator on the keyboard of a real browser takes a
// blocked card to its new PIN, through the binary as it is shipped.
func TestUnblockInBrowser(t *testing.T) {
	h := newHouse(t)
	h.cardType(t, "employee", "Employee card", "tdes")
	h.cardType(t, "contractor", "Contractor card", "aes")
	b := newBrowser(t, h.door(t, "email:anna@example.org"))

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
		t.Run(c.name, func(t *testing.T) { b.unblock(t, c.name, c.search, c.card, h.issue(t, c.card, c.keyType)) })
	}

	t.Run("refused", func(t *testing.T) {
		h.issue(t, api.Card{Serial: "REVOKED 1", Type: "employee", State: "revoked", Holder: api.Holder{ID: "u3", Name: "Rita Revoked", State: "active"}}, card.TDES3)
		b.goes(t, 200, chromedp.Navigate(b.base+"/console/cards/REVOKED%201"))
		b.shows(t, "An unblock would be refused", "The card is revoked")
		b.shot(t, "hindered")
		b.goes(t, 200, chromedp.Navigate(b.base+"/console/?q=nobody"))
		b.shows(t, "No card matches “nobody”")
		b.shot(t, "none")
	})
	t.Run("foreign form", func(t *testing.T) {
		evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = fmt.Fprintf(w, `<form method="post" action="%s/console/cards/5F41%%200087%%202C19/unblock"><input name="reason" value="x"><button>Win</button></form>`, b.base)
		}))
		t.Cleanup(evil.Close)
		b.do(t, chromedp.Navigate(evil.URL))
		b.goes(t, 403, chromedp.Click(chromedp.CSS("button")))
		b.shows(t, "The form came from another site")
	})
	t.Run("backend", func(t *testing.T) {
		b.goes(t, 403, chromedp.Navigate(h.door(t, "dns:idm.example.org")+"/console/"))
		b.shows(t, "The console is for people", "identity-manager")
	})
}

// startButton starts an unblock on the page of a card.
const startButton = "form[action$=unblock] button"

// start fills the form in that starts an unblock, and sends it.
func (b *browser) start(t *testing.T, reason string, send chromedp.Action[chromedp.Void]) {
	t.Helper()
	b.do(t, chromedp.SendKeys(chromedp.CSS("#reason"), reason), chromedp.SendKeys(chromedp.CSS("#verification"), "Called"),
		chromedp.SendKeys(chromedp.CSS("#ticket"), "INC-10422"))
	b.goes(t, 200, send)
}

// digits are those that the page has to be read aloud.
func (b *browser) digits(t *testing.T) string {
	t.Helper()
	return evaluate[string](t, b, "[...document.querySelectorAll('.digits')].map(e => e.textContent).join('')")
}

func (b *browser) unblock(t *testing.T, name, search string, registered api.Card, made *virtualcard.Card) {
	challenge, err := made.Challenge()
	check(t, err)
	typed := card.Challenge(challenge).Grouped()
	enter := func(field, text string) chromedp.Action[chromedp.Void] {
		return chromedp.SendKeys(chromedp.CSS(field), text+"\r")
	}

	b.goes(t, 200, chromedp.Navigate(b.base+"/console/"))
	if id := evaluate[string](t, b, "document.activeElement.id"); id != "q" {
		t.Errorf("the search page puts the cursor into %q", id)
	}
	b.shot(t, name+"-1-search")
	b.goes(t, 200, enter("#q", search))
	b.shows(t, registered.Holder.Name, registered.Serial)
	b.shot(t, name+"-2-found")
	b.goes(t, 200, chromedp.Click(chromedp.CSS("tbody a")))
	b.shows(t, registered.Holder.Name, registered.Serial, "blocked")
	b.shot(t, name+"-3-card")
	b.start(t, "PIN forgotten on holiday", chromedp.Click(chromedp.CSS(startButton)))
	b.shows(t, fmt.Sprintf("%d digits", 2*len(challenge)), "Attempts left")
	b.shot(t, name+"-4-challenge")

	// A wrong character is named, and the rest need not be typed again.
	b.goes(t, 422, enter("#challenge", "S"+typed[1:]))
	if got := b.text(t, "mark"); got != "S" {
		t.Errorf("marked is %q", got)
	}
	kept, err := chromedp.Run(b.ctx, chromedp.Value(chromedp.CSS("#challenge")))
	check(t, err)
	if kept != "S"+typed[1:] {
		t.Errorf("kept is %q", kept)
	}
	b.shot(t, name+"-5-wrong")

	b.do(t, chromedp.Evaluate[chromedp.Void]("document.getElementById('challenge').select()"))
	b.goes(t, 200, enter("#challenge", strings.ToLower(typed)))
	b.shows(t, "Read this back to the caller")
	if got := strings.Join(strings.Fields(b.digits(t)), ""); got != strings.ReplaceAll(typed, " ", "") {
		t.Errorf("read back is %q", got)
	}
	b.shot(t, name+"-5b-read-back")
	// Whoever works by the keyboard presses Enter once more.
	b.goes(t, 200, chromedp.KeyEvent("\r"))
	b.shows(t, typed, "Do not remove the card", "Audit entry durable")
	b.shot(t, name+"-6-response")
	digits := b.digits(t)
	response, err := hex.DecodeString(digits)
	check(t, err)
	check(t, made.Authenticate(response))
	check(t, made.SetPIN("583920"))
	check(t, made.VerifyPIN("583920"))

	// Its page alone has the response, however often it is loaded.
	b.goes(t, 200, chromedp.Reload())
	b.shows(t, "not given out twice")
	if again := b.digits(t); again != digits {
		t.Errorf("reloaded, the response is %s", again)
	}
	gone := func(how string) {
		t.Helper()
		if page := evaluate[string](t, b, "document.documentElement.outerHTML + location.href"); strings.Contains(page, digits[:4]) {
			t.Errorf("after %s the page has the response:\n%s", how, page)
		}
	}
	b.goes(t, 200, chromedp.Navigate(evaluate[string](t, b, "location.href")))
	b.shot(t, name+"-8-outcome")
	gone("going on")
	b.goes(t, 200, chromedp.Click(chromedp.CSS("button[value=pin-changed]")))
	b.shows(t, "The card works again")
	b.shot(t, name+"-9-done")
}
