// Package browser is Debian's Chromium without a window, for the tests of pages. What
// holds for every page is looked at on each one: that nothing sticks out at any width,
// that every field has a label, that no policy of content was broken and no script
// failed.
package browser

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Action is something that a browser does.
type Action = chromedp.Action[chromedp.Void]

// The widths in CSS pixels at which pages are looked at: a desk's screen, the same at
// 200 % zoom, and a small telephone.
const (
	Desk   = 1280
	Zoomed = Desk / 2
	Phone  = 360
)

// Browser is one browser with a profile of its own, and one window.
type Browser struct {
	// Base is the address of the server, without a slash at the end.
	Base string

	ctx context.Context
	// shots is where screenshots go, "" for nowhere.
	shots string

	mu    sync.Mutex
	wrong []string // what the browser complained of
}

// New starts a browser, which ends with the test. Pages run their scripts; where
// LATCHKEY_SCREENSHOTS names a folder, Shot puts pictures there.
func New(t *testing.T, base string) *Browser {
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
	b := &Browser{ctx: ctx, Base: base, shots: os.Getenv("LATCHKEY_SCREENSHOTS")}
	b.Do(t, chromedp.EmulateViewport(Desk, 800)) // starts it
	check(t, chromedp.Listen(ctx, b.listen))
	_, err = chromedp.Call(ctx, audits.Enable, cdp.Empty{})
	check(t, err)
	return b
}

// listen keeps what the browser complains of.
func (b *Browser) listen(event any) {
	var complaint string
	switch e := event.(type) {
	case *audits.EventIssueAdded:
		if e.Issue.Code != audits.InspectorIssueCodeContentSecurityPolicyIssue {
			return
		}
		complaint = "the content security policy was broken"
		if d := e.Issue.Details; d != nil && d.ContentSecurityPolicyIssueDetails != nil {
			complaint += fmt.Sprintf(": %s %s", d.ContentSecurityPolicyIssueDetails.ViolatedDirective, d.ContentSecurityPolicyIssueDetails.BlockedURL)
		}
	case *runtime.EventExceptionThrown:
		complaint = "a script failed: " + e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			complaint += " " + e.ExceptionDetails.Exception.Description
		}
	default:
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wrong = append(b.wrong, complaint)
}

// Complaints are what the browser complained of since they were last taken.
func (b *Browser) Complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.wrong
	b.wrong = nil
	return list
}

// WithoutScript has pages run no scripts from now on, as where they are forbidden.
// Tests still can, by Evaluate.
func (b *Browser) WithoutScript(t *testing.T) *Browser {
	t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	check(t, err)
	return b
}

