package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/des"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/creack/pty"

	"latchkey/card"
	"latchkey/smartcard"
	"latchkey/smartcard/pcsc"
	"latchkey/softhsm-test/virtualcard"
)

const oldPIN, newPIN = "1234", "275914"

var adminKey = []byte("0123456789abcdefghijklmn")

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// respond answers a challenge as it is shown, as the help desk would.
func respond(t *testing.T, challenge string) string {
	t.Helper()
	b, err := hex.DecodeString(card.DropSeparators(challenge))
	check(t, err)
	cipher, err := des.NewTripleDESCipher(adminKey)
	check(t, err)
	cipher.Encrypt(b, b)
	return strings.ToUpper(hex.EncodeToString(b))
}

func newCard(t *testing.T, blocked bool, adminTries int) *virtualcard.Card {
	t.Helper()
	c, err := virtualcard.New(virtualcard.Config{Serial: "1", KeyType: card.TDES3, AdminKey: adminKey, PIN: oldPIN, AdminTries: adminTries})
	check(t, err)
	for blocked && !c.Blocked() {
		_ = c.VerifyPIN("0000")
	}
	return c
}

// desk is readers with virtual cards in them, in place of the system's.
type desk struct {
	readers []*reader
	opening error
}

type reader struct {
	name string
	card *virtualcard.Card // nil: none
	busy error             // why it cannot be connected to

	mu      sync.Mutex
	holding int   // connections that were not closed
	gone    error // set where the card is taken out or reset
	after   int   // the card is taken out before it answers so many commands; 0 for never
	foreign bool  // the card has no application that is known
}

func (d *desk) Readers() (names []string, err error) {
	for _, r := range d.readers {
		names = append(names, r.name)
	}
	return names, nil
}

func (d *desk) Close() error { return nil }

func (d *desk) Connect(name string) (held, error) {
	for _, r := range d.readers {
		if r.name == name {
			return r.connect()
		}
	}
	return nil, &pcsc.Error{Call: "SCardConnect", Code: 0x80100009}
}

func (r *reader) connect() (held, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.busy != nil:
		return nil, r.busy
	case r.card == nil:
		return nil, &pcsc.Error{Call: "SCardConnect", Code: 0x8010000C}
	}
	r.holding++
	return r, nil
}

func (r *reader) T0() bool { return false }

func (r *reader) Alive() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gone
}

func (r *reader) Transmit(apdu []byte) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone != nil {
		return nil, r.gone
	}
	if r.foreign {
		return []byte{0x6A, 0x82}, nil
	}
	answer := r.card.Transmit(apdu)
	if r.after--; r.after == 0 {
		r.gone = removed
		return nil, r.gone
	}
	return answer, nil
}

func (r *reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.holding--
	r.card.Reset()
	return r.gone
}

func (r *reader) takeOut(why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = why
	r.card.Reset()
}

var removed = &pcsc.Error{Call: "SCardTransmit", Code: 0x80100069}

func (d *desk) open() (service, error) {
	if d.opening != nil {
		return nil, d.opening
	}
	return d, nil
}

func one(c *virtualcard.Card) *desk { return &desk{readers: []*reader{{name: "Reader 0", card: c}}} }

// screen is a terminal at which a run goes on, and the person before it.
type screen struct {
	*os.File
	shown *bytes.Buffer
	exit  chan int
}

func start(t *testing.T, d *desk, args ...string) *screen {
	t.Helper()
	terminal, far, err := pty.Open()
	check(t, err)
	s := &screen{terminal, new(bytes.Buffer), make(chan int, 1)}
	a := &app{in: far, out: far, err: far, open: d.open, environ: func(string) string { return "" }}
	go func() {
		s.exit <- a.run(context.Background(), args)
		_ = far.Close()
	}()
	t.Cleanup(func() { _ = terminal.Close() })
	return s
}

