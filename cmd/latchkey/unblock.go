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
	"time"

	"github.com/spf13/cobra"

	"latchkey/server/api"
)

// Outcomes of a process, as the API names them.
const (
	pinChanged = "pin-changed"
	failed     = "failed"
	unknown    = "unknown"
)

// States of a process, as the API names them.
const (
	waiting = "waiting"
	started = "started"
)

// unblockFlags say what to unblock and why.
type unblockFlags struct {
	clientFlags
	challenge string
	confirmed bool
	start     api.StartUnblock
}

func newUnblock(a *app) *cobra.Command {
	var f unblockFlags
	cmd := &cobra.Command{
		Use:     "unblock SERIAL",
		Short:   "Unblock a card: answer its challenge",
		GroupID: groupClient,
		Long: `Answer the challenge of a card whose PIN is blocked.

On a terminal and without --challenge, it leads through the whole of it: it shows
the card and its holder, asks for the challenge, shows the response in groups and
as it is read aloud, asks what became of it and reports that to the server.

With --challenge it answers in one call and asks nothing. Report the outcome with
latchkey process complete, or the response stays counted as one that may have cost
the card a try.`,
		Example: `  latchkey unblock GIDS-000417
  latchkey unblock GIDS-000417 --challenge "1603 EBDF 1C8A 2E72" --reason INC-20417
  latchkey unblock GIDS-000417 --challenge 1603EBDF1C8A2E72 --reason INC-20417 --operator anna --json`,
		Args: needs("SERIAL"),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			if f.challenge == "" && !a.interactive() {
				return misuse("say the challenge: --challenge; without it this needs a terminal and no --json")
			}
			return f.with(cmd.Context(), func(c *api.Client, operator string) error {
				s := f.start
				if s.Card, s.Operator = args[0], operator; f.challenge == "" {
					u := unblocking{a, c, asker{bufio.NewReader(a.in), a.err}}
					return u.lead(cmd.Context(), s)
				}
				r, err := c.Respond(cmd.Context(), args[0], api.Respond{
					Operator: operator, Challenge: f.challenge, Confirmed: f.confirmed,
					Reason: s.Reason, Ticket: s.Ticket, Verification: s.Verification, Override: s.Override,
				})
				if err != nil {
					return err
				}
				a.note("Then report what became of it: latchkey process complete %s pin-changed, failed or unknown", r.Unblock)
				return a.print(r, func(w io.Writer) {
					writeResponse(w, r)
					field(w, "process", "%s", r.Unblock)
				})
			})
		}),
	}
	cmd.Flags().StringVar(&f.challenge, "challenge", "", "the `challenge` that the card shows, in hex")
	cmd.Flags().BoolVar(&f.confirmed, "confirmed", false, "the challenge was read again, after challenge-suspicious")
	cmd.Flags().StringVar(&f.start.Reason, "reason", "", "`why`: a ticket number, for instance")
	cmd.Flags().StringVar(&f.start.Ticket, "ticket", "", "the help desk's own `reference`")
	cmd.Flags().StringVar(&f.start.Verification, "verification", "", "`how` you made sure of the holder: call-back, video, manager, code or document")
	cmd.Flags().StringVar(&f.start.Override, "override", "", "`why` a supervisor goes on beyond the card's attempts")
	cmd.Flags().StringVar(&f.Operator, "operator", os.Getenv("LATCHKEY_OPERATOR"), "`operator` on whose behalf, where the client is none itself (LATCHKEY_OPERATOR)")
	f.add(cmd)
	return cmd
}

func writeResponse(w io.Writer, r api.Response) {
	field(w, "response", "%s", r.Grouped)
	field(w, "spoken", "%s", r.Spoken)
	for _, warning := range r.Warnings {
		field(w, "warning", "%s", warning)
	}
}

// unblocking leads a person at a terminal through a process.
type unblocking struct {
	*app
	client *api.Client
	asker
}

func (u *unblocking) lead(ctx context.Context, s api.StartUnblock) (err error) {
	if s.Reason == "" {
		if s.Reason, err = u.ask(ctx, "Reason, such as a ticket number: "); err != nil {
			return err
		}
	}
	p, err := u.client.StartUnblock(ctx, s)
	if err != nil {
		return err
	}
	if err := u.print(p, func(w io.Writer) { writeProcess(w, p) }); err != nil {
		return err
	}
	if p.State == waiting {
		if p, err = u.approved(ctx, p); err != nil || p.State != started {
			return err
		}
	}
	u.note("\nMake sure that this is whom you are speaking to.")
	r, err := u.answer(ctx, p)
	if err != nil || r == nil {
		return cmp.Or(err, u.cancel(ctx, p.ID))
	}
	if err := u.print(r, func(w io.Writer) { writeResponse(w, *r) }); err != nil {
		return err
	}
	outcome, err := u.outcome(ctx)
	if err != nil {
		u.note("Report what became of it: latchkey process complete %s pin-changed, failed or unknown", p.ID)
		return err
	}
	done, err := u.client.CompleteUnblock(ctx, p.ID, outcome)
	if err != nil {
		return err
	}
	u.note("Reported: %s.", done.Outcome)
	return nil
}

