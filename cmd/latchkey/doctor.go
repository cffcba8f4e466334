package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"latchkey/card"
	"latchkey/config"
	"latchkey/doctor"
	"latchkey/hsm"
)

func newDoctor(a *app) *cobra.Command {
	var flags tokenFlags
	var quick bool
	cmd := &cobra.Command{
		Use:     "doctor",
		Short:   "Examine the token and the configuration, and say what to do",
		GroupID: groupToken,
		Long: `Examine the token: what it is, what it can do, whether it refuses what it has to
refuse, whether known answers come out right, how every key in it is kept, and how
many sessions serve it best. With --config also the configuration and what it names:
certificates, the database, and whether each profile has the key that it needs.

Nothing is changed, and the server may be running. Every scheme and every probe is
tried with throw-away keys that live in a session; the token's own keys are looked
at and not used. The PIN is tried once, and not at all where the token says that one
try is left. docs/doctor.md says what each finding means.

The exit code is 0 where all is fit, 6 where there are warnings, 1 where something
is unfit, and 5 where the token refused the PIN.`,
		Example: `  latchkey doctor --config /etc/latchkey/latchkey.yaml
  latchkey doctor --module M --token-label fleet --pin-file pin --quick
  latchkey doctor --config latchkey.yaml --json | jq '.findings[] | select(.grade == "fail")'`,
		Args: needs(),
		RunE: a.do(func(cmd *cobra.Command, _ []string) error {
			exam := doctor.New(doctor.Options{Quick: quick, Now: time.Now(), Built: readVersion().at, Synchronised: clockSynchronised})
			refused, err := flags.examine(cmd.Context(), exam)
			if err != nil {
				return err
			}
			if err := a.print(diagnosisOf(exam), func(w io.Writer) { writeDiagnosis(w, exam) }); err != nil {
				return err
			}
			switch grade := exam.Grade(); {
			case refused:
				return exitWith(exitPIN)
			case grade == doctor.Fail:
				return exitWith(exitFailed)
			case grade == doctor.Warning:
				return exitWith(exitWarned)
			}
			return nil
		}),
	}
	flags.add(cmd.Flags())
	cmd.Flags().BoolVar(&quick, "quick", false, "leave out the measurement, which takes some seconds")
	return cmd
}

// examine takes the exam as far as it gets. What goes wrong on the way is a
// finding; an error is one in how latchkey was called, or that of ctx. refused
// tells that the token refused the PIN.
func (f *tokenFlags) examine(ctx context.Context, exam *doctor.Exam) (refused bool, err error) {
	exam.Machine()
	if f.config != "" {
		exam.Configuration(ctx, f.config)
	}
	from, err := f.complete()
	var faults *config.Faults
	if errors.As(err, &faults) {
		return false, nil // each is a finding already
	}
	if err != nil {
		return false, err
	}
	for _, one := range append([]config.HSM{from}, from.Fallbacks...) {
		no, err := examineToken(ctx, one, exam)
		if err != nil {
			return false, err
		}
		refused = refused || no
	}
	return refused, nil
}

// examineToken is examine for one token.
func examineToken(ctx context.Context, from config.HSM, exam *doctor.Exam) (refused bool, err error) {
	exam.Turn(from.Token)
	loaded := false
	err = withModule(from.Module, func(m *hsm.Module) error {
		loaded = true
		if !exam.Module(ctx, m, from.Token) {
			return nil
		}
		return withToken(ctx, m, from, func(t *hsm.Token) error { return exam.Token(ctx, t) })
	})
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return false, ctx.Err()
	case !loaded:
		exam.Unopened(doctor.Module, err, advice(err))
	case errors.Is(err, hsm.ErrPIN):
		exam.Unopened(doctor.PIN, err, advice(err))
		return true, nil
	default:
		exam.Unopened(doctor.Token, err, advice(err))
	}
	return false, nil
}

// clockSynchronised asks the kernel whether something keeps its clock right. In
// some containers nobody may ask.
func clockSynchronised() (yes, known bool) {
	const unsynchronised = 0x40 // STA_UNSYNC
	var clock unix.Timex
	if _, err := unix.Adjtimex(&clock); err != nil {
		return false, false
	}
	return clock.Status&unsynchronised == 0, true
}

// diagnosis is an exam as JSON.
type diagnosis struct {
	Grade    doctor.Grade     `json:"grade"`
	Passed   int              `json:"passed"`
	Notes    int              `json:"notes"`
	Warnings int              `json:"warnings"`
	Failed   int              `json:"failed"`
	Findings []doctor.Finding `json:"findings"`
	Tokens   []*doctor.Result `json:"tokens"`
}

func diagnosisOf(e *doctor.Exam) diagnosis {
	return diagnosis{
		e.Grade(), e.Count(doctor.Pass), e.Count(doctor.Note), e.Count(doctor.Warning), e.Count(doctor.Fail),
		e.Findings, e.Results,
	}
}

// writeDiagnosis prints a line for each finding, under what it is about.
func writeDiagnosis(w io.Writer, e *doctor.Exam) {
	for _, c := range doctor.Checks() {
		about := slices.DeleteFunc(slices.Clone(e.Findings), func(f doctor.Finding) bool { return f.Check != c })
		if len(about) > 0 {
			_, _ = fmt.Fprintln(w, c)
		}
		for i, f := range about {
			_, _ = fmt.Fprintf(w, "  %-8s %s\n", f.Grade, sentence(f))
			again := i+1 < len(about) && about[i+1].Token == f.Token && about[i+1].Subject == f.Subject && about[i+1].Do == f.Do // it is said after the next
			if f.Do != "" && f.Grade != doctor.Pass && !again {
				_, _ = fmt.Fprintf(w, "           What to do: %s\n", card.Visible(f.Do))
			}
		}
	}
	verdict := map[doctor.Grade]string{
		doctor.Pass: "Fit", doctor.Note: "Fit", doctor.Warning: "Fit, with warnings", doctor.Fail: "NOT FIT",
	}[e.Grade()]
	_, _ = fmt.Fprintf(w, "%s (passed: %d, notes: %d, warnings: %d, failed: %d)\n", verdict,
		e.Count(doctor.Pass), e.Count(doctor.Note), e.Count(doctor.Warning), e.Count(doctor.Fail))
}

func sentence(f doctor.Finding) string {
	text := f.Text
	if f.Subject != "" {
		text = f.Subject + ": " + text
	}
	if f.Token != "" && f.Token != f.Subject {
		text = "token " + f.Token + ", " + text
	}
	if len(f.Profiles) > 0 && f.Check != doctor.Profile {
		text += " (stops profiles: " + strings.Join(f.Profiles, ", ") + ")"
	}
	return card.Visible(text)
}
