package browser

import (
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"

	"latchkey/softhsm-test/internal/script"
)

// axe is axe-core's code, fetched once unless it is there.
var axe = sync.OnceValues(func() (string, error) {
	path, err := script.Make("axe", "axe.min.js")
	if err != nil {
		return "", err
	}
	code, err := os.ReadFile(path)
	return string(code), err
})

// examine runs every rule of WCAG 2.2 AA and axe-core's best practices, and gives a line
// for each fault. It does not go by the console's content security policy: it comes
// from the tests, not from the page.
const examine = `
axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"], resultTypes: ["violations"]})
  .then(r => r.violations.flatMap(v => v.nodes.map(n => v.id + ": " + n.failureSummary.replace(/\s+/g, " ") + " " + n.html)).join("\n"))`

// Accessible checks that axe-core finds no fault in the page in either colour scheme.
func (b *Browser) Accessible(t *testing.T) {
	t.Helper()
	for _, fault := range b.Barriers(t) {
		t.Errorf("%s: %s", b.Path(t), fault)
	}
}

// Barriers are what axe-core finds, in either colour scheme.
func (b *Browser) Barriers(t *testing.T) []string {
	t.Helper()
	code, err := axe()
	check(t, err)
	if !Evaluate[bool](t, b, "typeof axe == 'object'") {
		b.Do(t, chromedp.Evaluate[chromedp.Void](code))
	}
	var list []string
	for _, scheme := range []string{"dark", "light"} {
		b.Scheme(t, scheme)
		faults, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](examine, chromedp.EvalAwaitPromise))
		check(t, err)
		for fault := range strings.Lines(faults) {
			list = append(list, scheme+": "+strings.TrimSpace(fault))
		}
	}
	return list
}