// expect reads on until the screen shows the text, and gives all since the last call.
func (s *screen) expect(t *testing.T, text string) string {
	t.Helper()
	from := s.shown.Len()
	b := make([]byte, 1)
	for !strings.Contains(s.shown.String()[from:], text) {
		if _, err := s.Read(b); err != nil {
			t.Fatalf("%q is not shown:\n%s", text, s.shown)
		}
		s.shown.Write(b)
	}
	return s.shown.String()[from:]
}

func (s *screen) enter(t *testing.T, text string) {
	t.Helper()
	_, err := io.WriteString(s, text+"\r")
	check(t, err)
}

func (s *screen) exits(t *testing.T, want int) {
	t.Helper()
	_, _ = io.Copy(s.shown, s) // a terminal whose other end is closed gives EIO
	if got := <-s.exit; got != want {
		t.Errorf("exit code %d, want %d:\n%s", got, want, s.shown)
	}
}

var challengeShown = regexp.MustCompile(`    ((?:[0-9A-F]{4} ){3}[0-9A-F]{4})\r?\n`)

func challengeIn(t *testing.T, shown string) string {
	t.Helper()
	found := challengeShown.FindStringSubmatch(shown)
	if found == nil {
		t.Fatalf("no challenge is shown:\n%s", shown)
	}
	return found[1]
}

// The whole of it, with every mistake that may be made on the way.
func TestDialogue(t *testing.T) {
	c := newCard(t, true, 3)
	d := one(c)
	s := start(t, d)
	challenge := challengeIn(t, s.expect(t, "Response: "))
	s.enter(t, challenge)
	s.expect(t, "it is the challenge")
	s.enter(t, "12S4")
	s.expect(t, "character 3 may be one of several digits")
	s.enter(t, "1234 567")
	s.expect(t, "it has 7 digits, and it must have 16")
	s.enter(t, "0123 4567 89AB CDEF")
	s.expect(t, "zero one two three, four five")
	s.expect(t, "[Y/n] ")
	s.enter(t, "n")
	s.expect(t, "Response: ")
	s.enter(t, "0123 4567 89AB CDEF") // wrong
	s.expect(t, "[Y/n] ")
	s.enter(t, "")
	for pin, fault := range map[string]string{
		"27591": "at least 6", "111111": "repeats itself", "234567": "counts up", "sjö123": "without accents", "1234567890123456": "at most 15",
	} {
		s.expect(t, "New PIN (not shown): ")
		s.enter(t, pin)
		s.expect(t, fault)
	}
	s.expect(t, "New PIN (not shown): ")
	s.enter(t, newPIN)
	s.expect(t, "The same again: ")
	s.enter(t, newPIN+"0")
	s.expect(t, "The two differ")
	s.expect(t, "New PIN (not shown): ")
	s.enter(t, "x\x159\x7f"+newPIN) // cleared, and one taken back
	s.expect(t, "The same again: ")
	s.enter(t, newPIN)
	s.expect(t, "The card refuses the response")
	s.expect(t, "still survives: 2")
	challenge = challengeIn(t, s.expect(t, "Response: "))
	s.enter(t, strings.ToLower(respond(t, challenge)))
	s.expect(t, "[Y/n] ")
	s.enter(t, "y")
	s.expect(t, "the card has verified it")
	s.exits(t, 0)
	check(t, c.VerifyPIN(newPIN))
	if strings.Contains(s.shown.String(), newPIN) {
		t.Error("the PIN is shown")
	}
	if d.readers[0].holding != 0 {
		t.Error("the card was not let go of")
	}
}

