package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"latchkey/config"
	"latchkey/hsm"
)

// The exit codes. exitCodesTopic says what each means.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitRefused     = 3
	exitUnavailable = 4
	exitPIN         = 5
	exitInterrupted = 130
)

func exitCodesTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit codes mean",
		Long: `Every command exits with one of these codes:

    0  done; for serve and demo also: stopped by SIGINT or SIGTERM
    1  failed: a known-answer test failed, or something went wrong that no other
       code names
    2  wrong use: the arguments or the configuration have faults, or a file that
       they name cannot be used; nothing was tried
    3  refused: the server or the token says no, and will again
    4  not available: the server or the token cannot be reached or does not answer
       for now; nothing was given out, and trying later may help
    5  the token refused the PIN; do not try again before you know why, since a
       token locks after a few wrong PINs
  130  interrupted by SIGINT or SIGTERM before it was done

With --json an error is one JSON object on standard error: "error" says what went
wrong, "advice" what to do about it where that is known, "exit_code" is the code
above, and "problem" is the server's problem document where it sent one.`,
	}
}

// usageError is an error in how latchkey was called.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

func misuse(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// errFailed ends a command that has already printed what failed.
var errFailed = errors.New("failed")

func exitCode(err error) int {
	var (
		usage    *usageError
		faults   *config.Faults
		pkcs11   *hsm.Error
		outage   interface{ Unavailable() bool }
		unfit    *hsm.UnsupportedError
		notFound *fs.PathError
	)
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage), errors.As(err, &faults), errors.As(err, &notFound):
		return exitUsage
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &pkcs11) && pkcs11.PIN():
		return exitPIN
	case errors.Is(err, hsm.ErrToken), errors.As(err, &outage) && outage.Unavailable():
		return exitUnavailable
	case errors.Is(err, hsm.ErrKeyUnknown), errors.Is(err, hsm.ErrKeyUnfit), errors.Is(err, hsm.ErrInput),
		errors.As(err, &unfit):
		return exitRefused
	}
	return exitFailed
}

// advice says what to do about an error, or "".
func advice(err error) string {
	var pkcs11 *hsm.Error
	switch {
	case errors.As(err, &pkcs11) && pkcs11.PIN():
		return "The PIN was tried once and is not tried again: a token locks after a few wrong PINs. See what is in the place the PIN comes from."
	case errors.Is(err, hsm.ErrToken):
		return "List the tokens that the module sees: latchkey hsm info --module MODULE. For SoftHSM2, SOFTHSM2_CONF must name its configuration."
	}
	return ""
}

// report prints an error and what to do about it.
func (a *app) report(err error) {
	if errors.Is(err, errFailed) {
		return
	}
	if a.json {
		e := json.NewEncoder(a.err)
		e.SetEscapeHTML(false)
		_ = e.Encode(struct { // there is nowhere left to report to
			Error  string `json:"error"`
			Advice string `json:"advice,omitempty"`
			Code   int    `json:"exit_code"`
		}{err.Error(), advice(err), exitCode(err)})
		return
	}
	_, _ = fmt.Fprintln(a.err, "latchkey:", err)
	if text := advice(err); text != "" {
		_, _ = fmt.Fprintln(a.err, "  "+strings.ReplaceAll(text, "\n", "\n  "))
	}
}
