// Command latchkey answers smart-card unblock challenges through a PKCS#11 HSM.
//
// `latchkey serve` is the server. The commands under "Server clients" are its
// API in a terminal: they find it by --server and prove who they are by a client
// certificate. The commands under "On the HSM" work on the token itself, without
// a server, for the person who looks after it.
//
// There is no logic here: every command reads its flags, calls the room that does
// the work, and prints what came of it. README.md shows a first session;
// docs/cli.md lists every command, flag and exit code.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	_ "time/tzdata" // time zones, for hosts and images that have none
)

func main() { os.Exit(run()) }

// run is main with deferred calls made before the exit.
func run() int {
	if err := forbidCoreDumps(); err != nil {
		fmt.Fprintln(os.Stderr, "latchkey:", err)
		return exitFailed
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	// The first signal asks to stop, the second does not ask. The default handling
	// would not do for it: whoever runs this in the background may ignore signals.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		stop()
		<-signals
		os.Exit(exitInterrupted)
	}()
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr}
	return a.run(ctx, os.Args[1:])
}

// app is what every command has in common: where it reads and writes.
type app struct {
	in       *os.File
	out, err io.Writer
	json     bool // --json
	began    bool // a command's own work has begun
}

func (a *app) run(ctx context.Context, args []string) int {
	root := newRoot(a)
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !a.began {
		// cobra refused the arguments, perhaps before it came to --json.
		if !strings.Contains(err.Error(), "; try: ") {
			err = fmt.Errorf("%w; try: %s --help", err, cmd.CommandPath())
		}
		err = &usageError{err}
		a.json = slices.Contains(args, "--json")
	}
	if err != nil {
		a.report(err)
	}
	return exitCode(err)
}