// Ctrl-C, at a line that shows and at one that does not, leaves the card as it was.
func TestInterrupted(t *testing.T) {
	c := newCard(t, true, 3)
	s := start(t, one(c))
	challenge := challengeIn(t, s.expect(t, "Response: "))
	s.enter(t, respond(t, challenge))
	s.expect(t, "[Y/n] ")
	s.enter(t, "")
	s.expect(t, "New PIN (not shown): ")
	_, err := s.WriteString("2759\x03")
	check(t, err)
	s.expect(t, "The card is as it was")
	s.exits(t, 130)

	ctx, stop := context.WithCancelCause(t.Context())
	stdin, keyboard, err := os.Pipe()
	check(t, err)
	defer func() { _ = keyboard.Close() }()
	var out bytes.Buffer
	d := one(c)
	a := &app{in: stdin, out: writer(func(b []byte) { stop(errInterrupted) }), err: &out, open: d.open, environ: func(string) string { return "" }}
	if exit := a.run(ctx, []string{"--json"}); exit != 130 || d.readers[0].holding != 0 {
		t.Errorf("exit code %d, %d connections:\n%s", exit, d.readers[0].holding, &out)
	}
	if !c.Blocked() {
		t.Error("the PIN was changed")
	}
}

type writer func([]byte)

func (w writer) Write(b []byte) (int, error) {
	w(b)
	return len(b), nil
}

// kiosk runs without a person: it answers each step with what the function says.
func kiosk(t *testing.T, d *desk, answer func(step map[string]any) string, args ...string) (exit int, steps []string, errors map[string]any) {
	t.Helper()
	stdin, keyboard, err := os.Pipe()
	check(t, err)
	reading, stdout := io.Pipe()
	var stderr bytes.Buffer
	a := &app{in: stdin, out: stdout, err: &stderr, open: d.open, environ: func(string) string { return "" }}
	done := make(chan int)
	go func() {
		code := a.run(t.Context(), append([]string{"--json"}, args...))
		_ = stdout.Close()
		done <- code
	}()
	for lines := bufio.NewScanner(reading); lines.Scan(); {
		step := map[string]any{}
		check(t, json.Unmarshal(lines.Bytes(), &step))
		steps = append(steps, fmt.Sprint(step["step"]))
		if line := answer(step); line == "end" {
			_ = keyboard.Close()
		} else if line != "" {
			_, err := io.WriteString(keyboard, line+"\n")
			check(t, err)
		}
	}
	exit = <-done
	_ = keyboard.Close()
	if stderr.Len() > 0 {
		check(t, json.Unmarshal(stderr.Bytes(), &errors))
	}
	return exit, steps, errors
}

// right answers as a kiosk that does all well.
func right(t *testing.T) func(map[string]any) string {
	return func(step map[string]any) string {
		switch step["step"] {
		case "challenge":
			return respond(t, step["challenge"].(string))
		case "new-pin":
			return newPIN
		}
		return ""
	}
}

func TestKiosk(t *testing.T) {
	c := newCard(t, true, 0)
	exit, steps, errors := kiosk(t, one(c), right(t))
	if exit != 0 || errors != nil || strings.Join(steps, " ") != "card challenge new-pin done" {
		t.Errorf("exit code %d after %v: %v", exit, steps, errors)
	}
	check(t, c.VerifyPIN(newPIN))

	// From a file and a descriptor; and a PIN that was not blocked.
	file := filepath.Join(t.TempDir(), "pin")
	check(t, os.WriteFile(file, []byte("814275\r\n"), 0o600))
	reading, writing, err := os.Pipe()
	check(t, err)
	exit, _, errors = kiosk(t, one(c), func(step map[string]any) string {
		if step["step"] == "challenge" {
			_, err := fmt.Fprint(writing, respond(t, step["challenge"].(string)))
			check(t, err)
			check(t, writing.Close())
		}
		return ""
	}, "--forgotten", "--new-pin", file, "--response", fmt.Sprintf("fd:%d", reading.Fd()))
	if exit != 0 {
		t.Errorf("exit code %d: %v", exit, errors)
	}
	check(t, c.VerifyPIN("814275"))
}

