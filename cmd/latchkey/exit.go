package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"latchkey/audit"
	"latchkey/ceremony"
	"latchkey/config"
	"latchkey/config/strictyaml"
	"latchkey/hsm"
	"latchkey/server/api"
)

// The exit codes. exitCodesTopic says what each means.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitRefused     = 3
	exitUnavailable = 4
	exitPIN         = 5
	exitWarned      = 6
	exitInterrupted = 130
)

func exitCodesTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit codes mean",
		Long: `Every command exits with one of these codes:

    0  done; for serve and demo also: stopped by SIGINT or SIGTERM
    1  failed: an audit log was tampered with, a known-answer test failed, the doctor
       found something unfit, policies have faults or decide a case otherwise than
       expected, a profile does not give the response that it should, an officer broke a
       ceremony off, or something went wrong that no other code names
    2  wrong use: the arguments or the configuration have faults, or a file that
       they name cannot be used; nothing was tried
    3  refused: the server or the token says no, and will again
    4  not available: the server or the token cannot be reached or does not answer
       for now; nothing was given out, and trying later may help
    5  the token refused the PIN; do not try again before you know why, since a
       token locks after a few wrong PINs
    6  fit, but with warnings of the doctor
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

// saidNo is a no to what was shown: nothing was done.
type saidNo struct{ error }

func decline(format string, args ...any) error {
	return &saidNo{fmt.Errorf(format, args...)}
}

// exitWith ends a command that has printed all there is to say.
type exitWith int

func (e exitWith) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func exitCode(err error) int {
	var (
		said     exitWith
		usage    *usageError
		faults   *config.Faults
		written  *strictyaml.Faults
		notFound *fs.PathError
		no       *api.Problem
		outage   interface{ Unavailable() bool }
		unable   *hsm.UnsupportedError
		declined *saidNo
	)
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &said):
		return int(said)
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &usage), errors.As(err, &faults), errors.As(err, &written), errors.As(err, &notFound):
		return exitUsage
	case errors.As(err, &no):
		return exitOfProblem(no)
	case errors.Is(err, hsm.ErrPIN):
		return exitPIN
	case errors.Is(err, hsm.ErrToken), errors.As(err, &outage) && outage.Unavailable():
		return exitUnavailable
	case errors.Is(err, hsm.ErrKeyUnknown), errors.Is(err, hsm.ErrKeyUnfit), errors.Is(err, hsm.ErrInput),
		errors.Is(err, ceremony.ErrRefused), errors.Is(err, ceremony.ErrRecord), errors.As(err, &unable), errors.As(err, &declined),
		errors.Is(err, audit.ErrExport), errors.Is(err, audit.ErrCheckpoint), errors.Is(err, audit.ErrSignature), errors.Is(err, audit.ErrProof), errors.Is(err, audit.ErrUnproved):
		return exitRefused
	}
	return exitFailed
}

// exitOfProblem tells a no that stays from one that may pass.
func exitOfProblem(p *api.Problem) int {
	switch {
	case p.Status == http.StatusServiceUnavailable, p.Status == http.StatusTooManyRequests, p.Status == http.StatusRequestTimeout:
		return exitUnavailable
	case p.Status >= http.StatusInternalServerError:
		return exitFailed
	}
	return exitRefused
}

// advice says what to do about an error, or "".
func advice(err error) string {
	var call *api.ConnectionError
	var no *refusal
	switch {
	case errors.As(err, &no):
		return no.remedy
	case errors.Is(err, hsm.ErrPIN):
		return "Do not try again before you know why: a token locks after a few wrong PINs. See what is in the place that the PIN comes from."
	case errors.Is(err, hsm.ErrToken):
		return "List the tokens that the module sees: latchkey hsm info --module MODULE. For SoftHSM2, SOFTHSM2_CONF must name its configuration."
	case errors.Is(err, syscall.EADDRINUSE):
		return "Another process listens there, perhaps another latchkey. Stop it, or choose another address: listen in the configuration, or --listen of latchkey demo (make run LISTEN=127.0.0.1:9443)."
	case errors.As(err, &call):
		return connectionAdvice(call)
	}
	return ""
}

// connectionAdvice says what to do where the server cannot be called.
func connectionAdvice(err *api.ConnectionError) string {
	var (
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		lookup    *net.DNSError
		record    tls.RecordHeaderError
	)
	switch text := err.Error(); {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "Nothing listens there. See whether the server runs, and whether --server names its address."
	case errors.As(err, &authority):
		return "The server's certificate is of no CA that is known here. Name the server's CA: --ca FILE."
	case errors.As(err, &hostname):
		return "The server's certificate is for other names. Call it by one of them: --server https://NAME:PORT."
	case errors.As(err, &invalid):
		return "The server's certificate is not valid: have it renewed, and see whether this machine's clock is right."
	case errors.As(err, &lookup):
		return "The server's name is not known to this machine. See whether --server is right."
	case errors.As(err, &record), strings.Contains(text, "server gave HTTP response"):
		return "Something else than a TLS server listens there. See whether --server is right."
	case strings.Contains(text, "remote error: tls:"): // crypto/tls has no type for it
		return "The server does not take the client certificate: it must be in its time of validity and of the CA that tls.client_ca names in the server's configuration."
	case errors.Is(err, context.DeadlineExceeded):
		return "The server took too long. See whether it is up: its /readyz says."
	}
	return ""
}

// report prints an error and what to do about it.
func (a *app) report(err error) {
	var said exitWith
	if errors.As(err, &said) {
		return
	}
	if a.json {
		var no *api.Problem
		errors.As(err, &no)
		e := json.NewEncoder(a.err)
		e.SetEscapeHTML(false)
		_ = e.Encode(struct { // there is nowhere left to report to
			Error   string       `json:"error"`
			Advice  string       `json:"advice,omitempty"`
			Code    int          `json:"exit_code"`
			Problem *api.Problem `json:"problem,omitempty"`
		}{err.Error(), advice(err), exitCode(err), no})
		return
	}
	text := err.Error()
	if errors.Is(err, context.Canceled) {
		text = "interrupted"
	}
	if more := advice(err); more != "" {
		text += "\nWhat to do: " + more
	}
	var no *refusal
	if errors.As(err, &no) {
		text += "\nRequest: " + no.RequestID()
	}
	_, _ = fmt.Fprintln(a.err, "latchkey: "+strings.ReplaceAll(text, "\n", "\n  "))
}
