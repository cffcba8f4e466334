package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"latchkey/dualcontrol"
	"latchkey/policy"
	"latchkey/rulebook"
	"latchkey/server/api"
)

// policyClient are the commands about the policies that a server decides by.
func policyClient(a *app) []*cobra.Command {
	return []*cobra.Command{
		newPolicyList(a), newPolicyVersion(a), newPolicyDiff(a), newPolicyDryRun(a),
		newPolicyPropose(a), newPolicyRollback(a), newPolicyProposals(a), newPolicyProposal(a),
		newPolicyApprove(a), newPolicyReject(a), newPolicyWithdraw(a),
	}
}

func newPolicyList(a *app) *cobra.Command {
	var f clientFlags
	var pages pageFlags
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the versions of the policies that a server has, and which it decides by",
		GroupID: groupClient,
		Args:    needs(),
		RunE: a.do(func(cmd *cobra.Command, _ []string) error {
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				active, err := c.ActivePolicy(cmd.Context())
				if err != nil {
					return err
				}
				versions, next, err := readPages(a, pages, func(limit int, after string) ([]api.PolicyVersion, string, error) {
					page, err := c.PolicyVersions(cmd.Context(), limit, after)
					return page.Versions, page.Next, err
				})
				if err != nil {
					return err
				}
				if active.Fault != nil {
					a.note("THE SERVER DECIDES BY OTHER POLICIES THAN IT OUGHT TO, since %s:\n%s\n", active.Fault.Since.Local().Format(time.DateTime), active.Fault.What)
				}
				if active.Source == string(rulebook.FromDirectory) {
					a.note("The server decides by the files in %s, fingerprint %s. None of these is active:\n", active.Directory, active.Fingerprint)
				}
				return a.print(api.PolicyVersions{Versions: versions, Next: next}, func(w io.Writer) {
					_, _ = fmt.Fprintln(w, "VERSION\tACTIVE\tSINCE\tFINGERPRINT\tPROPOSED BY\tAPPROVED BY\tNOTE")
					for _, v := range versions {
						now := active.Source != string(rulebook.FromDirectory) && v.Version == active.Version
						_, _ = fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", v.Version, yesNo(now), activatedAt(v), v.Fingerprint, v.Proposer, approvers(v.Approvals), noteOf(v))
					}
				})
			})
		}),
	}
	pages.add(cmd, "versions")
	f.add(cmd)
	return cmd
}

func activatedAt(v api.PolicyVersion) string {
	if v.ActivatedAt == nil {
		return "built in"
	}
	return v.ActivatedAt.Local().Format(time.DateTime)
}

func approvers(list []api.Approval) string {
	names := make([]string, len(list))
	for i, yes := range list {
		names[i] = yes.Officer
	}
	return strings.Join(names, ", ")
}

func noteOf(v api.PolicyVersion) string {
	if v.Restores == nil {
		return v.Note
	}
	return strings.TrimSpace(fmt.Sprintf("(version %d again) %s", *v.Restores, v.Note))
}

func newPolicyVersion(a *app) *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "version [N]",
		Short: "Show the policies that a server decides by, or a version of them",
		Long: `Show the policies that a server decides by or, with N, that version of them; 0 is
what is built in. The text is that of all files, each under its name.`,
		GroupID: groupClient,
		Args:    cobra.MaximumNArgs(1),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				if len(args) == 0 {
					active, err := c.ActivePolicy(cmd.Context())
					if err != nil {
						return err
					}
					return a.print(active, func(w io.Writer) { writeTexts(w, active.Policies) })
				}
				number, err := policyNumber(args[0])
				if err != nil {
					return err
				}
				v, err := c.PolicyVersion(cmd.Context(), number)
				if err != nil {
					return err
				}
				return a.print(v, func(w io.Writer) { writeTexts(w, v.Policies) })
			})
		}),
	}
	f.add(cmd)
	return cmd
}

func policyNumber(text string) (int, error) {
	number, err := strconv.Atoi(text)
	if err != nil || number < 0 {
		return 0, misuse("the version %q is not a number from 0", text)
	}
	return number, nil
}

// writeTexts writes files one after the other, as nothing but text: escapes that
// move a terminal's cursor could show something else than what is there.
func writeTexts(w io.Writer, texts []api.PolicyText) {
	for _, t := range texts {
		_, _ = fmt.Fprintf(w, "// %s\n%s\n", t.Name, visible(t.Text))
	}
}

// visible puts a mark in the place of every character that a terminal does not show
// as it is.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		if rulebook.Visible(r) {
			return r
		}
		return '\uFFFD'
	}, text)
}

