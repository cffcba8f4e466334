package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"latchkey/server/api"
)

// syncCards registers the cards of a file as a synchronisation, or goes on with one
// of it that broke off.
func (a *app) syncCards(ctx context.Context, c *api.Client, path string) error {
	begin, err := a.measure(path)
	if err != nil {
		return err
	}
	sync, err := c.BeginCardSync(ctx, begin)
	if err != nil {
		return err
	}
	switch {
	case sync.Done > 0:
		a.note("Going on behind line %d of %d, where synchronisation %s broke off.", sync.Done, sync.Lines, sync.ID)
	case sync.SameAs != "":
		a.note("The same file was synchronised before, as %s. Its cards are confirmed once more.", sync.SameAs)
	}
	file, err := a.open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // only read from
	lines := bufio.NewReaderSize(file, 64<<10)
	for done := 0; done < sync.Done; {
		switch text, err := lines.ReadSlice('\n'); {
		case err == nil || errors.Is(err, io.EOF) && len(text) != 0:
			done++
		case !errors.Is(err, bufio.ErrBufferFull):
			return fmt.Errorf("%s is shorter than it was: %w", path, err)
		}
	}
	result := importResult{Refused: []api.ImportLine{}}
	bar := a.progress(sync.Done, sync.Lines)
	finished, err := c.SyncCards(ctx, sync, lines, result.take(a, bar))
	bar.clear()
	if err != nil {
		a.note("Run the same command again: it goes on where this one broke off.")
		return err
	}
	result.Sync = &finished
	result.Summary = api.ImportCounts{
		Lines:   finished.Created + finished.Updated + finished.Unchanged + finished.Refused,
		Created: finished.Created, Updated: finished.Updated, Unchanged: finished.Unchanged, Refused: finished.Refused,
	}
	if err := a.printImport(result); err != nil {
		return err
	}
	if finished.NotInSync > 0 {
		a.note("%d other cards of %s were not in it, and are refused once their data is too old. See them with: latchkey card list --not-in-sync %s",
			finished.NotInSync, finished.Source, finished.ID)
	}
	if finished.Refused > 0 {
		return exitWith(exitRefused)
	}
	return nil
}

// measure reads a file to its end.
func (a *app) measure(path string) (api.BeginCardSync, error) {
	file, err := a.open(path)
	if err != nil {
		return api.BeginCardSync{}, err
	}
	defer func() { _ = file.Close() }() // only read from
	sum := sha256.New()
	lines := bufio.NewReaderSize(io.TeeReader(file, sum), 64<<10)
	n, inside := 0, false // of a line without its end
	for {
		text, err := lines.ReadSlice('\n')
		inside = len(text) != 0 && text[len(text)-1] != '\n' || inside && len(text) == 0
		switch {
		case err == nil:
			n++
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			if inside {
				n++
			}
			if n == 0 {
				return api.BeginCardSync{}, misuse("%s: there is nothing in it", path)
			}
			return api.BeginCardSync{SHA256: hex.EncodeToString(sum.Sum(nil)), Lines: n}, nil
		default:
			return api.BeginCardSync{}, fmt.Errorf("read %s: %w", path, err)
		}
	}
}

// progress tells how far an import has come: on one line of a terminal, or else in
// a line now and then.
type progress struct {
	out           io.Writer
	terminal      bool
	every         time.Duration // between two words of it, 0 for none at all
	from, total   int           // lines done before, and in all; the latter 0 if that is not known
	began, spoken time.Time
}

func (a *app) progress(from, total int) *progress {
	now := time.Now()
	p := &progress{out: a.err, terminal: isTerminal(a.err), every: 10 * time.Second, from: from, total: total, began: now, spoken: now}
	if p.terminal {
		p.every = 200 * time.Millisecond
	}
	if a.json {
		p.every = 0
	}
	return p
}

// step tells that so many lines are done.
func (p *progress) step(done int) {
	now := time.Now()
	if p.every == 0 || now.Sub(p.spoken) < p.every {
		return
	}
	p.spoken = now
	text := p.words(done, now)
	if p.terminal {
		_, _ = fmt.Fprintf(p.out, "\r\x1b[K%s ", text)
	} else {
		_, _ = fmt.Fprintln(p.out, text)
	}
}

func (p *progress) words(done int, now time.Time) string {
	rate := float64(done-p.from) / now.Sub(p.began).Seconds()
	if p.total == 0 || rate <= 0 {
		return fmt.Sprintf("%d cards, %.0f a second", done, rate)
	}
	left := time.Duration(float64(p.total-done) / rate * float64(time.Second))
	return fmt.Sprintf("%d of %d cards, %.0f a second, %s left", done, p.total, rate, left.Round(time.Second))
}

func (p *progress) clear() {
	if p.terminal && p.every != 0 {
		_, _ = fmt.Fprint(p.out, "\r\x1b[K")
	}
}

func newCardSyncs(a *app) *cobra.Command {
	var f clientFlags
	var pages pageFlags
	cmd := &cobra.Command{
		Use:   "syncs",
		Short: "List the imports of whole files, the newest first, and how far each has come",
		Example: `  latchkey card syncs --limit 5
  latchkey card list --not-in-sync 0b7a3b34-6f0e-4a3a-9d3c-6d6d2b0f8f11`,
		Args: needs(),
		RunE: a.do(func(cmd *cobra.Command, _ []string) error {
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				list, next, err := readPages(a, pages, func(limit int, after string) ([]api.CardSync, string, error) {
					page, err := c.CardSyncs(cmd.Context(), limit, after)
					return page.CardSyncs, page.Next, err
				})
				if err != nil {
					return err
				}
				return a.print(api.CardSyncs{CardSyncs: list, Next: next}, func(w io.Writer) {
					_, _ = fmt.Fprintln(w, "ID\tSOURCE\tBEGAN\tSTATE\tLINES\tCREATED\tUPDATED\tUNCHANGED\tREFUSED\tNOT IN IT")
					for _, y := range list {
						state, missing := fmt.Sprintf("at line %d", y.Done), "-"
						if y.FinishedAt != nil {
							state, missing = "finished", fmt.Sprint(y.NotInSync)
						}
						_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%s\n", y.ID, y.Source, y.StartedAt.Local().Format(time.DateTime), state,
							y.Lines, y.Created, y.Updated, y.Unchanged, y.Refused, missing)
					}
				})
			})
		}),
	}
	pages.add(cmd, "synchronisations")
	f.add(cmd)
	return cmd
}
