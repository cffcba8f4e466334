// Bench measures how many answers a second Latchkey gives, and beside it, on the
// same token in the same run, the limit: a bare loop of the PKCS#11 calls that one
// answer needs. It goes up through the rooms, so that each shows what it costs:
//
//	raw       the bare loop, from one to eight threads, and from several processes
//	hsm       hsm.Token.Respond
//	unblock   every check and the durable audit entry, with SQLite
//	https     the same through the API, over mutual TLS, loaded by another process
//	postgres  the API with PostgreSQL; one, two and four nodes
//
// Each is measured several times in turn, so that a noisy machine is noisy to all,
// and shown by its median. The table goes to standard output; the figures and the
// plots to a folder.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are what the person who measures chooses.
type options struct {
	latchkey string        // the binary
	out      string        // folder of figures and plots
	slice    time.Duration // of one measurement
	rounds   int
	cards    int
	clients  int // connections of the load
	postgres bool
}

func run(ctx context.Context) error {
	// A tier is measured in a process of its own: SoftHSM's locks are a process's.
	if task := os.Getenv(taskEnv); task != "" {
		return work(ctx, task)
	}
	var o options
	flag.StringVar(&o.latchkey, "latchkey", "bin/latchkey", "the latchkey `binary` that is measured")
	flag.StringVar(&o.out, "out", "artifacts/bench", "`folder` for figures and plots")
	flag.DurationVar(&o.slice, "slice", 3*time.Second, "how long one measurement takes")
	flag.IntVar(&o.rounds, "rounds", 3, "how often each is measured")
	flag.IntVar(&o.cards, "cards", 10_000, "cards in the store")
	flag.IntVar(&o.clients, "clients", 64, "connections of the load")
	flag.BoolVar(&o.postgres, "postgres", true, "measure with PostgreSQL too")
	flag.Parse()
	if flag.NArg() != 0 || o.rounds < 1 || o.cards < 1 || o.clients < 1 {
		return errors.New("nothing but flags is taken, each 1 or more; see -help")
	}
	if err := os.MkdirAll(o.out, 0o750); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "latchkey-bench-")
	if err != nil {
		return err
	}
	h, err := build(ctx, o, dir)
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	report, err := measureAll(ctx, h, o)
	if err := errors.Join(err, h.close(), os.RemoveAll(dir)); err != nil {
		return err
	}
	report.print(os.Stdout)
	text, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(o.out, "bench.json"), append(text, '\n'), 0o600),
		report.plot(filepath.Join(o.out, "throughput")),
	)
}
