package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/term"

	"latchkey/card"
	"latchkey/smartcard"
	"latchkey/smartcard/pcsc"
)

const defaultTimeout = 15 * time.Minute

// aliveEvery is how often it is seen that the card is still there. Windows takes the
// card away from whoever is silent for five seconds.
const aliveEvery = time.Second

type unblockOptions struct {
	reader                string
	timeout               time.Duration
	forgotten             bool
	minPIN                int
	response, newPIN, puk string
}

func (o unblockOptions) check() error {
	if o.timeout <= 0 {
		return fmt.Errorf("--timeout %v: it has to be longer than nothing", o.timeout)
	}
	if o.minPIN < 1 || o.minPIN > 15 {
		return fmt.Errorf("--min-pin %d: a PIN has 1 to 15 characters", o.minPIN)
	}
	for _, text := range []string{o.response, o.newPIN, o.puk} {
		if _, err := parseSource(text); err != nil {
			return err
		}
	}
	return nil
}

// session is one unblock of one card.
type session struct {
	*app
	unblockOptions
	asks bool // there is a person at a terminal
	found

	// What was typed, wiped in the end.
	secret [maxLine]byte // response or PUK, as a line
	pin    [maxLine]byte
	second [maxLine]byte
	pinLen int
}

// unblock is the whole of it.
func (a *app) unblock(ctx context.Context, o unblockOptions) (err error) {
	s, err := a.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	waiting, done := context.WithTimeoutCause(ctx, o.timeout, errTimeout)
	defer done()
	f, err := a.await(waiting, s, o.reader)
	if err != nil {
		return err
	}
	u := &session{app: a, unblockOptions: o, found: f}
	u.asks = !a.json && o.response == "" && o.newPIN == "" && o.puk == "" && term.IsTerminal(int(a.in.Fd()))
	defer func() {
		clear(u.secret[:])
		clear(u.pin[:])
		clear(u.second[:])
		if closing := f.card.Close(); err == nil && !errors.Is(closing, pcsc.ErrRemoved) && !errors.Is(closing, pcsc.ErrReset) {
			err = closing
		}
	}()

	a.emit(documentOf("card", f))
	a.say(sayCard, f.application.Name(), f.reader)
	a.say(sayPIN, a.pinText(f.pin))
	if !f.pin.Blocked() && !o.forgotten {
		return errNotBlocked
	}
	switch application := f.application.(type) {
	case *smartcard.GIDS:
		err = u.byResponse(ctx, application)
	case *smartcard.PIV:
		err = u.byPUK(ctx, application)
	}
	if err != nil {
		return err
	}
	a.emit(struct {
		Step     string `json:"step"`
		Verified bool   `json:"verified"`
	}{"done", true})
	a.say(sayDone)
	return nil
}

// waiting bounds one wait for a person: by --timeout, and by the card's being there.
// The card is not spoken to meanwhile. What it returns ends the watch, and only then
// may the card be spoken to again.
func (u *session) waiting(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	bounded, done := context.WithTimeoutCause(ctx, u.timeout, errTimeout)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(aliveEvery)
		defer ticker.Stop()
		for {
			if err := u.card.Alive(); err != nil {
				cancel(err)
				return
			}
			select {
			case <-ticker.C:
			case <-bounded.Done():
				return
			}
		}
	}()
	return bounded, func() {
		done()
		<-ended
		cancel(nil)
	}
}

// byResponse is the way of GIDS.
func (u *session) byResponse(ctx context.Context, g *smartcard.GIDS) error {
	for {
		challenge, err := g.Challenge()
		if err != nil {
			return err
		}
		response := make([]byte, len(challenge))
		err = func() error {
			defer func() { clear(u.secret[:]) }()
			ctx, done := u.waiting(ctx)
			defer done()
			if err := u.takeResponse(ctx, challenge, response); err != nil {
				return err
			}
			if u.pinLen > 0 { // chosen already, and the response was wrong
				return nil
			}
			return u.takePIN(ctx, g.Limits())
		}()
		if err == nil {
			err = g.Respond(response)
		}
		clear(response)
		if err == nil {
			return u.set(ctx, g.Limits(), func(pin []byte) error { return g.SetPIN(pin) })
		}
		var wrong *smartcard.WrongError
		if !errors.As(err, &wrong) || !u.asks {
			return err
		}
		u.say(sayRefused)
		u.tell(u.cost(wrong))
		u.say(sayAgain)
	}
}

// byPUK is the way of PIV.
func (u *session) byPUK(ctx context.Context, p *smartcard.PIV) error {
	u.say(sayPIV)
	for {
		length := 0
		err := func() error {
			ctx, done := u.waiting(ctx)
			defer done()
			u.emit(struct {
				Step string `json:"step"`
			}{"puk"})
			var err error
			if length, err = u.takeSecret(ctx, askPUK, u.puk, u.secret[:]); err != nil {
				return err
			}
			if u.pinLen > 0 {
				return nil
			}
			return u.takePIN(ctx, p.Limits())
		}()
		if err != nil {
			return err
		}
		err = u.set(ctx, p.Limits(), func(pin []byte) error { return p.Unblock(u.secret[:length], pin) })
		var wrong *smartcard.WrongError
		switch {
		case !errors.As(err, &wrong):
			return err
		case !u.asks:
			return fmt.Errorf("%w: %w", errPUKWrong, err)
		}
		u.say(sayPUKWrong)
		u.tell(u.cost(wrong))
	}
}

