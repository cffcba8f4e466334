package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"latchkey/card"
	"latchkey/smartcard"
	"latchkey/smartcard/pcsc"
)

// What may end a run beside what smartcard and pcsc name.
var (
	errSeveralCards = errors.New("more than one card that is known here")
	errNotBlocked   = errors.New("the PIN is not blocked")
	errTimeout      = errors.New("waited too long")
	errInputEnded   = errors.New("the input ended")
	errNotVerified  = errors.New("the card does not take the new PIN that it was given")
	errPUKWrong     = errors.New("the PUK was wrong")
	errHalfway      = errors.New("the card was lost after the new PIN was sent")
)

// misuseError: the arguments have faults, and nothing was tried.
type misuseError struct{ error }

func (e *misuseError) Unwrap() error { return e.error }

// policyError says what a new PIN lacks.
type policyError struct {
	why  phrase
	args []any
}

func (e *policyError) Error() string { return fmt.Sprintf(e.why.en, e.args...) }

// outcome is how a kind of error is told: by code to programs, by words to people.
type outcome struct {
	err    error // nil for what no other names
	code   string
	exit   int
	text   phrase
	advice phrase
}

// The exit codes, each with what the help says of it.
var exits = []struct {
	code int
	help string
}{
	{0, "done: the new PIN is set and the card has verified it; for status: shown"},
	{1, "failed in a way that no other code names"},
	{2, "wrong use: arguments or input have faults; the card was not touched"},
	{3, "no smart card service, or no reader"},
	{4, "no card, none that answers, none that is known here, or more than one"},
	{5, "the PIN is not blocked, so nothing was done"},
	{6, "the card refused the response (or the PUK); the challenge is used up"},
	{7, "the card takes no more responses (or PUKs), for good"},
	{8, "the new PIN does not do; the PIN is as it was"},
	{9, "the card was taken out, or reset by another program, before it was done"},
	{10, "another program holds the reader, or this user may not use it"},
	{11, "waited longer than --timeout"},
	{130, "interrupted; the card is as it was"},
}

func exitCodesHelp() string {
	var b strings.Builder
	b.WriteString("unblock-card exits with one of these codes:\n\n")
	for _, e := range exits {
		fmt.Fprintf(&b, "%5d  %s\n", e.code, e.help)
	}
	b.WriteString(`
With --json an error is one JSON object on standard error: "code" names it, "error" says
what went wrong, "advice" what to do, "exit_code" is the code above. Where a response or
PUK was wrong, "tries_left" is how many more the card takes, null where it does not say.`)
	return b.String()
}

// outcomes are looked through in order.
var outcomes = []outcome{
	{errInterrupted, "interrupted", 130, sayInterrupted, phrase{}},
	{context.Canceled, "interrupted", 130, sayInterrupted, phrase{}},
	{errHalfway, "lost-after-setting", 9, sayHalfway, adviseHalfway},
	{errPUKWrong, "puk-refused", 6, sayPUKWrong, phrase{}},
	{errTimeout, "timeout", 11, sayTimeout, phrase{}},
	{pcsc.ErrNoService, "no-service", 3, sayNoService, adviseService()},
	{pcsc.ErrNoReader, "no-reader", 3, sayNoReader, adviseReader},
	{pcsc.ErrNotAllowed, "not-allowed", 10, sayNotAllowed, adviseAllowed},
	{pcsc.ErrBusy, "reader-busy", 10, sayBusy, adviseBusy},
	{pcsc.ErrRemoved, "card-removed", 9, sayRemoved, adviseRemoved},
	{pcsc.ErrReset, "card-reset", 9, sayReset, adviseRemoved},
	{pcsc.ErrNoCard, "no-card", 4, sayNoCard, adviseCard},
	{pcsc.ErrMute, "card-mute", 4, sayMute, adviseMute},
	{smartcard.ErrUnknownCard, "card-unknown", 4, sayUnknown, adviseUnknown},
	{errSeveralCards, "several-cards", 4, saySeveral, adviseSeveral},
	{errNotBlocked, "not-blocked", 5, sayNotBlocked, adviseForgotten},
	{smartcard.ErrDead, "card-dead", 7, sayDead, adviseDead},
	{smartcard.ErrVoid, "challenge-void", 9, sayVoid, adviseRemoved},
	{smartcard.ErrPINRefused, "pin-refused", 8, sayPINRefused, advisePIN},
	{errNotVerified, "not-verified", 1, sayNotVerified, adviseHalfway},
	{errInputEnded, "input-ended", 2, sayInputEnded, phrase{}},
}

