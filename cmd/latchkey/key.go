package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"latchkey/card"
	"latchkey/hsm"
)

func newKey(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "key", Short: "Make, list and look after master keys", GroupID: groupToken,
		Args: cobra.NoArgs, RunE: a.group,
	}
	cmd.AddGroup(
		&cobra.Group{ID: groupToken, Title: "On the HSM"},
		&cobra.Group{ID: groupClient, Title: "For officers, through the server"},
	)
	cmd.AddCommand(newKeyGenerate(a), newKeyImport(a), newKeyList(a))
	for _, c := range cmd.Commands() {
		c.GroupID = groupToken
	}
	cmd.AddCommand(custodyCommands(a)...)
	return cmd
}

// keyFlags say what master key to make.
type keyFlags struct {
	tokenFlags
	version      int
	keyType, use string
}

func (f *keyFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.IntVar(&f.version, "key-version", 1, "`version` of the key, 1 to 9999")
	flags.StringVar(&f.keyType, "type", string(card.AES256), "key `type`: tdes2, tdes3, aes128, aes192 or aes256")
	flags.StringVar(&f.use, "use", string(hsm.ForDeriving), "`use`: derive, mac (CMAC schemes on tokens without SP 800-108), unwrap (scheme wrapped) or encrypt (scheme static)")
	f.tokenFlags.add(flags)
}

func (f *keyFlags) key(label string) (hsm.NewKey, error) {
	n := hsm.NewKey{Label: label, Version: f.version, Type: card.KeyType(f.keyType), Use: hsm.Use(f.use)}
	switch {
	case n.Version < 1 || n.Version > card.MaxKeyVersion:
		return n, misuse("--key-version must be from 1 to %d", card.MaxKeyVersion)
	case n.Type.Len() == 0:
		return n, misuse("--type: %q is not one of %s", n.Type, card.Join(card.KeyTypes()))
	case !slices.Contains(hsm.Uses(), n.Use):
		return n, misuse("--use: %q is not one of %s", n.Use, card.Join(hsm.Uses()))
	}
	return n, nil
}

func newKeyGenerate(a *app) *cobra.Command {
	var flags keyFlags
	cmd := &cobra.Command{
		Use:   "generate LABEL",
		Short: "Generate a master key inside the token",
		Long: `Generate a master key inside the token, from the token's own randomness. It can
never leave the token. A running server finds it at the first card that needs it.`,
		Example: `  latchkey key generate fleet --config /etc/latchkey/latchkey.yaml
  latchkey key generate fleet --key-version 2 --type aes256 --config latchkey.yaml`,
		Args: needs("LABEL"),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			n, err := flags.key(args[0])
			if err != nil {
				return err
			}
			return flags.with(cmd.Context(), func(t *hsm.Token) error {
				k, err := t.Generate(cmd.Context(), n)
				if err != nil {
					return err
				}
				return a.printKeys([]hsm.Key{k})
			})
		}),
	}
	flags.add(cmd)
	return cmd
}

func newKeyImport(a *app) *cobra.Command {
	var flags importFlags
	cmd := &cobra.Command{
		Use:   "import LABEL",
		Short: "Import a master key that exists elsewhere",
		Long: `Import a master key that exists elsewhere, as hex: typed on the terminal, where it
is not shown, or read from standard input or a file descriptor. There is no flag for
it, since other users can read a process's arguments.

On a terminal the key check values are shown by every convention, to be compared
with that of the key's origin before anything is kept. Elsewhere --kcv does that:
where no convention gives that value, nothing is imported.

The key has been outside a token, which the token remembers: where you can,
generate keys instead.`,
		Example: `  latchkey key import fleet --type tdes3 --config latchkey.yaml
  latchkey key import fleet --type tdes3 --kcv 08D7B4 --config latchkey.yaml --key-fd 3 3<key.hex`,
		Args: needs("LABEL"),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			n, err := flags.key(args[0])
			if err != nil {
				return err
			}
			if flags.fd < 0 || flags.fd == 1 || flags.fd == 2 {
				return misuse("--key-fd must be 3 or above")
			}
			// The token first: nobody types a key for one that is not there.
			return flags.with(cmd.Context(), func(t *hsm.Token) error { return a.importKey(cmd.Context(), t, n, flags) })
		}),
	}
	cmd.Flags().IntVar(&flags.fd, "key-fd", 0, "open file `descriptor` to read the key from instead of standard input")
	cmd.Flags().StringVar(&flags.kcv, "kcv", "", "key check `value` that the key must have, 6 hex digits")
	flags.add(cmd)
	return cmd
}