// approved waits until a second person has decided, or nobody did in time. It looks
// every two seconds.
func (u *unblocking) approved(ctx context.Context, p api.Unblock) (api.Unblock, error) {
	u.note("\nA %s has to approve it, until %s: latchkey process waiting, then latchkey process approve %s", p.Approval, p.ExpiresAt.Local().Format(time.TimeOnly), p.ID)
	digits := p.ChallengeDigits
	for p.State == waiting {
		select {
		case <-ctx.Done():
			return p, errors.Join(ctx.Err(), u.cancel(ctx, p.ID))
		case <-time.After(2 * time.Second):
		}
		var err error
		if p, err = u.client.Unblock(ctx, p.ID); err != nil {
			return p, err
		}
	}
	p.ChallengeDigits = digits
	u.note("It is %s. %s: %s", p.State, cmp.Or(p.Approver, "Nobody"), cmp.Or(p.Verdict, "decided nothing."))
	return p, nil
}

// answer asks for the challenge until it is one. It gives nil where the person
// gives up.
func (u *unblocking) answer(ctx context.Context, p api.Unblock) (*api.Response, error) {
	prompt := fmt.Sprintf("\nChallenge, %d hex digits (nothing to cancel): ", p.ChallengeDigits)
	for {
		challenge, err := u.ask(ctx, prompt)
		switch {
		case errors.Is(err, errInputEnded), err == nil && challenge == "":
			return nil, nil
		case err != nil:
			return nil, err
		}
		r, err := u.client.AnswerUnblock(ctx, p.ID, api.Challenge{Challenge: challenge})
		var no *api.Problem
		if errors.As(err, &no) && no.Code == "challenge-suspicious" {
			u.note("%s", no.Detail)
			sure, asked := u.ask(ctx, "Does the card's screen show exactly this? [y/N] ")
			if asked != nil {
				return nil, asked
			}
			if !agrees(sure) {
				continue
			}
			r, err = u.client.AnswerUnblock(ctx, p.ID, api.Challenge{Challenge: challenge, Confirmed: true})
		}
		if errors.As(err, &no) && strings.HasPrefix(no.Code, "challenge-") {
			u.note("%s", no.Detail)
			continue
		}
		return &r, err
	}
}

func (u *unblocking) outcome(ctx context.Context) (string, error) {
	for {
		answer, err := u.ask(ctx, "\nDid the card take it, and is the new PIN set? [y]es, [n]o, [d]on't know: ")
		if err != nil {
			return "", err
		}
		switch strings.ToLower(answer) {
		case "y", "yes":
			return pinChanged, nil
		case "n", "no":
			return failed, nil
		case "d", "don't know":
			return unknown, nil
		}
	}
}

// cancel ends a process that was not answered, also after a signal.
func (u *unblocking) cancel(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if _, err := u.client.CancelUnblock(ctx, id); err != nil {
		return fmt.Errorf("cancel process %s: %w", id, err)
	}
	u.note("Cancelled.")
	return nil
}

func newProcess(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "process", Short: "Look after unblock processes", GroupID: groupClient,
		Args: cobra.NoArgs, RunE: a.group,
	}
	cmd.AddCommand(
		newWaiting(a),
		newVerdict(a, "approve ID", "Approve a process that waits for a second person", (*api.Client).ApproveUnblock),
		newVerdict(a, "refuse ID", "Refuse a process that waits for a second person",
			func(c *api.Client, ctx context.Context, id, _, reason string) (api.PendingUnblock, error) {
				return c.RefuseUnblock(ctx, id, reason)
			}),
		a.process("get ID", "Show how a process stands", needs("ID"),
			func(ctx context.Context, c *api.Client, args []string) (api.Unblock, error) {
				return c.Unblock(ctx, args[0])
			}),
		a.process("complete ID OUTCOME", "Report what became of an answered process: pin-changed, failed or unknown", needs("ID", "OUTCOME"),
			func(ctx context.Context, c *api.Client, args []string) (api.Unblock, error) {
				return c.CompleteUnblock(ctx, args[0], args[1])
			}),
		a.process("cancel ID", "Cancel a process", needs("ID"),
			func(ctx context.Context, c *api.Client, args []string) (api.Unblock, error) {
				return c.CancelUnblock(ctx, args[0])
			}),
	)
	return cmd
}