func newPolicyDiff(a *app) *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "diff FROM [TO]",
		Short: "Show what changed between two versions of the policies",
		Long: `Show as a unified diff what changed from one version of the policies to another, or
to what the server decides by where no other is named.`,
		Example: `  latchkey policy diff 3
  latchkey policy diff 0 4`,
		GroupID: groupClient,
		Args:    cobra.RangeArgs(1, 2),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			var numbers []int
			for _, text := range args {
				number, err := policyNumber(text)
				if err != nil {
					return err
				}
				numbers = append(numbers, number)
			}
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				if len(numbers) == 1 {
					active, err := c.ActivePolicy(cmd.Context())
					if err != nil {
						return err
					}
					from, err := c.PolicyVersion(cmd.Context(), numbers[0])
					if err != nil {
						return err
					}
					d := api.PolicyDiff{From: fmt.Sprintf("version %d", from.Version), To: "active"}
					d.Diff = rulebook.Diff(sourcesOf(from.Policies), sourcesOf(active.Policies), d.From, d.To)
					return a.printDiff(d)
				}
				d, err := c.PolicyDiff(cmd.Context(), numbers[0], numbers[1])
				if err != nil {
					return err
				}
				return a.printDiff(d)
			})
		}),
	}
	f.add(cmd)
	return cmd
}

func (a *app) printDiff(d api.PolicyDiff) error {
	if d.Diff == "" {
		a.note("%s and %s are the same.", d.From, d.To)
	}
	return a.print(d, func(w io.Writer) { _, _ = io.WriteString(w, visible(d.Diff)) })
}

func sourcesOf(texts []api.PolicyText) []policy.Source {
	list := make([]policy.Source, len(texts))
	for i, t := range texts {
		list[i] = policy.Source(t)
	}
	return list
}

// textsIn reads a folder's policies, and finds their faults here and now.
func textsIn(folder string) ([]api.PolicyText, error) {
	sources, err := policy.ReadDir(folder)
	if err == nil {
		_, err = policy.Load(sources)
	}
	if err != nil {
		return nil, policyFaults(err)
	}
	if faults := rulebook.TextFaults(sources); len(faults) != 0 {
		return nil, misuse("%s: %v", folder, faults[0])
	}
	texts := make([]api.PolicyText, len(sources))
	for i, s := range sources {
		texts[i] = api.PolicyText(s)
	}
	return texts, nil
}

func newPolicyDryRun(a *app) *cobra.Command {
	var f clientFlags
	var folder string
	var last int
	cmd := &cobra.Command{
		Use:   "dry-run --policies DIR",
		Short: "Try policies on the last decisions that a server made",
		Long: `Try the policies of a folder on the last decisions that a server really made, and
list those that would have gone another way. Nothing is changed. How many decisions a
server keeps is policy.keep_decisions in its configuration.`,
		Example: `  latchkey policy dry-run --policies policies
  latchkey policy dry-run --policies policies --last 10000 --json`,
		GroupID: groupClient,
		Args:    needs(),
		RunE: a.do(func(cmd *cobra.Command, _ []string) error {
			if folder == "" {
				return misuse("say which policies: --policies DIR")
			}
			texts, err := textsIn(folder)
			if err != nil {
				return err
			}
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				run, err := c.DryRun(cmd.Context(), api.TryPolicies{Policies: texts, Last: last})
				if err != nil {
					return err
				}
				return a.print(run, func(w io.Writer) { writeDryRun(w, run) })
			})
		}),
	}
	cmd.Flags().StringVar(&folder, "policies", "", "`folder` of *.cedar files to try")
	cmd.Flags().IntVar(&last, "last", 1000, "on how many of the last `decisions`, 1 to 100000")
	f.add(cmd)
	return cmd
}

func writeDryRun(w io.Writer, run api.DryRun) {
	_, _ = fmt.Fprintf(w, "%d decisions: would have denied %d, would have permitted %d, would have asked for approval %d",
		run.Decisions, run.Denied, run.Permitted, run.Asked)
	if run.Failed != 0 {
		_, _ = fmt.Fprintf(w, ", could not have decided %d", run.Failed)
	}
	_, _ = fmt.Fprintln(w)
	if len(run.Differences) == 0 {
		return
	}
	_, _ = fmt.Fprintln(w, "\nTIME\tCARD\tOPERATOR\tPROCESS\tBEFORE\tBY\tAFTER\tBY")
	for _, d := range run.Differences {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.Time.Local().Format(time.DateTime), d.Card, d.Operator, cmp.Or(d.Process, d.RequestID),
			outcomeText(d.Before), strings.Join(d.Before.Policies, ", "), outcomeText(d.After), strings.Join(d.After.Policies, ", "))
	}
	if run.LeftOff != 0 {
		_, _ = fmt.Fprintf(w, "\n%d more are not listed.\n", run.LeftOff)
	}
}

