package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"latchkey/card"
	"latchkey/custody"
	"latchkey/dualcontrol"
	"latchkey/hsm"
	"latchkey/server/api"
)

// custodyCommands are the officers' part of the key commands: they call the
// server, and all but suspending takes more than one officer.
func custodyCommands(a *app) []*cobra.Command {
	return []*cobra.Command{
		newKeyInventory(a), newKeyPlan(a), newKeyAffected(a),
		newKeyPropose(a), newKeyProposals(a), newKeyProposal(a),
		newKeyApprove(a), newKeyReject(a), newKeyWithdraw(a), newKeyTransport(a),
	}
}

func newKeyInventory(a *app) *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:     "inventory",
		Short:   "List the master keys with their states, how well they are kept and how many cards are on each",
		GroupID: groupClient,
		Args:    needs(),
		RunE: a.do(func(cmd *cobra.Command, _ []string) error {
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				keys, err := c.Keys(cmd.Context())
				if err != nil {
					return err
				}
				return a.print(keys, func(w io.Writer) {
					_, _ = fmt.Fprintln(w, "KEY\tVERSION\tSTATE\tNEW CARDS\tCARDS\tTYPE\tUSE\tKEY CHECK VALUE\tGRADE\tREMARKS")
					for _, k := range keys.Keys {
						_, _ = fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", k.Label, k.Version, stateOf(k), yesNo(k.Current), k.Cards,
							k.Type, k.Use, kcvText(k.KCV), k.Grade, strings.Join(k.Remarks, "; "))
					}
				})
			})
		}),
	}
	f.add(cmd)
	return cmd
}

func stateOf(k api.Key) string {
	if !k.Registered {
		return k.State + " (not registered)"
	}
	return k.State
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

func kcvText(list []api.KCV) string {
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i] = v.Value + " (" + v.Convention + ")"
	}
	return strings.Join(texts, ", ")
}

func newKeyPlan(a *app) *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:     "plan KEY",
		Short:   "Show how many cards are left on each version of a master key",
		GroupID: groupClient,
		Args:    needs("KEY"),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				plan, err := c.KeyPlan(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				a.note("%d cards are left on versions that new cards do not get.", plan.Left)
				return a.print(plan, func(w io.Writer) {
					_, _ = fmt.Fprintln(w, "VERSION\tSTATE\tNEW CARDS\tCARDS\tBY TYPE")
					for _, v := range plan.Versions {
						var types []string
						for kind, n := range v.ByType {
							types = append(types, fmt.Sprintf("%s %d", kind, n))
						}
						slices.Sort(types)
						_, _ = fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%s\n", v.Version, v.State, yesNo(v.Current), v.Cards, strings.Join(types, ", "))
					}
				})
			})
		}),
	}
	f.add(cmd)
	return cmd
}

func newKeyAffected(a *app) *cobra.Command {
	var f clientFlags
	var pages pageFlags
	cmd := &cobra.Command{
		Use:     "affected KEY VERSION",
		Short:   "List the cards whose admin key comes from a master key version",
		GroupID: groupClient,
		Example: `  latchkey key affected fleet 1
  latchkey key affected fleet 1 --all --json`,
		Args: needs("KEY", "VERSION"),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			version, err := strconv.Atoi(args[1])
			if err != nil {
				return misuse("the version %q is not a number", args[1])
			}
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				cards, next, err := readPages(a, pages, func(limit int, after string) ([]api.Card, string, error) {
					page, err := c.AffectedCards(cmd.Context(), args[0], version, limit, after)
					return page.Cards, page.Next, err
				})
				if err != nil {
					return err
				}
				return a.print(api.Cards{Cards: cards, Next: next}, func(w io.Writer) {
					_, _ = fmt.Fprintln(w, "SERIAL\tTYPE\tSTATE\tHOLDER\tUNIT")
					for _, c := range cards {
						_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", c.Serial, c.Type, c.State, c.Holder.Name, c.Holder.Unit)
					}
				})
			})
		}),
	}
	pages.add(cmd, "cards")
	f.add(cmd)
	return cmd
}

// proposeFlags are an act's parameters.
type proposeFlags struct {
	clientFlags
	parameters         api.KeyParameters
	wrapped, backupKey string // files
}

