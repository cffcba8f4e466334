package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"latchkey/policy"
	"latchkey/policy/cases"
)

func newPolicy(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "policy", Short: "Show, check, try out and change operator policies", GroupID: groupServer,
		Args: cobra.NoArgs, RunE: a.group,
	}
	cmd.AddGroup(
		&cobra.Group{ID: groupServer, Title: "On files"},
		&cobra.Group{ID: groupClient, Title: "Server clients"},
	)
	for _, c := range []*cobra.Command{newPolicyShow(a), newPolicyCheck(a), newPolicyTest(a)} {
		c.GroupID = groupServer
		cmd.AddCommand(c)
	}
	cmd.AddCommand(policyClient(a)...)
	return cmd
}

func newPolicyShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show [NAME]",
		Short: "List what policies are shipped, or print some of them to copy",
		Long: `List what is shipped: the built-in policies, the library of policies that hold only
where they are copied into a folder, and the schema of what policies can ask for. With
a NAME, print that text.`,
		Example: `  latchkey policy show
  latchkey policy show default > policies/default.cedar
  latchkey policy show out-of-hours > policies/out-of-hours.cedar`,
		Args: cobra.MaximumNArgs(1),
		RunE: a.do(func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				text, err := policy.Find(args[0])
				if err != nil {
					return misuse("%w; latchkey policy show lists what there is", err)
				}
				return a.print(text, func(w io.Writer) { _, _ = fmt.Fprint(w, text.Text) })
			}
			list, err := policy.Shipped()
			if err != nil {
				return err
			}
			return a.print(list, func(w io.Writer) {
				for _, text := range list {
					field(w, text.Name, "%s", firstSentence(text.About))
				}
			})
		}),
	}
}

func firstSentence(s string) string {
	before, _, _ := strings.Cut(s, ". ")
	return strings.TrimSuffix(before, ".") + "."
}

// policyCheck is what `policy check` finds.
type policyCheck struct {
	Version  string          `json:"version,omitempty"`
	Policies []policy.Policy `json:"policies,omitempty"`
	Faults   policy.Faults   `json:"faults,omitempty"`
}

func newPolicyCheck(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "check DIR",
		Short: "Check the policies of a folder, and list every fault with its line and column",
		Long: `Check the *.cedar files of a folder as the server does when it loads them. Every fault
is a line FILE:LINE:COLUMN: WHAT. Where there is none, the policies are listed.`,
		Example: `  latchkey policy check policies`,
		Args:    needs("DIR"),
		RunE: a.do(func(_ *cobra.Command, args []string) error {
			engine, err := policy.LoadDir(args[0])
			var check policyCheck
			switch {
			case errors.As(err, &check.Faults):
				if err := a.print(check, func(w io.Writer) { _, _ = fmt.Fprintln(w, check.Faults.Error()) }); err != nil {
					return err
				}
				return exitWith(exitFailed)
			case err != nil:
				return err
			}
			check = policyCheck{Version: engine.Version(), Policies: engine.Policies()}
			return a.print(check, func(w io.Writer) {
				for _, p := range check.Policies {
					effect := "permit"
					if !p.Permits {
						effect = "forbid"
					}
					field(w, p.ID, "%s\t%s\t%s:%d", effect, strings.Join(p.Actions, ", "), p.File, p.Line)
				}
				field(w, "\nversion", "%s", check.Version)
			})
		}),
	}
}

// policyTest is what `policy test` finds.
type policyTest struct {
	Version string          `json:"version"`
	Passed  int             `json:"passed"`
	Failed  int             `json:"failed"`
	Cases   []cases.Outcome `json:"cases"`
	// Untried are the policies that decided none of the cases.
	Untried []string `json:"untried,omitempty"`
}

func newPolicyTest(a *app) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "test CASES.yaml...",
		Short: "Try policies out on cases that are written down, with what is expected of each",
		Long: `Try policies out on requests that are written down in a file, each with what is
expected: allow, deny, or an approval. No server and no token is asked. The policies
are those of a folder, or without --policies the built-in ones. docs/policies.md shows
how cases are written.

Exit code 0 says that every case came out as expected, 1 that one did not.`,
		Example: `  latchkey policy test cases.yaml --policies policies`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return needs("CASES.yaml")(cmd, args)
			}
			return nil
		},
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			load := policy.Default
			if dir != "" {
				load = func() (*policy.Engine, error) { return policy.LoadDir(dir) }
			}
			engine, err := load()
			if err != nil {
				return policyFaults(err)
			}
			found := policyTest{Version: engine.Version()}
			for _, path := range args {
				suite, err := cases.Load(path)
				if err != nil {
					return err
				}
				outcomes, err := suite.Run(cmd.Context(), engine)
				if err != nil {
					return err
				}
				found.Cases = append(found.Cases, outcomes...)
			}
			for _, o := range found.Cases {
				if o.Wrong == "" {
					found.Passed++
				} else {
					found.Failed++
				}
			}
			found.Untried = cases.Untried(engine, found.Cases)
			if err := a.print(found, found.write); err != nil {
				return err
			}
			if found.Failed != 0 {
				return exitWith(exitFailed)
			}
			return nil
		}),
	}
	cmd.Flags().StringVar(&dir, "policies", "", "`folder` of *.cedar files; by default the built-in policies")
	return cmd
}

// policyFaults says that a folder of policies has faults, which is wrong use where
// something else was to be done with them.
func policyFaults(err error) error {
	var faults policy.Faults
	if errors.As(err, &faults) {
		return misuse("the policies have faults:\n%w", err)
	}
	return err
}

func (t policyTest) write(w io.Writer) {
	for _, o := range t.Cases {
		if o.Wrong == "" {
			field(w, "ok", "%s", o.Name)
			continue
		}
		field(w, "FAILED", "%s", o.Name)
		field(w, "", "%s:%d: %s", o.File, o.Line, o.Wrong)
		if o.Why != "" {
			field(w, "", "said: %s", o.Why)
		}
	}
	_, _ = fmt.Fprintf(w, "\n%d passed, %d failed, policy version %s\n", t.Passed, t.Failed, t.Version)
	if len(t.Untried) != 0 {
		_, _ = fmt.Fprintf(w, "decided by no case: %s\n", strings.Join(t.Untried, ", "))
	}
}
