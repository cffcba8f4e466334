package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"latchkey/config"
	"latchkey/softhsm-test/demo"
)

func newDemo(a *app) *cobra.Command {
	var dir, listen string
	var once bool
	cmd := &cobra.Command{
		Use:     "demo",
		Short:   "Try Latchkey out, with a SoftHSM2 token and a virtual card",
		GroupID: groupServer,
		Long: `Make a whole Latchkey in one folder: a SoftHSM2 token with its master key, a CA with
certificates, a database, sample card types and cards, and a configuration. Start the
server with it, unblock a virtual card through the API, step by step, and go on
serving until SIGINT or SIGTERM. What is there already is kept, so a second run goes
on with the first one's data.

It needs SoftHSM2, and nothing in it is fit for cards that matter.`,
		Example: `  latchkey demo --dir run
  latchkey demo --dir run --listen 127.0.0.1:9443
  latchkey demo --dir "$(mktemp -d)" --listen 127.0.0.1:0 --once`,
		Args: needs(),
		RunE: a.do(func(cmd *cobra.Command, _ []string) error {
			if a.json {
				return misuse("the demonstration is for reading; it has no JSON")
			}
			return demo.Run(cmd.Context(), demo.Config{
				Dir: dir, Once: once, Out: a.out,
				Serve: func(ctx context.Context, file string, started func(string)) error {
					return serveDemo(ctx, file, listen, started)
				},
			})
		}),
	}
	cmd.Flags().StringVar(&dir, "dir", "run", "`folder` for all of it")
	cmd.Flags().StringVar(&listen, "listen", "", "`address` to listen at instead of the configuration's, host:port")
	cmd.Flags().BoolVar(&once, "once", false, "end after the unblock instead of going on serving")
	return cmd
}

// serveDemo is what serve does, with its log in a file.
func serveDemo(ctx context.Context, file, listen string, started func(string)) (err error) {
	c, err := config.Load(file)
	if err != nil {
		return err
	}
	if listen != "" {
		c.Listen = listen
	}
	path := filepath.Join(filepath.Dir(file), demo.LogFile)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	log, err := newLogger(c.Log, f)
	if err != nil {
		return err
	}
	return serve(ctx, c, log, started)
}