// Whatever goes wrong is told by its code, and the PIN is as it was.
func TestFailures(t *testing.T) {
	at := func(step string, do func(r *reader) string) func(*testing.T, *reader) func(map[string]any) string {
		return func(t *testing.T, r *reader) func(map[string]any) string {
			well := right(t)
			return func(s map[string]any) string {
				if s["step"] == step {
					return do(r)
				}
				return well(s)
			}
		}
	}
	says := func(line string) func(*reader) string { return func(*reader) string { return line } }
	for code, v := range map[string]struct {
		exit   int
		desk   func(d *desk)
		answer func(*testing.T, *reader) func(map[string]any) string
		args   []string
	}{
		"no-service":         {exit: 3, desk: func(d *desk) { d.opening = &pcsc.Error{Code: 0x8010001D} }},
		"no-reader":          {exit: 3, desk: func(d *desk) { d.readers = nil }, args: []string{"--timeout", "500ms"}},
		"no-card":            {exit: 4, desk: func(d *desk) { d.readers[0].card = nil }, args: []string{"--timeout", "500ms"}},
		"card-mute":          {exit: 4, desk: func(d *desk) { d.readers[0].busy = &pcsc.Error{Code: 0x80100066} }, args: []string{"--timeout", "500ms"}},
		"card-unknown":       {exit: 4, desk: func(d *desk) { d.readers[0].foreign = true }},
		"several-cards":      {exit: 4, desk: func(d *desk) { d.readers = append(d.readers, &reader{name: "Reader 1", card: d.readers[0].card}) }},
		"reader-busy":        {exit: 10, desk: func(d *desk) { d.readers[0].busy = &pcsc.Error{Code: 0x8010000B} }},
		"not-allowed":        {exit: 10, desk: func(d *desk) { d.readers[0].busy = &pcsc.Error{Code: 0x8010006A} }},
		"card-removed":       {exit: 9, answer: at("challenge", func(r *reader) string { r.takeOut(removed); return "" })},
		"card-reset":         {exit: 9, answer: at("new-pin", func(r *reader) string { r.takeOut(&pcsc.Error{Code: 0x80100068}); return "" })},
		"lost-after-setting": {exit: 9, desk: func(d *desk) { d.readers[0].after = 6 }},
		"refused":            {exit: 6, answer: at("challenge", says("0123456789ABCDEF"))},
		"card-dead":          {exit: 7, desk: func(d *desk) { _ = d.readers[0].card.Authenticate(nil) }, answer: at("challenge", says("0123456789ABCDEF"))},
		"response-mistyped":  {exit: 2, answer: at("challenge", says("0123456789ABCDEG"))},
		"pin-policy":         {exit: 8, answer: at("new-pin", says("111111"))},
		"input-ended":        {exit: 2, answer: at("challenge", says("end"))},
		"timeout":            {exit: 11, answer: at("challenge", says("")), args: []string{"--timeout", "500ms"}},
		"wrong-use":          {exit: 2, args: []string{"--timeout", "-1s"}},
		"not-blocked":        {exit: 5, desk: func(d *desk) { d.readers[0].card = nil }},
	} {
		t.Run(code, func(t *testing.T) {
			tries := 0
			if code == "card-dead" {
				tries = 1
			}
			c := newCard(t, true, tries)
			d := one(c)
			if v.desk != nil {
				v.desk(d)
			}
			if code == "not-blocked" {
				c = newCard(t, false, 0)
				d.readers[0].card = c
			}
			first := &reader{}
			if len(d.readers) > 0 {
				first = d.readers[0]
			}
			answer := right(t)
			if v.answer != nil {
				answer = v.answer(t, first)
			}
			exit, _, told := kiosk(t, d, answer, v.args...)
			if exit != v.exit || told["code"] != code || told["exit_code"] != float64(v.exit) {
				t.Errorf("exit code %d, want %d: %v", exit, v.exit, told)
			}
			if code != "not-blocked" && code != "lost-after-setting" && !c.Blocked() {
				t.Error("the PIN was changed")
			}
			for _, r := range d.readers {
				if r.holding != 0 {
					t.Errorf("%s: %d connections are left", r.name, r.holding)
				}
			}
		})
	}
}