func outcomeText(o api.PolicyOutcome) string {
	if o.Approval != "" {
		return o.Outcome + " of a " + o.Approval
	}
	return o.Outcome
}

func newPolicyPropose(a *app) *cobra.Command {
	var f clientFlags
	var note string
	cmd := &cobra.Command{
		Use:   "propose DIR",
		Short: "Propose the policies of a folder in place of those that a server decides by",
		Long: `Propose the *.cedar files of a folder in place of the policies that a server decides
by, for other officers to approve. The folder holds the whole set: what is not in it
does not hold any more. latchkey policy dry-run tells beforehand what would have been
decided otherwise.`,
		Example: `  latchkey policy propose policies --note "out-of-hours needs a supervisor"`,
		GroupID: groupClient,
		Args:    needs("DIR"),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			texts, err := textsIn(args[0])
			if err != nil {
				return err
			}
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				return a.proposePolicies(cmd.Context(), c, api.ProposePolicies{Policies: texts, Note: note})
			})
		}),
	}
	cmd.Flags().StringVar(&note, "note", "", "`why`, for the other officers and the audit log")
	f.add(cmd)
	return cmd
}

func newPolicyRollback(a *app) *cobra.Command {
	var f clientFlags
	var note string
	cmd := &cobra.Command{
		Use:   "rollback N",
		Short: "Propose an older version of the policies again",
		Long: `Propose the policies of an older version again; 0 is what is built in. Other officers
have to approve it as they have to approve everything else, and it becomes a new
version.`,
		Example: `  latchkey policy rollback 3 --note "version 4 locked the night shift out"`,
		GroupID: groupClient,
		Args:    needs("N"),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			number, err := policyNumber(args[0])
			if err != nil {
				return err
			}
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				return a.proposePolicies(cmd.Context(), c, api.ProposePolicies{Restores: &number, Note: note})
			})
		}),
	}
	cmd.Flags().StringVar(&note, "note", "", "`why`, for the other officers and the audit log")
	f.add(cmd)
	return cmd
}

func (a *app) proposePolicies(ctx context.Context, c *api.Client, body api.ProposePolicies) error {
	p, err := c.ProposePolicies(ctx, body)
	if err != nil {
		return err
	}
	a.note("Another officer has to approve it: latchkey policy approve %s", p.ID)
	return a.printPolicyProposal(p)
}

func newPolicyProposals(a *app) *cobra.Command {
	var f clientFlags
	var state string
	var pages pageFlags
	cmd := &cobra.Command{
		Use:     "proposals",
		Short:   "List proposals of policies, the newest first",
		GroupID: groupClient,
		Example: `  latchkey policy proposals --state open`,
		Args:    needs(),
		RunE: a.do(func(cmd *cobra.Command, _ []string) error {
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				proposals, next, err := readPages(a, pages, func(limit int, after string) ([]api.PolicyProposal, string, error) {
					page, err := c.PolicyProposals(cmd.Context(), state, limit, after)
					return page.Proposals, page.Next, err
				})
				if err != nil {
					return err
				}
				return a.print(api.PolicyProposals{Proposals: proposals, Next: next}, func(w io.Writer) {
					_, _ = fmt.Fprintln(w, "ID\tSTATE\tBASE\tPROPOSER\tAPPROVALS\tEXPIRES\tNOTE")
					for _, p := range proposals {
						_, _ = fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%d of %d\t%s\t%s\n", p.ID, p.State, p.Base, p.Proposer,
							len(p.Approvals), p.Wanted, p.ExpiresAt.Local().Format(time.DateTime), p.Note)
					}
				})
			})
		}),
	}
	cmd.Flags().StringVar(&state, "state", "", "only those in this `state`: open, executed, failed, rejected, withdrawn or expired")
	pages.add(cmd, "proposals")
	f.add(cmd)
	return cmd
}

func newPolicyProposal(a *app) *cobra.Command {
	var f clientFlags
	var texts bool
	cmd := &cobra.Command{
		Use:     "proposal ID",
		Short:   "Show a proposal of policies, and what it changes",
		GroupID: groupClient,
		Args:    needs("ID"),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				p, err := c.PolicyProposal(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				s, err := statementIn(p.Proposal, rulebook.ParseStatement)
				if err != nil {
					return err
				}
				if texts {
					return a.print(s, func(w io.Writer) { writeTexts(w, apiTexts(s.Policies)) })
				}
				diff, err := diffOf(cmd.Context(), c, s)
				if err != nil {
					return err
				}
				if err := a.printPolicyProposal(p); err != nil || a.json {
					return err
				}
				_, err = fmt.Fprintf(a.out, "\n%s", visible(diff))
				return err
			})
		}),
	}
	cmd.Flags().BoolVar(&texts, "texts", false, "show all of its texts in place of what changes")
	f.add(cmd)
	return cmd
}

