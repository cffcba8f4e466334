package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"latchkey/server/api"
)

func newCard(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "card", Short: "Register and find cards", GroupID: groupClient,
		Args: cobra.NoArgs, RunE: a.group,
	}
	cmd.AddCommand(newCardPut(a), newCardGet(a), newCardList(a), newCardImport(a), newCardSyncs(a), newCardImportKeys(a))
	return cmd
}

func newCardPut(a *app) *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "put FILE",
		Short: "Register a card, or replace its data, from a JSON file or - for standard input",
		Example: `  latchkey card put card.json
  echo '{"serial":"GIDS-000417","type":"employee","state":"active",
    "holder":{"id":"u417","name":"Astrid Berg","state":"active"}}' | latchkey card put -`,
		Args: needs("FILE"),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			var card api.Card
			if err := a.readJSON(args[0], &card); err != nil {
				return err
			}
			if card.Serial == "" {
				return misuse("%s: serial is missing", args[0])
			}
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				kept, created, err := c.PutCard(cmd.Context(), card)
				if err != nil {
					return err
				}
				a.noteWritten("card "+kept.Serial, created)
				return a.print(kept, func(w io.Writer) { writeCard(w, kept) })
			})
		}),
	}
	f.add(cmd)
	return cmd
}

func (a *app) noteWritten(what string, created bool) {
	if created {
		a.note("Registered %s.", what)
	} else {
		a.note("Updated %s.", what)
	}
}

func newCardGet(a *app) *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:     "get SERIAL",
		Short:   "Show a card and its holder",
		Example: `  latchkey card get GIDS-000417 --json`,
		Args:    needs("SERIAL"),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				card, err := c.Card(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return a.print(card, func(w io.Writer) { writeCard(w, card) })
			})
		}),
	}
	f.add(cmd)
	return cmd
}

func writeCard(w io.Writer, c api.Card) {
	field(w, "card", "%s (%s), %s", c.Serial, c.Type, c.State)
	field(w, "holder", "%s (%s), %s", c.Holder.Name, c.Holder.ID, c.Holder.State)
	for _, detail := range []struct{ name, value string }{
		{"e-mail", c.Holder.Email}, {"employee", c.Holder.EmployeeNumber}, {"unit", c.Holder.Unit},
		{"groups", strings.Join(c.Holder.Groups, ", ")}, {"privileged", yesOrNothing(c.Holder.Privileged)},
		{"card unit", c.Unit}, {"assurance", c.Assurance}, {"CUID", c.CUID}, {"KDD", c.KDD},
	} {
		if detail.value != "" {
			field(w, detail.name, "%s", detail.value)
		}
	}
	if c.HasWrappedKey {
		field(w, "wrapped key", "registered")
	}
	if c.MasterKeyVersion != 0 {
		field(w, "master key", "version %d", c.MasterKeyVersion)
	}
	by := ""
	if c.Source != "" {
		by = " by " + c.Source
	}
	field(w, "confirmed", "%s%s", c.SyncedAt.Local().Format(time.DateTime), by)
}

