package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"latchkey/card"
	"latchkey/config"
	"latchkey/notify"
	"latchkey/store"
)

// notifierOf makes what tells people that cards were unblocked.
func notifierOf(ctx context.Context, c *config.Config, s *store.Store, log *zap.Logger) (*notify.Notifier, error) {
	head, err := s.Log().Head(ctx)
	if err != nil {
		return nil, err
	}
	return notify.New(notify.Config{
		Settings: *c.Notify, Cards: s, Ledger: s, Origin: head.Origin, Zone: c.Zone, Logger: log, Now: time.Now,
	})
}

func newNotify(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "notify", Short: "Try notifications out", GroupID: groupServer,
		Args: cobra.NoArgs, RunE: a.group,
	}
	cmd.AddCommand(newNotifyTest(a))
	return cmd
}

// trial is what was sent by notify test.
type trial struct {
	Event   string `json:"event"`
	To      string `json:"to,omitempty"`
	Webhook string `json:"webhook,omitempty"`
}

func newNotifyTest(a *app) *cobra.Command {
	var path, webhook, event, language string
	cmd := &cobra.Command{
		Use:   "test --config FILE {ADDRESS | --webhook NAME}",
		Short: "Send a trial message to an address, or to a webhook",
		Long: `Send a trial message as the configuration says: to an address, as the help desk
gets it, or to the webhook of a name. The server need not run, and neither the token
nor the database is opened. The message is about a card SAMPLE-1 that does not exist.

It is tried once. What goes wrong is told, and is what the server would meet with.`,
		Example: `  latchkey notify test --config /etc/latchkey/latchkey.yaml anna@example.org
  latchkey notify test --config /etc/latchkey/latchkey.yaml anna@example.org --event completed --language sv
  latchkey notify test --config /etc/latchkey/latchkey.yaml --webhook chat`,
		Args: cobra.MaximumNArgs(1),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			if path == "" {
				return misuse("say which configuration: --config FILE")
			}
			if (len(args) == 1) == (webhook != "") {
				return misuse("give an address, or a webhook's name with --webhook")
			}
			if !slices.Contains(notify.Events(), notify.Event(event)) {
				return misuse("--event must be one of %s", card.Join(notify.Events()))
			}
			t := trial{Event: event, Webhook: webhook}
			if len(args) == 1 {
				t.To = args[0]
			}
			settings, zone, err := config.LoadNotify(path)
			if err != nil {
				return err
			}
			if settings == nil {
				return fmt.Errorf("%s has no notify, so nobody is told of anything", path)
			}
			if language != "" {
				settings.Language = language
			}
			n, err := notify.New(notify.Config{
				Settings: *settings, Origin: uuid.NewString(), Zone: zone, Logger: zap.NewNop(), Now: time.Now,
			})
			if err != nil {
				return err
			}
			if err := n.Try(cmd.Context(), notify.Event(event), t.To, t.Webhook); err != nil {
				return err
			}
			return a.print(t, func(w io.Writer) {
				if t.To != "" {
					_, _ = fmt.Fprintf(w, "The mail server took a trial message to %s.\n", t.To)
					return
				}
				_, _ = fmt.Fprintf(w, "The webhook %s took a trial message.\n", t.Webhook)
			})
		}),
	}
	cmd.Flags().StringVar(&path, "config", os.Getenv("LATCHKEY_CONFIG"), "configuration `file` (LATCHKEY_CONFIG)")
	cmd.Flags().StringVar(&webhook, "webhook", "", "`name` of the webhook to be called")
	cmd.Flags().StringVar(&event, "event", string(notify.Answered), "the `event` that it tells of: answered or completed")
	cmd.Flags().StringVar(&language, "language", "", "`language` of the mail, instead of the configured one: en, sv, de or that of your own templates")
	return cmd
}
