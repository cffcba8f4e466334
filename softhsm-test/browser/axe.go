package browser

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
)

// axe is axe-core's code, fetched once unless it is there.
var axe = sync.OnceValues(func() (string, error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		return "", errors.New("the tests' own folder is not known")
	}
	root := filepath.Join(filepath.Dir(file), "..", "..")
	if out, err := exec.Command(filepath.Join(root, "scripts", "axe")).CombinedOutput(); err != nil {
		return "", fmt.Errorf("scripts/axe: %w\n%s", err, out)
	}
	code, err := os.ReadFile(filepath.Join(root, "bin", "axe.min.js"))
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