func newKeyPropose(a *app) *cobra.Command {
	var f proposeFlags
	cmd := &cobra.Command{
		Use:     "propose ACT KEY",
		Short:   "Propose an act on a master key, for other officers to approve",
		GroupID: groupClient,
		Long: `Propose an act on a master key, for other officers to approve. The acts:

    generate              make a key from the token's own randomness
    generate-with-backup  the same, given out wrapped for another token (--backup-key)
    import-wrapped        a key wrapped under the token's transport key (--wrapped)
    import-under          a key wrapped under a wrapping key (--wrapped, --under ...)
    activate              let a key that was made be used
    suspend               stop a key; done at once, by one officer
    resume                let a suspended key be used again
    deactivate            no new cards; it goes on answering for its own
    mark-compromised      stop a key for good; its cards have to be issued anew
    destroy               remove a key from the token, for ever
    make-current          have new cards get this version

docs/key-lifecycle.md says which act a key takes in which state.`,
		Example: `  latchkey key propose generate fleet --key-version 2 --reason "yearly rotation"
  latchkey key propose import-wrapped fleet --key-version 2 --type aes256 --wrapped fleet.bin --kcv 1F3A8F
  latchkey key propose suspend fleet --key-version 1`,
		Args: needs("ACT", "KEY"),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			act := custody.Act(args[0])
			if !slices.Contains(custody.Acts(), act) {
				return misuse("%q is no act; there are %s", args[0], card.Join(custody.Acts()))
			}
			body, err := f.body(act, args[1])
			if err != nil {
				return err
			}
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				p, err := c.ProposeKeyAct(cmd.Context(), body)
				if err != nil {
					return err
				}
				if p.State == string(dualcontrol.Open) {
					a.note("Another officer has to approve it: latchkey key approve %s", p.ID)
				}
				return a.printProposal(p)
			})
		}),
	}
	flags, p := cmd.Flags(), &f.parameters
	flags.IntVar(&p.Version, "key-version", 1, "`version` of the key, 1 to 9999")
	flags.StringVar(&p.Reason, "reason", "", "`why`, for the other officers and the audit log")
	flags.StringVar(&p.Type, "type", string(card.AES256), "key `type`: tdes2, tdes3, aes128, aes192 or aes256, of a key that is made")
	flags.StringVar(&p.Use, "use", string(hsm.ForDeriving), "`use`: derive, mac, unwrap or encrypt, of a key that is made")
	flags.StringVar(&p.KCV, "kcv", "", "key check `value` that an imported key must have, 6 hex digits (des-ecb-zero or aes-cmac-zero)")
	flags.StringVar(&f.wrapped, "wrapped", "", "`file` with the wrapped key to import")
	flags.StringVar(&p.Under, "under", "", "`key` that it is wrapped under, of import-under")
	flags.IntVar(&p.UnderVersion, "under-version", 0, "`version` of that key; 1 if not said")
	flags.StringVar(&p.Wrapping, "wrapping", "", "`how` it is wrapped: aes-key-wrap or aes-key-wrap-pad")
	flags.StringVar(&f.backupKey, "backup-key", "", "PEM `file` with the other token's transport key, of generate-with-backup")
	f.add(cmd)
	return cmd
}

// body is the proposal that the flags come to.
func (f *proposeFlags) body(act custody.Act, key string) (api.Propose, error) {
	p := f.parameters
	p.Key, p.KCV = key, strings.ToUpper(p.KCV)
	if act.To() != custody.PreActive { // the flags have defaults, which mean nothing here
		p.Type, p.Use = "", ""
	}
	if p.Under != "" {
		p.UnderVersion = cmp.Or(p.UnderVersion, 1)
	}
	var err error
	if f.wrapped != "" {
		if p.Wrapped, err = os.ReadFile(f.wrapped); err != nil {
			return api.Propose{}, &usageError{err}
		}
	}
	if f.backupKey != "" {
		text, err := os.ReadFile(f.backupKey)
		if err != nil {
			return api.Propose{}, &usageError{err}
		}
		block, _ := pem.Decode(text)
		if block == nil || block.Type != "PUBLIC KEY" {
			return api.Propose{}, misuse("%s: it holds no public key in PEM form", f.backupKey)
		}
		p.BackupKey = block.Bytes
	}
	return api.Propose{Act: string(act), Parameters: p}, nil
}