func TestStatus(t *testing.T) {
	d := &desk{readers: []*reader{
		{name: "Reader 0", card: newCard(t, true, 0)}, {name: "Reader 1", card: newCard(t, false, 0)}, {name: "Reader 2"},
	}}
	var out, stderr bytes.Buffer
	a := &app{in: os.Stdin, out: &out, err: &stderr, open: d.open, environ: func(string) string { return "de_DE.UTF-8" }}
	if exit := a.run(t.Context(), []string{"status"}); exit != 0 {
		t.Errorf("exit code %d: %s", exit, &stderr)
	}
	const want = `Reader 0  GIDS  gesperrt
Reader 1  GIDS  nicht gesperrt, verbleibende Versuche: 3 von 3
Reader 2  Es ist keine Karte im Leser.
`
	if out.String() != want {
		t.Errorf("status shows:\n%s", &out)
	}
	out.Reset()
	if exit := a.run(t.Context(), []string{"status", "--json", "--reader", "0"}); exit != 0 {
		t.Errorf("exit code %d: %s", exit, &stderr)
	}
	if got := out.String(); got != `{"readers":[{"reader":"Reader 0","application":"GIDS","pin":{"blocked":true,"tries_left":0,"limit":3}}]}`+"\n" {
		t.Errorf("status --json shows:\n%s", got)
	}
}

func TestPolicy(t *testing.T) {
	gids, piv := (&smartcard.GIDS{}).Limits(), (&smartcard.PIV{}).Limits()
	for _, v := range []struct {
		pin    string
		limits smartcard.PINLimits
		min    int
		ok     bool
	}{
		{"275914", gids, 6, true}, {"Sommar", gids, 6, true}, {"2759", gids, 4, true}, {"27591", gids, 6, false}, {"275", gids, 1, false},
		{"275914", piv, 4, true}, {"27591", piv, 4, false}, {"Sommar", piv, 4, false}, {"275914275", piv, 4, false},
		{"111111", gids, 4, false}, {"123456", gids, 4, false}, {"987654", gids, 4, false}, {"abcdef", gids, 4, false},
		{"121212", gids, 4, false}, {"275275", gids, 4, false}, {"112112", gids, 4, false}, {"112122", gids, 4, false}, {"27 914", gids, 4, false},
	} {
		if err := checkPIN([]byte(v.pin), v.limits, v.min); (err == nil) != v.ok {
			t.Errorf("a PIN %q of %d to %d: %v", v.pin, v.limits.Min, v.limits.Max, err)
		}
	}
}

// Every phrase has the same verbs in every language, and each outcome a code of its own.
func TestPhrases(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "phrases.go", nil, 0)
	check(t, err)
	verbs := regexp.MustCompile(`%[a-z]`)
	phrases := 0
	ast.Inspect(file, func(n ast.Node) bool {
		literal, ok := n.(*ast.CompositeLit)
		if !ok || len(literal.Elts) != 3 {
			return true
		}
		phrases++
		text := func(i int) string { return literal.Elts[i].(*ast.BasicLit).Value }
		for i := range 3 {
			if got, want := verbs.FindAllString(text(i), -1), verbs.FindAllString(text(0), -1); strings.Join(got, "") != strings.Join(want, "") {
				t.Errorf("%s has the verbs %v, and %s has %v", text(0), want, text(i), got)
			}
		}
		return true
	})
	if phrases < 50 {
		t.Errorf("%d phrases were looked at", phrases)
	}
	codes := map[string]bool{}
	known := map[int]bool{}
	for _, e := range exits {
		known[e.code] = true
	}
	for _, o := range outcomes {
		if codes[o.code] && !errors.Is(o.err, context.Canceled) || !known[o.exit] {
			t.Errorf("outcome %s: its code is not its own, or %d is not explained", o.code, o.exit)
		}
		codes[o.code] = true
	}
}