type importFlags struct {
	keyFlags
	fd  int
	kcv string
}

func (a *app) importKey(ctx context.Context, t *hsm.Token, n hsm.NewKey, flags importFlags) error {
	typed := flags.fd == 0 && term.IsTerminal(int(a.in.Fd()))
	value, err := a.readKey(ctx, typed, flags.fd, n.Type)
	if err != nil {
		return err
	}
	defer clear(value)
	values, err := checkValues(ctx, t, n.Type, value)
	if err != nil {
		return err
	}
	switch has := func(v hsm.KCV) bool { return strings.EqualFold(v.Value, flags.kcv) }; {
	case flags.kcv != "" && !slices.ContainsFunc(values, has):
		return decline("its key check value is not %s by any convention, but %s; nothing was imported", flags.kcv, joined(values))
	case flags.kcv == "" && typed:
		q := asker{bufio.NewReader(a.in), a.err}
		answer, err := q.ask(ctx, "Its key check value is "+joined(values)+".\nIs that the value of the key's origin? [y/N] ")
		if err != nil {
			return err
		}
		if !agrees(answer) {
			return decline("the key check value was not confirmed; nothing was imported")
		}
	}
	k, err := t.Import(ctx, n, value)
	if err != nil {
		return err
	}
	return a.printKeys([]hsm.Key{k})
}

// checkValues takes a key's check value by every convention that goes with it.
func checkValues(ctx context.Context, t *hsm.Token, kt card.KeyType, value []byte) ([]hsm.KCV, error) {
	conventions := hsm.Conventions(kt)
	values := make([]hsm.KCV, len(conventions))
	for i, c := range conventions {
		var err error
		if values[i], err = t.CheckValue(ctx, kt, value, c); err != nil {
			return nil, fmt.Errorf("take key check value: %w", err)
		}
	}
	return values, nil
}

// maxKeyText bounds a key's text in bytes: the longest key in hex, and room for
// separators.
const maxKeyText = 256

// readKey reads a key's bytes as hex. The caller wipes them.
func (a *app) readKey(ctx context.Context, typed bool, fd int, t card.KeyType) ([]byte, error) {
	var text []byte
	var err error
	switch {
	case typed:
		text, err = a.askHidden(ctx, fmt.Sprintf("Key, %d hex digits (not shown): ", 2*t.Len()))
	case fd == 0:
		text, err = io.ReadAll(io.LimitReader(a.in, maxKeyText))
	default:
		f := os.NewFile(uintptr(fd), "key descriptor")
		defer func() { _ = f.Close() }() // only read from
		text, err = io.ReadAll(io.LimitReader(f, maxKeyText))
	}
	defer clear(text)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	return parseKey(text, t)
}

// parseKey reads hex as people type it. Its errors show nothing of the text.
func parseKey(text []byte, t card.KeyType) ([]byte, error) {
	value := make([]byte, t.Len())
	err := card.ParseHex(value, text)
	var wrong *card.HexError
	switch {
	case err == nil:
		return value, nil
	case errors.As(err, &wrong) && wrong.Fault == card.HexLength:
		return nil, misuse("the key has %d hex digits; one of type %s has %d", wrong.Digits, t, wrong.Want)
	}
	return nil, misuse("the key is not hex: %w", err)
}

func newKeyList(a *app) *cobra.Command {
	var flags tokenFlags
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the token's secret keys, with what speaks against using them",
		Example: `  latchkey key list --config /etc/latchkey/latchkey.yaml`,
		Args:    needs(),
		RunE: a.do(func(cmd *cobra.Command, _ []string) error {
			return flags.with(cmd.Context(), func(t *hsm.Token) error {
				keys, err := t.Keys(cmd.Context())
				if err != nil {
					return err
				}
				return a.printKeys(keys)
			})
		}),
	}
	flags.add(cmd.Flags())
	return cmd
}

func (a *app) printKeys(keys []hsm.Key) error {
	return a.print(struct {
		Keys []hsm.Key `json:"keys"`
	}{append([]hsm.Key{}, keys...)}, func(w io.Writer) {
		_, _ = fmt.Fprintln(w, "LABEL\tVERSION\tTYPE\tUSE\tORIGIN\tKEY CHECK VALUE\tREMARK")
		for _, k := range keys {
			origin := "imported"
			if k.Local {
				origin = "generated"
			}
			_, _ = fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\n", k.Label, k.Version, k.Type, k.Use, origin,
				joined(k.KCV), cmp.Or(k.Fault, k.Weakness))
		}
	})
}

func joined[T fmt.Stringer](list []T) string {
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i] = v.String()
	}
	return strings.Join(texts, ", ")
}