func newKeyProposals(a *app) *cobra.Command {
	var f clientFlags
	var state string
	var pages pageFlags
	cmd := &cobra.Command{
		Use:     "proposals",
		Short:   "List proposals, the newest first",
		GroupID: groupClient,
		Example: `  latchkey key proposals --state open
  latchkey key proposals --json`,
		Args: needs(),
		RunE: a.do(func(cmd *cobra.Command, _ []string) error {
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				proposals, next, err := readPages(a, pages, func(limit int, after string) ([]api.KeyProposal, string, error) {
					page, err := c.KeyProposals(cmd.Context(), state, limit, after)
					return page.Proposals, page.Next, err
				})
				if err != nil {
					return err
				}
				return a.print(api.KeyProposals{Proposals: proposals, Next: next}, func(w io.Writer) {
					_, _ = fmt.Fprintln(w, "ID\tSTATE\tACT\tKEY\tVERSION\tPROPOSER\tAPPROVALS\tEXPIRES")
					for _, p := range proposals {
						_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%d of %d\t%s\n", p.ID, p.State, p.Act, p.Key, p.Version, p.Proposer,
							len(p.Approvals), p.Wanted, p.ExpiresAt.Local().Format(time.DateTime))
					}
				})
			})
		}),
	}
	cmd.Flags().StringVar(&state, "state", "", "only those in this `state`: open, executing, executed, failed, unknown, rejected, withdrawn or expired")
	pages.add(cmd, "proposals")
	f.add(cmd)
	return cmd
}

func newKeyProposal(a *app) *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:     "proposal ID",
		Short:   "Show a proposal, and what came of it",
		GroupID: groupClient,
		Args:    needs("ID"),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				p, err := c.KeyProposal(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return a.printProposal(p)
			})
		}),
	}
	f.add(cmd)
	return cmd
}

func newKeyApprove(a *app) *cobra.Command {
	var f clientFlags
	var hash string
	cmd := &cobra.Command{
		Use:     "approve ID",
		Short:   "Approve what another officer proposed",
		GroupID: groupClient,
		Long: `Approve what another officer proposed. With the last approval that is wanted it is
carried out at once.

On a terminal it shows in words what will be done, with the hash of all of it, and
asks. Elsewhere --hash has to name the hash of what was seen. The hash is computed
here from what is shown: a server cannot show one thing and have another approved.

The exit code is 3 where what was approved could not be done, and 1 where nobody
knows whether it was.`,
		Example: `  latchkey key approve 5b0c1c1e-6f0e-4a57-9b0e-6a2e0f8f2c11
  latchkey key approve 5b0c1c1e-6f0e-4a57-9b0e-6a2e0f8f2c11 --hash 6b1f... --json`,
		Args: needs("ID"),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			if hash == "" && !a.interactive() {
				return misuse("say what you approve: --hash; without it this needs a terminal and no --json")
			}
			return f.with(cmd.Context(), func(c *api.Client, _ string) error { return a.approve(cmd.Context(), c, args[0], hash) })
		}),
	}
	cmd.Flags().StringVar(&hash, "hash", "", "`hash` of the proposal that you have seen")
	f.add(cmd)
	return cmd
}

func (a *app) approve(ctx context.Context, c *api.Client, id, hash string) error {
	p, err := c.KeyProposal(ctx, id)
	if err != nil {
		return err
	}
	s, err := statementIn(p.Proposal, custody.ParseStatement)
	if err != nil {
		return err
	}
	if err := a.agreed(ctx, hash, s.Hash(), func() {
		a.note("%s\n\nreason   %s\nproposed by %s at %s\nhash     %s\n", s.Words(), cmp.Or(s.Parameters.Reason, "none given"),
			s.Proposer, s.CreatedAt.Local().Format(time.DateTime), s.Hash())
	}); err != nil {
		return err
	}
	if p, err = c.ApproveKeyProposal(ctx, id, s.Hash()); err != nil {
		return err
	}
	if err := a.printProposal(p); err != nil {
		return err
	}
	switch dualcontrol.State(p.State) {
	case dualcontrol.Failed:
		return exitWith(exitRefused)
	case dualcontrol.Unknown:
		return exitWith(exitFailed)
	default:
		return nil
	}
}

// agreed makes sure that the officer approves what has the hash: by the hash that was
// given, or by asking about what show shows.
func (a *app) agreed(ctx context.Context, given, hash string, show func()) error {
	if given != "" {
		if !strings.EqualFold(given, hash) {
			return decline("the proposal's hash is %s, not %s; nothing was approved", hash, given)
		}
		return nil
	}
	show()
	q := asker{bufio.NewReader(a.in), a.err}
	answer, err := q.ask(ctx, "Do you approve it? [y/N] ")
	if err == nil && !agrees(answer) {
		err = decline("it was not confirmed; nothing was approved")
	}
	return err
}