// Speaks has the browser ask for pages in a language, as in "de".
func (b *Browser) Speaks(t *testing.T, language string) *Browser {
	t.Helper()
	_, err := chromedp.Call(b.ctx, network.Enable, network.EnableParams{})
	check(t, err)
	_, err = chromedp.Call(b.ctx, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Accept-Language": language}})
	check(t, err)
	return b
}

// Context is what chromedp's own functions take.
func (b *Browser) Context() context.Context { return b.ctx }

// Do does something that stays on the page.
func (b *Browser) Do(t *testing.T, actions ...Action) {
	t.Helper()
	check(t, chromedp.Do(b.ctx, actions...))
}

// Goes does something that leads to another page, which has to come with the
// given HTTP status and be sound.
func (b *Browser) Goes(t *testing.T, status int64, actions ...Action) {
	t.Helper()
	r, err := chromedp.RunResponse(b.ctx, actions...)
	check(t, err)
	if r.Status != status {
		t.Fatalf("%s: status %d, want %d:\n%s", r.URL, r.Status, status, b.Text(t, "body"))
	}
	b.Sound(t)
}

// Open goes to a path of the server.
func (b *Browser) Open(t *testing.T, status int64, path string) {
	t.Helper()
	b.Goes(t, status, chromedp.Navigate(b.Base+path))
}

// Sound checks what holds for every page at every width, and that the browser did not
// complain.
func (b *Browser) Sound(t *testing.T) {
	t.Helper()
	at := b.Path(t)
	for _, width := range []int64{Phone, Zoomed, Desk} {
		b.Do(t, chromedp.EmulateViewport(width, 800))
		if w := Evaluate[int64](t, b, "document.documentElement.scrollWidth"); w > width {
			t.Errorf("%s is %d pixels wide in a window of %d", at, w, width)
		}
	}
	for what, expression := range map[string]string{
		"a field without a label":     "[...document.querySelectorAll('input:not([type=hidden]),select,textarea')].every(i => i.labels.length == 1)",
		"not one title":               "document.querySelectorAll('h1').length == 1",
		"no language":                 "document.documentElement.lang != ''",
		"an id that is there twice":   "(ids => new Set(ids).size == ids.length)([...document.querySelectorAll('[id]')].map(e => e.id))",
		"a reference to nothing":      "[...document.querySelectorAll('[aria-describedby],[aria-labelledby],[aria-controls]')].every(e => `${e.getAttribute('aria-describedby') ?? ''} ${e.getAttribute('aria-labelledby') ?? ''} ${e.getAttribute('aria-controls') ?? ''}`.trim().split(/ +/).every(id => document.getElementById(id)))",
		"a style sheet that is empty": "[...document.styleSheets].length > 0 && [...document.styleSheets].every(s => s.cssRules.length > 0)",
	} {
		if !Evaluate[bool](t, b, expression) {
			t.Errorf("%s has %s", at, what)
		}
	}
	for _, complaint := range b.Complaints() {
		t.Errorf("%s: %s", at, complaint)
	}
}

// Path is where the browser is.
func (b *Browser) Path(t *testing.T) string {
	t.Helper()
	return Evaluate[string](t, b, "location.pathname")
}

// Focus is the ID of the element that has the focus, or its kind where it has no ID.
func (b *Browser) Focus(t *testing.T) string {
	t.Helper()
	return Evaluate[string](t, b, "document.activeElement.id || document.activeElement.localName")
}

// Evaluate gives what a JavaScript expression comes to on the page.
func Evaluate[T any](t *testing.T, b *Browser, expression string) T {
	t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	check(t, err)
	return v
}

// Text is the text that is seen of an element.
func (b *Browser) Text(t *testing.T, selector string) string {
	t.Helper()
	text, err := chromedp.Run(b.ctx, chromedp.Text(chromedp.CSS(selector)))
	check(t, err)
	return text
}

// Shows checks that the page has every one of the texts.
func (b *Browser) Shows(t *testing.T, texts ...string) {
	t.Helper()
	page := b.Text(t, "body")
	for _, text := range texts {
		if !strings.Contains(page, text) {
			t.Errorf("the page does not show %q:\n%s", text, page)
		}
	}
}

// Click clicks on the element.
func Click(selector string) Action { return chromedp.Click(chromedp.CSS(selector)) }

// Type types into the element; "\r" is Enter.
func Type(selector, text string) Action { return chromedp.SendKeys(chromedp.CSS(selector), text) }

// Press types to whatever has the focus.
func Press(keys string) Action { return chromedp.KeyEvent(keys) }

// Scheme has pages shown "light" or "dark".
func (b *Browser) Scheme(t *testing.T, scheme string) {
	t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	check(t, err)
}

// Shot takes pictures of the whole page in the widths of a desk and of a telephone,
// and in both colour schemes.
func (b *Browser) Shot(t *testing.T, name string) {
	t.Helper()
	if b.shots == "" {
		return
	}
	check(t, os.MkdirAll(b.shots, 0o755))
	for _, scheme := range []string{"dark", "light"} {
		b.Scheme(t, scheme)
		for _, width := range []int64{Phone, Desk} {
			b.Do(t, chromedp.EmulateViewport(width, 800))
			picture, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
			check(t, err)
			check(t, os.WriteFile(filepath.Join(b.shots, fmt.Sprintf("%s-%d-%s.png", name, width, scheme)), picture, 0o644))
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