// set sends the new PIN and has the card verify it. No signal comes in between. A PIN
// that the card does not take can be chosen anew.
func (u *session) set(ctx context.Context, limits smartcard.PINLimits, send func(pin []byte) error) error {
	for {
		err := send(u.pin[:u.pinLen])
		switch {
		case err == nil:
			return u.verify()
		case !errors.Is(err, smartcard.ErrPINRefused) || !u.asks:
			return lost(err)
		}
		u.say(sayPINRefused)
		ctx, done := u.waiting(ctx)
		err = u.takePIN(ctx, limits)
		done()
		if err != nil {
			return err
		}
	}
}

func (u *session) verify() error {
	err := u.application.Verify(u.pin[:u.pinLen])
	var wrong *smartcard.WrongError
	if errors.As(err, &wrong) || errors.Is(err, smartcard.ErrDead) {
		return errNotVerified
	}
	return lost(err)
}

// lost says of an error of the reader's that the new PIN was on its way by then.
func lost(err error) error {
	var reader *pcsc.Error
	if errors.As(err, &reader) {
		return fmt.Errorf("%w: %w", errHalfway, err)
	}
	return err
}

// takeResponse shows the challenge and reads the response, until it can be one.
func (u *session) takeResponse(ctx context.Context, challenge card.Challenge, into card.Response) error {
	u.emit(struct {
		Step      string `json:"step"`
		Challenge string `json:"challenge"`
		Grouped   string `json:"grouped"`
		Spoken    string `json:"spoken"`
		Digits    int    `json:"response_digits"`
	}{"challenge", challenge.Hex(), challenge.Grouped(), challenge.Spoken(), 2 * len(into)})
	u.say(sayChallenge, challenge.Grouped(), challenge.Spoken())
	for {
		n, err := u.readResponse(ctx)
		if err != nil {
			return err
		}
		err = card.ParseHex(into, u.secret[:n])
		clear(u.secret[:])
		if err == nil && bytes.Equal(into, challenge) {
			err = &misuseError{errors.New("this is the challenge, not the response to it")}
		}
		switch {
		case err != nil && !u.asks:
			return err
		case err != nil:
			u.say(sayMistyped, u.typingFault(err))
			continue
		case !u.asks:
			return nil
		}
		// Grouped and Spoken show the response, to the one who has just typed it.
		u.say(sayReadBack, into.Grouped(), into.Spoken())
		yes, err := u.confirmed(ctx)
		if err != nil || yes {
			return err
		}
		into.Wipe()
	}
}

func (u *session) readResponse(ctx context.Context) (int, error) {
	if !u.asks {
		return u.given(ctx, u.response, u.secret[:])
	}
	u.prompt(askResponse)
	return input{u.in}.line(ctx, u.secret[:])
}

// confirmed tells whether the line that comes says so: empty, or a yes.
func (u *session) confirmed(ctx context.Context) (bool, error) {
	u.prompt(askConfirm)
	var line [maxLine]byte
	n, err := input{u.in}.line(ctx, line[:])
	if err != nil {
		return false, err
	}
	switch string(bytes.ToLower(bytes.TrimSpace(line[:n]))) {
	case "", "y", "yes", "j", "ja":
		return true, nil
	}
	return false, nil
}

// typingFault says what is wrong with a response as it was typed, without showing it.
func (u *session) typingFault(err error) string {
	var typed *card.HexError
	if !errors.As(err, &typed) {
		return sayIsChallenge.in(u.language)
	}
	switch typed.Fault {
	case card.HexAmbiguous:
		return fmt.Sprintf(sayAmbiguous.in(u.language), typed.Position)
	case card.HexNotDigit:
		return fmt.Sprintf(sayNotDigit.in(u.language), typed.Position)
	case card.HexLength:
	}
	return fmt.Sprintf(sayLength.in(u.language), typed.Digits, typed.Want)
}

// takePIN takes a new PIN, from a person twice and until it will do.
func (u *session) takePIN(ctx context.Context, limits smartcard.PINLimits) error {
	u.pinLen = 0
	u.emit(struct {
		Step string `json:"step"`
		Min  int    `json:"min"`
		Max  int    `json:"max"`
	}{"new-pin", max(limits.Min, u.minPIN), limits.Max})
	for {
		n, err := u.takeSecret(ctx, askPIN, u.newPIN, u.pin[:])
		if err != nil {
			return err
		}
		err = checkPIN(u.pin[:n], limits, u.minPIN)
		switch {
		case err != nil && !u.asks:
			return err
		case err != nil:
			u.tell(u.text(err))
			continue
		case !u.asks:
			u.pinLen = n
			return nil
		}
		again, err := u.takeSecret(ctx, askPINAgain, "", u.second[:])
		if err != nil {
			return err
		}
		if bytes.Equal(u.pin[:n], u.second[:again]) {
			u.pinLen = n
			return nil
		}
		u.say(sayPINsDiffer)
	}
}

// takeSecret reads a secret: unseen from a terminal, else from where it was said to be.
func (u *session) takeSecret(ctx context.Context, prompt phrase, from string, into []byte) (int, error) {
	clear(into)
	if !u.asks {
		return u.given(ctx, from, into)
	}
	n, err := input{u.in}.hidden(ctx, u.in, func() { u.prompt(prompt) }, into)
	_, _ = fmt.Fprintln(u.out)
	return n, err
}

// given reads a line from where it was said to come from: nobody is asked for it.
func (u *session) given(ctx context.Context, from string, into []byte) (int, error) {
	source, err := parseSource(from)
	if err != nil {
		return 0, err
	}
	return source.line(ctx, u.in, into)
}

// prompt asks, without ending the line.
func (u *session) prompt(p phrase) { _, _ = fmt.Fprint(u.out, p.in(u.language)+" ") }