// statementIn reads what a proposal says, and makes sure that its hash is of it
// and that it is what it was asked for by.
func statementIn[S any](p api.Proposal, parse func(string) (S, error)) (S, error) {
	s, err := parse(p.Statement)
	of := dualcontrol.Proposal{Text: p.Statement}
	if err == nil {
		err = of.ReadHeader()
	}
	if err == nil && (of.Hash() != p.Hash || of.ID != p.ID) {
		err = fmt.Errorf("its hash or ID is of another")
	}
	if err != nil {
		return s, fmt.Errorf("the server's proposal is not what it says it is; approve nothing there: %w", err)
	}
	return s, nil
}

func newKeyReject(a *app) *cobra.Command {
	var f clientFlags
	var reason string
	cmd := &cobra.Command{
		Use:     "reject ID",
		Short:   "Reject a proposal, which ends it",
		GroupID: groupClient,
		Args:    needs("ID"),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				p, err := c.RejectKeyProposal(cmd.Context(), args[0], reason)
				if err != nil {
					return err
				}
				return a.printProposal(p)
			})
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "`why`, for its proposer and the audit log")
	f.add(cmd)
	return cmd
}

func newKeyWithdraw(a *app) *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:     "withdraw ID",
		Short:   "Withdraw a proposal of your own",
		GroupID: groupClient,
		Args:    needs("ID"),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				p, err := c.WithdrawKeyProposal(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return a.printProposal(p)
			})
		}),
	}
	f.add(cmd)
	return cmd
}

func newKeyTransport(a *app) *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:     "transport-key",
		Short:   "Show the key under which master keys come in wrapped",
		GroupID: groupClient,
		Long: `Show the public half of the token's transport key pair in PEM, to wrap master keys
under by RSA-OAEP with SHA-1. The pair is made in the token when it is first asked
for. Compare the fingerprint, SHA-256 of the key in DER form, at both ends.`,
		Args: needs(),
		RunE: a.do(func(cmd *cobra.Command, _ []string) error {
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				k, err := c.TransportKey(cmd.Context())
				if err != nil {
					return err
				}
				a.note("fingerprint %s", k.Fingerprint)
				return a.print(k, func(w io.Writer) { _, _ = io.WriteString(w, k.PublicKey) })
			})
		}),
	}
	f.add(cmd)
	return cmd
}

// writeProposal writes what every proposal has.
func writeProposal(w io.Writer, p api.Proposal, reason string) {
	field(w, "proposal", "%s", p.ID)
	field(w, "", "%s", p.Words)
	field(w, "state", "%s", p.State)
	field(w, "proposed", "by %s at %s, expires %s", p.Proposer, p.CreatedAt.Local().Format(time.DateTime), p.ExpiresAt.Local().Format(time.DateTime))
	if reason != "" {
		field(w, "reason", "%s", reason)
	}
	field(w, "hash", "%s", p.Hash)
	for _, yes := range p.Approvals {
		field(w, "approved", "by %s at %s", yes.Officer, yes.At.Local().Format(time.DateTime))
	}
	if p.EndedBy != "" {
		field(w, "ended", "by %s: %s", p.EndedBy, cmp.Or(p.Reason, "no reason given"))
	}
}

func (a *app) printProposal(p api.KeyProposal) error {
	return a.print(p, func(w io.Writer) {
		reason := ""
		if s, err := statementIn(p.Proposal, custody.ParseStatement); err == nil {
			reason = s.Parameters.Reason
		}
		writeProposal(w, p.Proposal, reason)
		if p.Result == nil {
			field(w, "approvals", "%d of %d", len(p.Approvals), p.Wanted)
			return
		}
		if len(p.Result.KCV) != 0 {
			field(w, "key check value", "%s", kcvText(p.Result.KCV))
		}
		if len(p.Result.Backup) != 0 {
			field(w, "backup", "%s", base64.StdEncoding.EncodeToString(p.Result.Backup))
			field(w, "for the token of", "%s", p.Result.BackupUnder)
		}
		if p.Result.Error != "" {
			field(w, "error", "%s", p.Result.Error)
		}
	})
}
