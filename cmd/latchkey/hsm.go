package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"latchkey/hsm"
)

func newHSM(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "hsm", Short: "Look at the HSM", GroupID: groupToken,
		Args: cobra.NoArgs, RunE: a.group,
	}
	cmd.AddCommand(newHSMInfo(a))
	return cmd
}

// hsmInfo is what `hsm info` finds out. Without a PIN it is the module and its
// tokens; with one also what the token can do.
type hsmInfo struct {
	Module  hsm.ModuleInfo      `json:"module"`
	Tokens  []hsm.TokenInfo     `json:"tokens"`
	Schemes []hsm.SchemeSupport `json:"schemes,omitempty"`
	Keys    []hsm.Key           `json:"keys,omitempty"`
}

func newHSMInfo(a *app) *cobra.Command {
	var flags tokenFlags
	cmd := &cobra.Command{
		Use:   "info",
		Short: "Show the PKCS#11 module, its tokens, and what one token can do",
		Long: `Show the PKCS#11 module and its tokens. Where a token and the place of its PIN are
named too, log in, once, and show which schemes the token can carry out by its own
list of mechanisms, and which master keys it holds. Not all tokens do just what they
list: latchkey doctor tries it.`,
		Example: `  latchkey hsm info --module /usr/lib/softhsm/libsofthsm2.so
  latchkey hsm info --config /etc/latchkey/latchkey.yaml
  latchkey hsm info --module M --token-label fleet --pin-file /etc/latchkey/pin`,
		Args: needs(),
		RunE: a.do(func(cmd *cobra.Command, _ []string) error {
			info, err := flags.info(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(info, info.write)
		}),
	}
	flags.add(cmd.Flags())
	return cmd
}

// info looks into the module and, where there is a PIN for it, into the token.
func (f *tokenFlags) info(ctx context.Context) (*hsmInfo, error) {
	from, err := f.source()
	if err != nil {
		return nil, err
	}
	look := from.Token != (hsm.Selector{}) || from.PIN != (hsm.PINSource{})
	if look {
		if from, err = f.complete(); err != nil {
			return nil, err
		}
	}
	var info hsmInfo
	return &info, withModule(from.Module, func(m *hsm.Module) error {
		if info.Module, err = m.Info(ctx); err != nil {
			return err
		}
		if !look {
			info.Tokens, err = m.Tokens(ctx)
			return err
		}
		return withToken(ctx, m, from, func(t *hsm.Token) error {
			info.Tokens = []hsm.TokenInfo{t.Info()}
			if info.Schemes, err = t.Schemes(ctx); err != nil {
				return err
			}
			info.Keys, err = t.Keys(ctx)
			return err
		})
	})
}

func (i *hsmInfo) write(w io.Writer) {
	field(w, "module", "%s", i.Module.Path)
	field(w, "", "%s, %s %s, Cryptoki %s", i.Module.Manufacturer, i.Module.Description, i.Module.Version, i.Module.Cryptoki)
	if len(i.Tokens) == 0 {
		field(w, "tokens", "none that is initialised")
	}
	for _, t := range i.Tokens {
		field(w, "token", "%s (serial %s, slot %d)", t.Label, t.Serial, t.Slot)
		field(w, "", "%s %s, hardware %s, firmware %s", t.Manufacturer, t.Model, t.Hardware, t.Firmware)
		if t.PIN != "" {
			field(w, "", "PIN: %s", t.PIN)
		}
	}
	for _, s := range i.Schemes {
		can := "yes"
		if !s.Supported {
			can = "no: " + s.Reason
		}
		field(w, "scheme", "%s: %s", s.Scheme, can)
	}
	for _, k := range i.Keys {
		field(w, "key", "%s version %d, %s", k.Label, k.Version, fitness(k))
	}
}

// fitness is a key's type and use, or why it is not used.
func fitness(k hsm.Key) string {
	if k.Fault != "" {
		return "UNFIT: " + k.Fault
	}
	return fmt.Sprintf("%s, to %s", k.Type, k.Use)
}
