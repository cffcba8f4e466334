// Bench measures how many answers a second Latchkey gives, and beside it, on the
// same token in the same run, the limit: a bare loop of the PKCS#11 calls that one
// answer needs. It goes up through the rooms, so that each shows what it costs:
//
//	raw       the bare loop, from one to eight threads, and from several processes
//	signers   several processes with the token behind one that shares the work out
//	hsm       hsm.Token.Respond
//	unblock   every check and the durable audit entry, with SQLite
//	https     the same through the API, over mutual TLS, loaded by another process
//	postgres  the API with PostgreSQL; one, two and four nodes
//	openbao   OpenBao's transit engine, a derived key and a file audit device
//
// Each is measured several times in turn, so that a noisy machine is noisy to all,
// and shown by its median. Then come half the load beside the bare loop at the same
// rate, a token whose every call takes 2 ms with more and more sessions, and where
// the processor time of an answer goes.
//
// Besides there are runs of their own: -growth (what an answer costs with more and
// more cards), -starts (from a start to being ready), and -long (whether memory is
// the same after millions of answers).
//
// Tables go to standard output; figures and plots to a folder; with -docs both into
// the documentation.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
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
	openbao  string        // the binary, if it is there
	out      string        // folder of figures and plots
	docs     string        // folder of the documentation, empty to leave it alone
	temp     string        // folder of databases and tokens
	slice    time.Duration // of one measurement
	rounds   int
	cards    int
	clients  int // connections of the load
	postgres bool

	growth sizes // of fleets
	starts int
	long   int64 // answers
}

// sizes is a flag of numbers with commas between.
type sizes []int

func (s *sizes) String() string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(*s), " ", ","), "[]")
}

func (s *sizes) Set(text string) error {
	for n := range strings.SplitSeq(text, ",") {
		size, err := strconv.Atoi(n)
		if err != nil || size < 1 {
			return fmt.Errorf("%q is not a number of cards", n)
		}
		*s = append(*s, size)
	}
	return nil
}

func run(ctx context.Context) error {
	// A tier is measured in a process of its own: SoftHSM's locks are a process's.
	if task := os.Getenv(taskEnv); task != "" {
		return work(ctx, task)
	}
	var o options
	flag.StringVar(&o.latchkey, "latchkey", "bin/latchkey", "the latchkey `binary` that is measured")
	flag.StringVar(&o.openbao, "openbao", "bin/openbao", "the OpenBao `binary` (scripts/openbao builds it); without one it is left out")
	flag.StringVar(&o.out, "out", "artifacts/bench", "`folder` for figures and plots")
	flag.StringVar(&o.docs, "docs", "", "`folder` of the documentation whose performance.md gets tables and plots")
	flag.StringVar(&o.temp, "temp", "", "`folder` for databases and tokens, which are taken away afterwards (default the system's)")
	flag.DurationVar(&o.slice, "slice", 3*time.Second, "how long one measurement takes")
	flag.IntVar(&o.rounds, "rounds", 3, "how often each is measured")
	flag.IntVar(&o.cards, "cards", 10_000, "cards in the store")
	flag.IntVar(&o.clients, "clients", 64, "connections of the load")
	flag.BoolVar(&o.postgres, "postgres", true, "measure with PostgreSQL too")
	flag.Var(&o.growth, "growth", "measure instead what an answer costs with so many cards: `10000,100000,1000000,10000000`")
	flag.IntVar(&o.starts, "starts", 0, "measure instead how long so many starts take until all is ready, with 10,000 and a million cards")
	flag.Int64Var(&o.long, "long", 0, "measure instead whether memory stays the same over so many answers")
	flag.Parse()
	if flag.NArg() != 0 || o.rounds < 1 || o.cards < 1 || o.clients < 1 || o.starts < 0 || o.long < 0 {
		return errors.New("nothing but flags is taken, each 1 or more; see -help")
	}
	if err := os.MkdirAll(o.out, 0o750); err != nil {
		return err
	}
	mode := measureAll
	switch {
	case o.long != 0:
		mode = measureLong
	case len(o.growth) != 0:
		mode = measureGrowth
	case o.starts != 0:
		mode = measureStarts
	}
	dir, err := os.MkdirTemp(o.temp, "latchkey-bench-")
	if err != nil {
		return err
	}
	h, err := build(ctx, o, dir)
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	found, err := mode(ctx, h, o)
	if err := errors.Join(err, h.close(), os.RemoveAll(dir)); err != nil {
		return err
	}
	for _, f := range found {
		if err := keep(o, f); err != nil {
			return err
		}
	}
	return nil
}
