package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime/debug"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// The groups of commands in the help.
const (
	groupServer   = "server"
	groupClient   = "client"
	groupToken    = "token"
	groupCeremony = "ceremony"
	groupAudit    = "audit"
)

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "latchkey",
		Short: "Answer smart-card unblock challenges through a PKCS#11 HSM",
		Long: `Latchkey answers smart-card unblock challenges. A card's PIN is blocked and the
card shows a challenge; Latchkey checks that it may answer, has the HSM derive the
card's admin key and encrypt the challenge, and gives back the response that lets
the holder set a new PIN.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          a.group,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; try: %s --help", err, cmd.CommandPath())
	})
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print JSON, errors included")
	root.AddGroup(
		&cobra.Group{ID: groupServer, Title: "The server"},
		&cobra.Group{ID: groupClient, Title: "Server clients"},
		&cobra.Group{ID: groupToken, Title: "On the HSM"},
		&cobra.Group{ID: groupCeremony, Title: "Key ceremonies"},
		&cobra.Group{ID: groupAudit, Title: "The audit log"},
	)
	root.AddCommand(
		newServe(a), newBackup(a), newRestore(a), newNotify(a), newDemo(a), newProfile(a), newPolicy(a),
		newUnblock(a), newProcess(a), newCard(a), newCardType(a), newOperator(a),
		newHSM(a), newDoctor(a), newKey(a), newRespond(a), newKAT(a),
		newCeremony(a), newAudit(a),
		newVersion(a), exitCodesTopic(),
	)
	return root
}

// do wraps a command's work, so that what goes wrong in it is told from
// arguments that cobra refused.
func (a *app) do(work func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a.began = true
		return work(cmd, args)
	}
}

// group is what a command does that only has commands below it.
func (a *app) group(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// needs takes exactly the arguments named.
func needs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return fmt.Errorf("%s is missing; try: %s --help", names[len(args)], cmd.CommandPath())
		case len(args) > len(names):
			return fmt.Errorf("%q is one argument too many; try: %s --help", args[len(names)], cmd.CommandPath())
		}
		return nil
	}
}

// print writes a command's result: v as JSON with --json, else what text writes,
// in columns that tabs part.
func (a *app) print(v any, text func(w io.Writer)) error {
	if a.json {
		e := json.NewEncoder(a.out)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	text(w)
	return w.Flush()
}

// note tells the person at the terminal something that is not the result.
func (a *app) note(format string, args ...any) {
	if !a.json {
		_, _ = fmt.Fprintf(a.err, format+"\n", args...)
	}
}

// show shows the person at the terminal what a question is about.
func (a *app) show(text func(w io.Writer)) error {
	if a.json {
		return nil
	}
	w := tabwriter.NewWriter(a.err, 0, 0, 2, ' ', 0)
	text(w)
	return w.Flush()
}

// field writes one line of a result's text.
func field(w io.Writer, name, format string, args ...any) {
	_, _ = fmt.Fprintf(w, name+"\t"+format+"\n", args...)
}

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  needs(),
		RunE: a.do(func(*cobra.Command, []string) error {
			v := readVersion()
			return a.print(v, func(w io.Writer) {
				field(w, "latchkey", "%s", v.Version)
				field(w, "revision", "%s", v.Revision)
				field(w, "built with", "%s", v.Go)
			})
		}),
	}
}

// version is where the binary came from, as the Go tool stamped it.
type version struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Go       string `json:"go"`

	at time.Time // of the revision, the zero time where it is not known
}

func readVersion() version {
	v := version{Version: "(devel)", Revision: "unknown", Go: "unknown"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.Version, v.Go = info.Main.Version, info.GoVersion
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.time":
			v.at, _ = time.Parse(time.RFC3339, s.Value)
		}
	}
	return v
}