func newWaiting(a *app) *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use: "waiting", Short: "List the processes that wait for an approval that you may give", Args: cobra.NoArgs,
		Long: `List the processes that wait for an approval that you may give: not those that you
started, nor those for your own card.`,
		RunE: a.do(func(cmd *cobra.Command, _ []string) error {
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				list, err := c.Approvals(cmd.Context())
				if err != nil {
					return err
				}
				if len(list.Approvals) == 0 {
					a.note("Nothing waits for your approval.")
				}
				return a.print(list, func(w io.Writer) {
					for _, p := range list.Approvals {
						writeApproval(w, p)
						_, _ = fmt.Fprintln(w)
					}
				})
			})
		}),
	}
	f.add(cmd)
	return cmd
}

// newVerdict is a command that decides on a process that waits, with what was seen of
// it and a reason.
func newVerdict(a *app, use, short string, decide func(c *api.Client, ctx context.Context, id, statement, reason string) (api.PendingUnblock, error)) *cobra.Command {
	var f clientFlags
	var reason string
	cmd := &cobra.Command{
		Use: use, Short: short, Args: needs("ID"),
		Long: short + `.

It shows the process, asks for a reason unless --reason gives it, and asks whether
that is what you decide on; --yes does not ask that, and needs --reason.
What is decided on is bound to the statement that was shown: if the process should say
something else meanwhile, it is refused.`,
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			yes, _ := cmd.Flags().GetBool("yes")
			if reason == "" && (yes || !a.interactive()) {
				return misuse("say why: --reason; without it this needs a terminal, no --yes and no --json")
			}
			if !yes && !a.interactive() {
				return misuse("say --yes; without it this needs a terminal and no --json")
			}
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				list, err := c.Approvals(cmd.Context())
				if err != nil {
					return err
				}
				i := slices.IndexFunc(list.Approvals, func(p api.PendingUnblock) bool { return p.Unblock.ID == args[0] })
				if i < 0 {
					return fmt.Errorf("no process %s waits for a decision that you may make; latchkey process waiting lists those that do", args[0])
				}
				if err := a.show(func(w io.Writer) { writeApproval(w, list.Approvals[i]) }); err != nil {
					return err
				}
				q := asker{bufio.NewReader(a.in), a.err}
				if reason == "" {
					if reason, err = q.ask(cmd.Context(), "\nReason, for the operator and the audit log: "); err != nil {
						return err
					}
				}
				if !yes {
					answer, err := q.ask(cmd.Context(), fmt.Sprintf("\n%s? [y/N] ", short))
					if err != nil || !agrees(answer) {
						return err
					}
				}
				p, err := decide(c, cmd.Context(), args[0], list.Approvals[i].Statement, reason)
				if err != nil {
					return err
				}
				return a.print(p, func(w io.Writer) { field(w, "state", "%s", p.Unblock.State) })
			})
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "`why`, for the operator and the audit log")
	cmd.Flags().Bool("yes", false, "do not ask")
	f.add(cmd)
	return cmd
}

func writeApproval(w io.Writer, p api.PendingUnblock) {
	u := p.Unblock
	writeProcess(w, u)
	field(w, "asked for", "%s, by %s", u.Delegation, u.Client)
	for _, more := range []struct{ name, value string }{
		{"reason", u.Reason}, {"ticket", u.Ticket}, {"verified by", u.Verification}, {"override", u.Override},
		{"statement", p.Statement}, {"until", u.ExpiresAt.Local().Format(time.DateTime)},
	} {
		if more.value != "" {
			field(w, more.name, "%s", more.value)
		}
	}
}

// process is a command that does one thing to a process and shows it.
func (a *app) process(use, short string, args cobra.PositionalArgs, act func(context.Context, *api.Client, []string) (api.Unblock, error)) *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use: use, Short: short, Args: args,
		Long: short + ".\n\nOnly the client that started a process can see and end it.",
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				p, err := act(cmd.Context(), c, args)
				if err != nil {
					return err
				}
				return a.print(p, func(w io.Writer) { writeProcess(w, p) })
			})
		}),
	}
	f.add(cmd)
	return cmd
}

func writeProcess(w io.Writer, p api.Unblock) {
	field(w, "process", "%s", p.ID)
	field(w, "state", "%s", cmp.Or(p.Outcome, p.State))
	field(w, "operator", "%s", p.Operator)
	writeCard(w, p.Card)
}
