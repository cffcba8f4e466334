package main

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"latchkey/ceremony"
	"latchkey/config"
	"latchkey/hsm"
)

func newCeremony(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "ceremony", Short: "Walk a key ceremony from a reviewed script, and verify its record", GroupID: groupCeremony,
		Args: cobra.NoArgs, RunE: a.group,
	}
	cmd.AddCommand(newCeremonyCheck(a), newCeremonyRun(a), newCeremonyVerify(a))
	return cmd
}

func newCeremonyCheck(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "List every fault of a ceremony file, or print the script as it will be walked",
		Long: `List every fault of a ceremony file, or print the script as it will be walked, with
the SHA-256 that the officers approve. It needs no token. What has to be there on
the day and is not there yet is listed too, and is no fault.`,
		Example: `  latchkey ceremony check ceremony.yaml`,
		Args:    needs("FILE"),
		RunE: a.do(func(_ *cobra.Command, args []string) error {
			s, err := ceremony.Load(args[0])
			if err != nil {
				return err
			}
			missing := s.Missing()
			result := struct {
				SHA256  string   `json:"sha256"`
				Script  []string `json:"script"`
				Missing []string `json:"missing"`
			}{s.SHA256, s.Lines(), append([]string{}, missing...)}
			for _, m := range missing {
				a.note("not there yet: %s", m)
			}
			return a.print(result, printLines(s.Lines()))
		}),
	}
}

// printLines writes lines as they are.
func printLines(lines []string) func(io.Writer) {
	return func(w io.Writer) {
		for _, line := range lines {
			_, _ = fmt.Fprintln(w, line)
		}
	}
}

// ceremonyTimeout bounds one call of the token: some take minutes to make an RSA
// key pair.
const ceremonyTimeout = 5 * time.Minute

func newCeremonyRun(a *app) *cobra.Command {
	var flags tokenFlags
	var record string
	cmd := &cobra.Command{
		Use:   "run FILE",
		Short: "Walk the officers through a ceremony, at the HSM",
		Long: `Walk the officers through the ceremony that FILE describes, step by step, at a
terminal of the HSM's host. Every officer says that they are there, the script is
approved by its SHA-256, each step is shown in words and confirmed, and components
are typed without being shown. docs/ceremony.md is the officers' guide.

The token is the one that the file names; the configuration or the flags say where
its module and PIN are.

Ctrl-C breaks the ceremony off: no step is left half done, and the record says how
far it came. The record is written whatever happens, and signed by the key in the
token that the file names.`,
		Example: `  latchkey ceremony run ceremony.yaml --config /etc/latchkey/latchkey.yaml
  latchkey ceremony run ceremony.yaml --module M --pin-file /etc/latchkey/pin --record spring.json`,
		Args: needs("FILE"),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			s, err := ceremony.Load(args[0])
			if err != nil {
				return err
			}
			console, err := newTerminal(a.in, a.err)
			if err != nil {
				return err
			}
			from, err := flags.forScript(s.Token)
			if err != nil {
				return err
			}
			if record == "" {
				record = strings.TrimSuffix(args[0], filepath.Ext(args[0])) + ".record.json"
			}
			// A terminal that is closed breaks the ceremony off. One that is stopped would
			// leave it half-way, with the token logged in.
			ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGHUP)
			defer stop()
			signal.Ignore(unix.SIGTSTP)
			return withModule(from.Module, func(m *hsm.Module) error {
				return withToken(ctx, m, from, func(t *hsm.Token) error { return runCeremony(ctx, t, s, console, record) })
			})
		}),
	}
	cmd.Flags().StringVar(&record, "record", "", "`file` to write the record to, which must not be there yet (FILE with the ending .record.json)")
	flags.add(cmd.Flags())
	return cmd
}

// forScript is the source of the script's token. A PIN that is meant for another
// one is not tried on it.
func (f *tokenFlags) forScript(of hsm.Selector) (config.HSM, error) {
	from, err := f.source()
	if err != nil {
		return config.HSM{}, err
	}
	differ := func(a, b string) bool { return a != "" && b != "" && a != b }
	if differ(from.Token.Label, of.Label) || differ(from.Token.Serial, of.Serial) {
		return config.HSM{}, misuse("the ceremony is for the token %q; the configuration or the flags name %q, and so the PIN of another", of.Label+of.Serial, from.Token.Label+from.Token.Serial)
	}
	if of.Label == "" {
		of.Label = from.Token.Label
	}
	if of.Serial == "" {
		of.Serial = from.Token.Serial
	}
	from.Token, from.CallTimeout = of, ceremonyTimeout
	if err := from.PIN.Faults(); err != nil {
		return config.HSM{}, misuse("%w: --pin-file, --pin-env or --pin-fd", err)
	}
	return from, nil
}

func runCeremony(ctx context.Context, t *hsm.Token, s *ceremony.Script, console ceremony.Console, record string) (err error) {
	signer, err := t.OpenSigner(ctx, s.SigningKey.Label, s.SigningKey.Create)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, signer.Close(context.WithoutCancel(ctx))) }()
	v := readVersion()
	_, err = ceremony.Run(ctx, s, ceremony.Options{
		HSM: t, Signer: signer, Console: console, Record: record, Tool: v.Version + " " + v.Revision, Now: time.Now,
	})
	return err
}

func newCeremonyVerify(a *app) *cobra.Command {
	var keyFile string
	cmd := &cobra.Command{
		Use:   "verify RECORD",
		Short: "Verify and show a ceremony's record, without a token",
		Long: `Verify a ceremony's record and show it in words. It needs no token.

With --key the record is proved to be signed by that key, whose fingerprint the
officers noted. Without it the key in the record itself is used, which proves that
the record is whole but not where it comes from: anybody can sign a record of their
own with a key of their own.`,
		Example: `  latchkey ceremony verify ceremony.record.json --key ceremony-key.pem`,
		Args:    needs("RECORD"),
		RunE: a.do(func(_ *cobra.Command, args []string) error {
			file, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			var key *ecdsa.PublicKey
			proved := "The record is whole. Without --key this does not prove where it comes from."
			if keyFile != "" {
				text, err := os.ReadFile(keyFile)
				if err != nil {
					return err
				}
				if key, err = ceremony.ParsePublicKey(text); err != nil {
					return misuse("--key: %s: %w", keyFile, err)
				}
				proved = "The record is whole, and signed by the key in " + keyFile + "."
			}
			r, err := ceremony.Verify(file, key)
			if err != nil {
				return err
			}
			return a.print(struct {
				Origin bool             `json:"origin_proved"`
				Record *ceremony.Record `json:"record"`
			}{key != nil, r}, printLines(append(r.Lines(), "", proved)))
		}),
	}
	cmd.Flags().StringVar(&keyFile, "key", "", "public key in a PEM `file` that must have signed the record")
	return cmd
}
