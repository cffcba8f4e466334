package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"latchkey/server/api"
)

func newOperator(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "operator", Short: "Register people, and say which roles they have", GroupID: groupClient,
		Args: cobra.NoArgs, RunE: a.group,
	}
	cmd.AddCommand(newOperatorPut(a), newOperatorGet(a), newOperatorList(a))
	return cmd
}

func newOperatorPut(a *app) *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "put FILE",
		Short: "Register a person, or replace the record, from a JSON file or - for standard input",
		Long: `Register a person, or replace what is registered, from a JSON file or from standard
input where FILE is -. What is registered outweighs the configuration and what the
person's tokens claim: roles that are not in it are not had. State inactive shuts a
person out, whatever he shows.

Nobody changes what is registered of himself. docs/authentication.md says more.`,
		Example: `  latchkey operator put anna.json
  echo '{"id":"anna","name":"Anna Lind","roles":["operator"],"state":"active"}' | latchkey operator put -`,
		Args: needs("FILE"),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			var o api.Operator
			if err := a.readJSON(args[0], &o); err != nil {
				return err
			}
			if o.ID == "" {
				return misuse("%s: id is missing", args[0])
			}
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				kept, created, err := c.PutOperator(cmd.Context(), o)
				if err != nil {
					return err
				}
				a.noteWritten("operator "+kept.ID, created)
				return a.printOperators(kept, kept)
			})
		}),
	}
	f.add(cmd)
	return cmd
}

func newOperatorGet(a *app) *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "get ID",
		Short: "Show what is registered of a person",
		Args:  needs("ID"),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				o, err := c.Operator(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return a.printOperators(o, o)
			})
		}),
	}
	f.add(cmd)
	return cmd
}

func newOperatorList(a *app) *cobra.Command {
	var f clientFlags
	var pages pageFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the people that are registered",
		Args:  needs(),
		RunE: a.do(func(cmd *cobra.Command, _ []string) error {
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				found, next, err := readPages(a, pages, func(limit int, after string) ([]api.Operator, string, error) {
					page, err := c.Operators(cmd.Context(), limit, after)
					return page.Operators, page.Next, err
				})
				if err != nil {
					return err
				}
				return a.printOperators(api.Operators{Operators: found, Next: next}, found...)
			})
		}),
	}
	f.add(cmd)
	pages.add(cmd, "people")
	return cmd
}

func (a *app) printOperators(v any, operators ...api.Operator) error {
	return a.print(v, func(w io.Writer) {
		_, _ = fmt.Fprintln(w, "ID\tNAME\tROLES\tUNIT\tSTATE\tCHANGED")
		for _, o := range operators {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s by %s\n", o.ID, o.Name, strings.Join(o.Roles, ", "), o.Unit, o.State,
				o.UpdatedAt.Local().Format(time.DateTime), o.UpdatedBy)
		}
	})
}
