// Command unblock-card is the card holder's side of an unblock, on Linux, macOS and
// Windows: for those who have no logon screen that shows a challenge.
//
// It finds the card over PC/SC, shows the challenge to tell the help desk, takes the
// response and a new PIN, sets it and has the card verify it. It speaks to the card
// and to nobody else: no server, no network. docs/unblock-card.md shows a session.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"latchkey/smartcard"
	"latchkey/smartcard/pcsc"
)

func main() { os.Exit(run()) }

// errInterrupted is why a context ended that a signal, or Ctrl-C where the terminal
// sends none, has ended.
var errInterrupted = errors.New("interrupted")

func run() int {
	ctx, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	// A signal is heard at every step; what is being said to the card at that moment
	// is ended first. There is no second, harder signal: no step takes long.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		stop(errInterrupted)
	}()
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, open: openPCSC, environ: os.Getenv}
	return a.run(ctx, os.Args[1:])
}

// service is what is used of PC/SC.
type service interface {
	Readers() ([]string, error)
	Connect(reader string) (held, error)
	Close() error
}

// held is a card that is held until it is closed, which resets it.
type held interface {
	smartcard.Transmitter
	Alive() error
	Close() error
}

type system struct{ *pcsc.Service }

func (s system) Connect(reader string) (held, error) {
	c, err := s.Service.Connect(reader)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func openPCSC() (service, error) {
	s, err := pcsc.Open()
	if err != nil {
		return nil, err
	}
	return system{s}, nil
}

// app is where a run reads, writes and finds the smart card service.
type app struct {
	in       *os.File
	out, err io.Writer
	open     func() (service, error)
	environ  func(string) string

	json     bool
	language language
	began    bool // a command's own work has begun
}

func (a *app) run(ctx context.Context, args []string) int {
	a.language = languageOf(a.environ)
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	err := root.ExecuteContext(ctx)
	if err != nil && !a.began { // cobra refused the arguments
		err = &misuseError{err}
	}
	return a.report(err)
}

func (a *app) root() *cobra.Command {
	var o unblockOptions
	var name string
	root := &cobra.Command{
		Use:   "unblock-card",
		Short: "Set a new PIN on a card whose PIN is blocked",
		Long: `Set a new PIN on a smart card whose PIN is blocked, with the help desk on the telephone.

The card gives a challenge. You read it to the help desk, who read a response back to
you; you type it and choose a new PIN. Leave the card in the reader all the while: a
challenge ends when the card is taken out, or when this program ends. Until you have
typed both the response and the new PIN, the card stays as it is; Ctrl-C is safe at
any time.

This works with GIDS cards. A PIV card (a YubiKey too) is unblocked by its PUK
instead, which is asked for. Other cards need their maker's software.

In a terminal it asks. Without one, or with --json, it asks nothing: it prints the
challenge and then reads the response and the new PIN (on a PIV card the PUK and the
new PIN), a line each, from standard input or from where --response, --new-pin and
--puk say: a file, a named pipe, or fd:N for a descriptor. They are never taken from
arguments or the environment, where others can see them.`,
		Example: `  unblock-card                        ask for everything
  unblock-card status                 show readers, cards and what their PINs are like
  unblock-card --forgotten            set a new PIN though the old one is not blocked
  unblock-card --reader yubikey       where there is more than one reader
  unblock-card --lang sv
  unblock-card --json --timeout 5m --response fd:3 --new-pin fd:4      in a kiosk`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if name != "" {
				l, err := parseLanguage(name)
				if err != nil {
					return err
				}
				a.language = l
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			a.began = true
			return a.unblock(cmd.Context(), o)
		},
	}
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print JSON, one document a line for each step, errors too")
	root.PersistentFlags().StringVar(&name, "lang", "", "language: en, sv or de (default: that of LC_ALL, LC_MESSAGES or LANG)")
	root.PersistentFlags().StringVar(&o.reader, "reader", "", "the reader to use: its name, or a part of it that no other has")
	flags := root.Flags()
	flags.DurationVar(&o.timeout, "timeout", defaultTimeout, "how long to wait for each: a card, the response, the new PIN")
	flags.BoolVar(&o.forgotten, "forgotten", false, "go on though the PIN is not blocked")
	flags.IntVar(&o.minPIN, "min-pin", defaultMinPIN, "how many characters a new PIN must have at least")
	flags.StringVar(&o.response, "response", "", "where the response comes from: a file, fd:N, or - for standard input")
	flags.StringVar(&o.newPIN, "new-pin", "", "where the new PIN comes from, likewise")
	flags.StringVar(&o.puk, "puk", "", "where the PUK of a PIV card comes from, likewise")
	root.AddCommand(
		&cobra.Command{
			Use: "status", Short: "Show readers, cards and what their PINs are like", Args: cobra.NoArgs,
			Long: `Show each reader, the card in it and what its PIN is like. No PIN is tried. Each card is
reset afterwards; name a --reader where another card must not be disturbed.`,
			Example: "  unblock-card status\n  unblock-card status --json",
			RunE: func(*cobra.Command, []string) error {
				a.began = true
				return a.status(o.reader)
			},
		},
		&cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: exitCodesHelp()},
	)
	return root
}

// say prints a line for the person at the terminal.
func (a *app) say(p phrase, args ...any) { a.tell(fmt.Sprintf(p.in(a.language), args...)) }

// tell prints a line that is in the person's language already.
func (a *app) tell(text string) {
	if !a.json {
		_, _ = fmt.Fprintln(a.out, text)
	}
}

// languageOf is the language of the environment, as POSIX has it.
func languageOf(environ func(string) string) language {
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if value := environ(name); value != "" {
			short, _, _ := strings.Cut(strings.ToLower(value), "_")
			if l, err := parseLanguage(short); err == nil {
				return l
			}
			return english
		}
	}
	return english
}