func apiTexts(sources []policy.Source) []api.PolicyText {
	texts := make([]api.PolicyText, len(sources))
	for i, s := range sources {
		texts[i] = api.PolicyText(s)
	}
	return texts
}

// diffOf tells what a statement changes in the version that it takes the place of.
func diffOf(ctx context.Context, c *api.Client, s rulebook.Statement) (string, error) {
	base, err := c.PolicyVersion(ctx, s.Base)
	if err != nil {
		return "", err
	}
	return rulebook.Diff(sourcesOf(base.Policies), s.Policies, fmt.Sprintf("version %d", s.Base), "proposal"), nil
}

func newPolicyApprove(a *app) *cobra.Command {
	var f clientFlags
	var hash string
	cmd := &cobra.Command{
		Use:     "approve ID",
		Short:   "Approve policies that another officer proposed",
		GroupID: groupClient,
		Long: `Approve policies that another officer proposed. With the last approval that is wanted
they decide at once, and on other nodes within seconds.

On a terminal it shows what changes, with the hash of all of it, and asks. Elsewhere
--hash has to name the hash of what was seen. The hash is computed here from the texts
that are shown: a server cannot show one thing and have another approved. What they
are compared with is the server's word; latchkey policy proposal ID --texts shows all
of what is approved.

The exit code is 3 where the policies could not be made active.`,
		Example: `  latchkey policy approve 5b0c1c1e-6f0e-4a57-9b0e-6a2e0f8f2c11`,
		Args:    needs("ID"),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			if hash == "" && !a.interactive() {
				return misuse("say what you approve: --hash; without it this needs a terminal and no --json")
			}
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				return a.approvePolicies(cmd.Context(), c, args[0], hash)
			})
		}),
	}
	cmd.Flags().StringVar(&hash, "hash", "", "`hash` of the proposal that you have seen")
	f.add(cmd)
	return cmd
}

func (a *app) approvePolicies(ctx context.Context, c *api.Client, id, hash string) error {
	p, err := c.PolicyProposal(ctx, id)
	if err != nil {
		return err
	}
	s, err := statementIn(p.Proposal, rulebook.ParseStatement)
	if err != nil {
		return err
	}
	// The server says that the policies have that fingerprint; here it is seen.
	engine, err := policy.Load(s.Policies)
	switch {
	case err != nil:
		return fmt.Errorf("the proposed policies have faults: %w", err)
	case engine.Version() != s.Fingerprint:
		return errors.New("the proposed policies have another fingerprint than is said; approve nothing there")
	}
	diff, err := diffOf(ctx, c, s)
	if err != nil {
		return err
	}
	if err := a.agreed(ctx, hash, p.Hash, func() {
		a.note("%s\n%s\n\nnote     %s\nproposed by %s at %s\nhash     %s\n", visible(diff), s.Words(), cmp.Or(s.Note, "none given"),
			s.Proposer, s.CreatedAt.Local().Format(time.DateTime), p.Hash)
	}); err != nil {
		return err
	}
	if p, err = c.ApprovePolicyProposal(ctx, id, p.Hash); err != nil {
		return err
	}
	if err := a.printPolicyProposal(p); err != nil {
		return err
	}
	if p.State == string(dualcontrol.Failed) {
		return exitWith(exitRefused)
	}
	return nil
}

func newPolicyReject(a *app) *cobra.Command {
	var f clientFlags
	var reason string
	cmd := &cobra.Command{
		Use:     "reject ID",
		Short:   "Reject a proposal of policies, which ends it",
		GroupID: groupClient,
		Args:    needs("ID"),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				p, err := c.RejectPolicyProposal(cmd.Context(), args[0], reason)
				if err != nil {
					return err
				}
				return a.printPolicyProposal(p)
			})
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "`why`, for its proposer and the audit log")
	f.add(cmd)
	return cmd
}

func newPolicyWithdraw(a *app) *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:     "withdraw ID",
		Short:   "Withdraw a proposal of policies of your own",
		GroupID: groupClient,
		Args:    needs("ID"),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				p, err := c.WithdrawPolicyProposal(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return a.printPolicyProposal(p)
			})
		}),
	}
	f.add(cmd)
	return cmd
}

func (a *app) printPolicyProposal(p api.PolicyProposal) error {
	return a.print(p, func(w io.Writer) {
		writeProposal(w, p.Proposal, p.Note)
		closed := []string{string(dualcontrol.Executed), string(dualcontrol.Failed)}
		if !slices.Contains(closed, p.State) {
			field(w, "approvals", "%d of %d", len(p.Approvals), p.Wanted)
		}
		if p.Error != "" {
			field(w, "error", "%s", p.Error)
		}
	})
}
