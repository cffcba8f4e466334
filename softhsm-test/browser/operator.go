package browser

import "testing"

// StartButton starts an unblock on the page of a card.
const StartButton = "form[action$=unblock] button"

// Start fills the form in that starts an unblock, on the page of a card, and sends it.
func (b *Browser) Start(t *testing.T, reason string, send Action) {
	t.Helper()
	b.Do(t, Type("#reason", reason), Type("#verification", "Called"), Type("#ticket", "INC-10422"))
	b.Goes(t, 200, send)
}

// Digits are those of the page that have to be read aloud: a challenge's that is read
// back, or a response's.
func (b *Browser) Digits(t *testing.T) string {
	t.Helper()
	return Evaluate[string](t, b, "[...document.querySelectorAll('.digits')].map(e => e.textContent).join('')")
}
