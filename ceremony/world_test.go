package ceremony_test

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/ceremony"
	"latchkey/hsm"
	softhsmtest "latchkey/softhsm-test"
)

// head is a script up to its steps. The %s is the token's label.
const head = `title: Test ceremony
token: {label: %s}
signing_key: {label: ceremony, create: true}
officers:
  - {name: Anna Berg, role: administrator}
  - {name: Bo Chen, role: custodian}
  - {name: Cy Diaz, role: custodian}
run_by: Anna Berg
approval: {required: 2, officers: [Anna Berg, Bo Chen, Cy Diaz]}
steps:
`

// room is a token with its signing key, and a folder for scripts and records.
type room struct {
	fixture *softhsmtest.Token
	token   *hsm.Token
	signer  *hsm.Signer
	dir     string
	records int
}

func newRoom(t testing.TB) *room {
	t.Helper()
	r := &room{fixture: softhsmtest.New(t), dir: t.TempDir()}
	// The transport key pair takes its time.
	r.token = r.fixture.Open(t, func(c *hsm.Config) { c.CallTimeout = time.Minute })
	var err error
	if r.signer, err = r.token.OpenSigner(t.Context(), "ceremony", true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.signer.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *room) path(name string) string { return filepath.Join(r.dir, name) }

func (r *room) write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(r.path(name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// script parses head and the steps.
func (r *room) script(t testing.TB, steps string) *ceremony.Script {
	t.Helper()
	s, err := ceremony.Parse(r.path("ceremony.yaml"), []byte(fmt.Sprintf(head, r.fixture.Label)+steps))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run walks the steps at a console that gives the answers, and gives the record
// as it was verified.
func (r *room) run(ctx context.Context, t *testing.T, steps string, d *desk) (*ceremony.Record, error) {
	t.Helper()
	r.records++
	path := r.path(fmt.Sprintf("record-%d.json", r.records))
	_, err := ceremony.Run(ctx, r.script(t, steps), ceremony.Options{
		HSM: r.token, Signer: r.signer, Console: d, Record: path, Tool: "test", Now: clock(),
	})
	file, unread := os.ReadFile(path)
	if unread != nil {
		t.Fatalf("no record: %v; the ceremony: %v", unread, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the record's mode is %v, %v", info.Mode(), err)
	}
	record, broken := ceremony.Verify(file, r.signer.Public().(*ecdsa.PublicKey))
	if broken != nil {
		t.Fatal(broken)
	}
	for _, secret := range d.secrets() {
		if strings.Contains(string(file), secret) || strings.Contains(d.shown.String(), secret) {
			t.Errorf("%s, which was typed hidden, is in the record or on the screen", secret)
		}
	}
	return record, err
}

// clock is a clock that goes on a second each time it is looked at.
func clock() func() time.Time {
	now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	return func() time.Time {
		now = now.Add(time.Second)
		return now
	}
}

// keys lists the master keys in the token, as in "fleet 1".
func (r *room) keys(t testing.TB) (names []string) {
	t.Helper()
	keys, err := r.token.Keys(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		names = append(names, fmt.Sprintf("%s %d", k.Label, k.Version))
	}
	return names
}

// answer is what is typed at one prompt. Where prompt is not in what is shown the
// desk ends the ceremony, and the test.
type answer struct{ prompt, typed string }

// opening is what the officers of head type before the first step.
func opening(then ...answer) []answer {
	return append([]answer{
		{"Anna Berg, administrator", "Anna Berg"},
		{"Bo Chen, custodian", "bo chen"},
		{"Cy Diaz, custodian", "Cy  Diaz"},
		{"Approval 1 of 2", "Bo Chen"},
		{"Approval 2 of 2", "Anna Berg"},
	}, then...)
}

// desk is a console at which the answers are typed one after the other.
type desk struct {
	answers []answer
	asked   int
	hidden  []int // the answers that were not shown
	shown   strings.Builder
	// interrupt is called instead of giving the answer of that number, from 1.
	at        int
	interrupt func()
}

func at(answers ...answer) *desk { return &desk{answers: answers} }

func (d *desk) Show(line string) { d.shown.WriteString(line + "\n") }

func (d *desk) next(ctx context.Context, prompt string) (string, error) {
	d.shown.WriteString(prompt)
	if d.asked++; d.asked == d.at {
		d.interrupt()
		return "", ctx.Err()
	}
	if d.asked > len(d.answers) || !strings.Contains(prompt, d.answers[d.asked-1].prompt) {
		return "", fmt.Errorf("question %d, %q, is not the one expected", d.asked, prompt)
	}
	return d.answers[d.asked-1].typed, nil
}

func (d *desk) Ask(ctx context.Context, prompt string) (string, error) {
	text, err := d.next(ctx, prompt)
	d.shown.WriteString(text + "\n")
	return text, err
}

func (d *desk) AskHidden(ctx context.Context, prompt string, into []byte) (int, error) {
	text, err := d.next(ctx, prompt)
	if err != nil {
		return 0, err
	}
	d.hidden = append(d.hidden, d.asked-1)
	if len(text) > len(into) {
		return 0, ceremony.ErrTooLong
	}
	return copy(into, text), nil
}

// secrets are the texts that were typed hidden, and are long enough to be looked
// for.
func (d *desk) secrets() (texts []string) {
	for _, i := range d.hidden {
		if text := d.answers[i].typed; len(text) >= 8 {
			texts = append(texts, text, strings.ToLower(text), strings.ReplaceAll(text, " ", ""), text[:8])
		}
	}
	return texts
}

// used fails the test where answers are left over.
func (d *desk) used(t *testing.T) {
	t.Helper()
	if d.asked != len(d.answers) {
		t.Errorf("%d answers of %d were asked for:\n%s", d.asked, len(d.answers), d.shown.String())
	}
}

// wantErr fails the test where the error is another, or lacks the words.
func wantErr(t *testing.T, err, want error, words string) {
	t.Helper()
	if !errors.Is(err, want) || !strings.Contains(err.Error(), words) {
		t.Errorf("error %v; want %v with %q", err, want, words)
	}
}
