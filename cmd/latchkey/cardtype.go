package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"latchkey/card"
	"latchkey/server/api"
)

func newCardType(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "card-type", Short: "Register card types, and switch unblocking on and off", GroupID: groupClient,
		Args: cobra.NoArgs, RunE: a.group,
	}
	cmd.AddCommand(newCardTypePut(a), newCardTypeGet(a), newCardTypeList(a), newSwitch(a, true), newSwitch(a, false))
	return cmd
}

func newCardTypePut(a *app) *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "put FILE",
		Short: "Register a card type, or replace its data, from a JSON file or - for standard input",
		Long: `Register a card type, or replace its data, from a JSON file or from standard input
where FILE is -. Unblock card remote is off in every card state that unblock_remote
does not switch on, and Unblock PIN offline, by which holders unblock their own cards,
in every one that unblock_self does not.`,
		Example: `  latchkey card-type put employee.json
  echo '{"id":"employee","name":"Employee card","profile":"gids","unblock_remote":{}}' | latchkey card-type put -`,
		Args: needs("FILE"),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			var t api.CardType
			if err := a.readJSON(args[0], &t); err != nil {
				return err
			}
			if t.ID == "" {
				return misuse("%s: id is missing", args[0])
			}
			if t.UnblockRemote == nil {
				t.UnblockRemote = map[string]bool{}
			}
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				kept, created, err := c.PutCardType(cmd.Context(), t)
				if err != nil {
					return err
				}
				a.noteWritten("card type "+kept.ID, created)
				return a.printTypes(kept, kept)
			})
		}),
	}
	f.add(cmd)
	return cmd
}

func newCardTypeGet(a *app) *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "get ID",
		Short: "Show a card type",
		Args:  needs("ID"),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				t, err := c.CardType(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return a.printTypes(t, t)
			})
		}),
	}
	f.add(cmd)
	return cmd
}

func newCardTypeList(a *app) *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the card types",
		Args:  needs(),
		RunE: a.do(func(cmd *cobra.Command, _ []string) error {
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				all, err := c.CardTypes(cmd.Context())
				if err != nil {
					return err
				}
				return a.printTypes(all, all.CardTypes...)
			})
		}),
	}
	f.add(cmd)
	return cmd
}

func newSwitch(a *app, on bool) *cobra.Command {
	verb, word := "disable", "off"
	if on {
		verb, word = "enable", "on"
	}
	var f clientFlags
	var states []string
	var self bool
	cmd := &cobra.Command{
		Use:   verb + " ID --state STATE...",
		Short: "Switch Unblock card remote " + word + " for a card type in some card states",
		Long: `Switch Unblock card remote ` + word + ` for a card type in some card states, or with
--self Unblock PIN offline, by which holders unblock their own cards.`,
		Example: fmt.Sprintf(`  latchkey card-type %[1]s employee --state blocked
  latchkey card-type %[1]s employee --state active --state blocked
  latchkey card-type %[1]s employee --state blocked --self`, verb),
		Args: needs("ID"),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				t, err := c.CardType(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				switches := &t.UnblockRemote
				if self {
					switches = &t.UnblockSelf
				}
				if *switches == nil {
					*switches = map[string]bool{}
				}
				for _, state := range states {
					(*switches)[state] = on
				}
				if t, _, err = c.PutCardType(cmd.Context(), t); err != nil {
					return err
				}
				return a.printTypes(t, t)
			})
		}),
	}
	cmd.Flags().StringSliceVar(&states, "state", nil, "card `state`; may be given more than once")
	cmd.Flags().BoolVar(&self, "self", false, "switch Unblock PIN offline, the holders' own, and not Unblock card remote")
	if err := cmd.MarkFlagRequired("state"); err != nil {
		panic(err) // the flag is defined above
	}
	f.add(cmd)
	return cmd
}

// printTypes prints card types, as a table where not as v's JSON.
func (a *app) printTypes(v any, types ...api.CardType) error {
	return a.print(v, func(w io.Writer) {
		_, _ = fmt.Fprintln(w, "ID\tNAME\tPROFILE\tUNBLOCK CARD REMOTE\tUNBLOCK PIN OFFLINE\tCHANGED")
		for _, t := range types {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s by %s\n", t.ID, t.Name, t.Profile,
				onWhen(t.UnblockRemote), onWhen(t.UnblockSelf), t.UpdatedAt.Local().Format(time.DateTime), t.UpdatedBy)
		}
	})
}

// onWhen says for which card states a switch is on.
func onWhen(switches map[string]bool) string {
	on := card.On(switches)
	if len(on) == 0 {
		return "off"
	}
	return "on when " + strings.Join(on, " or ")
}