func outcomeOf(err error) outcome {
	var (
		misuse *misuseError
		wrong  *smartcard.WrongError
		policy *policyError
		typed  *card.HexError
	)
	for _, o := range outcomes {
		if errors.Is(err, o.err) {
			return o
		}
	}
	switch {
	case errors.As(err, &misuse):
		return outcome{nil, "wrong-use", 2, phrase{}, phrase{}}
	case errors.As(err, &wrong):
		return outcome{nil, "refused", 6, sayRefused, adviseRefused}
	case errors.As(err, &policy):
		return outcome{nil, "pin-policy", 8, policy.why, phrase{}}
	case errors.As(err, &typed):
		return outcome{nil, "response-mistyped", 2, phrase{}, phrase{}}
	}
	return outcome{nil, "failed", 1, phrase{}, phrase{}}
}

// text is what went wrong in the user's words.
func (a *app) text(err error) string {
	var policy *policyError
	switch o := outcomeOf(err); {
	case errors.As(err, &policy):
		return fmt.Sprintf(policy.why.in(a.language), policy.args...)
	case o.text != phrase{}:
		return o.text.in(a.language)
	}
	return err.Error()
}

// report tells an error, and gives the exit code.
func (a *app) report(err error) int {
	if err == nil {
		return 0
	}
	o := outcomeOf(err)
	var wrong *smartcard.WrongError
	errors.As(err, &wrong)
	if a.json {
		_ = json.NewEncoder(a.err).Encode(struct { // there is nowhere left to report to
			Code      string `json:"code"`
			Error     string `json:"error"`
			Advice    string `json:"advice,omitempty"`
			TriesLeft *tries `json:"tries_left,omitempty"`
			Exit      int    `json:"exit_code"`
		}{o.code, a.text(err), o.advice.in(a.language), triesOf(wrong), o.exit})
		return o.exit
	}
	_, _ = fmt.Fprintln(a.err, a.text(err))
	if wrong != nil {
		_, _ = fmt.Fprintln(a.err, a.cost(wrong))
	}
	if o.advice != (phrase{}) {
		_, _ = fmt.Fprintln(a.err, o.advice.in(a.language))
	}
	return o.exit
}

// cost says what a wrong response or PUK has cost.
func (a *app) cost(wrong *smartcard.WrongError) string {
	if wrong.TriesLeft == smartcard.Unknown {
		return sayCostUnknown.in(a.language)
	}
	return fmt.Sprintf(sayCost.in(a.language), wrong.TriesLeft)
}

// tries is a number of tries in JSON, null where it is not told.
type tries int

// MarshalJSON implements json.Marshaler.
func (t tries) MarshalJSON() ([]byte, error) {
	if t == smartcard.Unknown {
		return []byte("null"), nil
	}
	return json.Marshal(int(t))
}

func triesOf(wrong *smartcard.WrongError) *tries {
	if wrong == nil {
		return nil
	}
	t := tries(wrong.TriesLeft)
	return &t
}

// adviseService says how the smart card service is started here.
func adviseService() phrase {
	switch runtime.GOOS {
	case "windows":
		return adviseServiceWindows
	case "darwin":
		return adviseServiceMac
	}
	return adviseServiceLinux
}