func yesOrNothing(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

func newCardList(a *app) *cobra.Command {
	var f clientFlags
	var pages pageFlags
	var notInSync string
	cmd := &cobra.Command{
		Use:   "list [TEXT]",
		Short: "Find cards by their serial number or their holder",
		Long: `Find cards. TEXT is words, each of which has to be how a word of the card's serial
number or of its holder's name, ID, e-mail address or employee number begins. Words
begin behind hyphens and dots too; neither case nor accents matter. Without TEXT all
cards are listed.`,
		Example: `  latchkey card list
  latchkey card list berg
  latchkey card list "ast berg"
  latchkey card list --all --json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return needs("TEXT")(cmd, args)
			}
			return nil
		},
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			text := strings.Join(args, "")
			if text != "" && notInSync != "" {
				return misuse("--not-in-sync goes without TEXT")
			}
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				cards, next, err := readPages(a, pages, func(limit int, after string) ([]api.Card, string, error) {
					if notInSync != "" {
						page, err := c.CardsNotInSync(cmd.Context(), notInSync, limit, after)
						return page.Cards, page.Next, err
					}
					page, err := c.FindCards(cmd.Context(), text, limit, after)
					return page.Cards, page.Next, err
				})
				if err != nil {
					return err
				}
				return a.print(api.Cards{Cards: cards, Next: next}, func(w io.Writer) {
					_, _ = fmt.Fprintln(w, "SERIAL\tTYPE\tSTATE\tHOLDER\tHOLDER STATE\tUNIT")
					for _, c := range cards {
						_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", c.Serial, c.Type, c.State, c.Holder.Name, c.Holder.State, c.Holder.Unit)
					}
				})
			})
		}),
	}
	cmd.Flags().StringVar(&notInSync, "not-in-sync", "", "only cards of the source of synchronisation `ID` that were not in it")
	pages.add(cmd, "cards")
	f.add(cmd)
	return cmd
}

// pageFlags say which page of a list is wanted.
type pageFlags struct {
	limit int
	after string
	all   bool
}

func (f *pageFlags) add(cmd *cobra.Command, what string) {
	cmd.Flags().IntVar(&f.limit, "limit", 0, "`"+what+"` per page; 50 by default, 500 at most")
	cmd.Flags().StringVar(&f.after, "after", "", "`cursor` of the page before")
	cmd.Flags().BoolVar(&f.all, "all", false, "every page")
}

// readPages reads the page that is wanted or, with --all, it and all after it. It
// gives the cursor of the page after, and says that there is one.
func readPages[T any](a *app, f pageFlags, read func(limit int, after string) ([]T, string, error)) (list []T, next string, err error) {
	list, next, err = read(f.limit, f.after)
	for err == nil && f.all && next != "" {
		var more []T
		more, next, err = read(f.limit, next)
		list = append(list, more...)
	}
	if err == nil && next != "" {
		a.note("There are more: go on with --after %s, or take --all.", next)
	}
	return list, next, err
}

// importResult is the result of a bulk import.
type importResult struct {
	Summary api.ImportCounts `json:"summary"`
	Refused []api.ImportLine `json:"refused"`
	Sync    *api.CardSync    `json:"sync,omitempty"` // of an import of a whole file
}

func newCardImport(a *app) *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Register many cards from a file with one JSON object a line, or - for standard input",
		Long: `Register many cards from a file with one JSON object a line (NDJSON), each as card
put takes it, or from standard input where FILE is -.

A line that is refused spoils no other: each is named on standard error with its
reason, and the exit code is then 3.

The import of a FILE is a synchronisation: it is taken to hold all cards that this
client is the source of. Where it breaks off, by whatever cause, the same command
goes on where it was. At the end it says how many other cards of this source there
are. They stay, and are refused once their data is older than the server allows.`,
		Example: `  latchkey card import cards.ndjson
  jq -c '.[]' cards.json | latchkey card import - --json`,
		Args: needs("FILE"),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				if args[0] == "-" {
					return a.importCards(cmd.Context(), c, a.in)
				}
				return a.syncCards(cmd.Context(), c, args[0])
			})
		}),
	}
	f.add(cmd)
	return cmd
}

func (a *app) importCards(ctx context.Context, c *api.Client, lines io.Reader) error {
	result := importResult{Refused: []api.ImportLine{}}
	bar := a.progress(0, 0)
	counts, err := c.ImportCards(ctx, lines, result.take(a, bar))
	bar.clear()
	if err != nil {
		return err
	}
	result.Summary = counts
	if err := a.printImport(result); err != nil {
		return err
	}
	if counts.Refused > 0 {
		return exitWith(exitRefused)
	}
	return nil
}

// take takes the result of each line.
func (r *importResult) take(a *app, bar *progress) func(api.ImportLine) error {
	return func(l api.ImportLine) error {
		bar.step(l.Line)
		if l.Problem == nil {
			return nil
		}
		r.Refused = append(r.Refused, l)
		bar.clear()
		a.note("line %d (%s): %s", l.Line, cmp.Or(l.Serial, "no serial"), strings.TrimPrefix(l.Problem.Error(), l.Problem.Code+": "))
		return nil
	}
}

func (a *app) printImport(r importResult) error {
	return a.print(r, func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "%d cards: %d created, %d updated, %d unchanged, %d refused\n",
			r.Summary.Lines, r.Summary.Created, r.Summary.Updated, r.Summary.Unchanged, r.Summary.Refused)
	})
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// open opens a file, or standard input for -.
func (a *app) open(path string) (io.ReadCloser, error) {
	if path == "-" {
		return io.NopCloser(a.in), nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, &usageError{err}
	}
	return f, nil
}

// readJSON reads one JSON object from a file, or standard input for -. A field
// that is not known is refused: sent on without it, the data would be another.
func (a *app) readJSON(path string, into any) error {
	f, err := a.open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read from
	text, err := io.ReadAll(f)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if path == "-" {
		path = "standard input"
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return misuse("%s: there is nothing in it", path)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	switch err := d.Decode(into); {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return misuse("%s: the JSON object breaks off at the end; is a bracket or a quotation mark missing?", path)
	case err != nil:
		return misuse("%s: %s", path, strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return misuse("%s: it holds more than one JSON object", path)
	}
	return nil
}
