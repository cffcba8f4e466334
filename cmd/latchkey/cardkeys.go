package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"latchkey/server/api"
)

// keyImportResult is the result of a bulk import of wrapped keys.
type keyImportResult struct {
	Summary api.ImportCounts `json:"summary"`
	Lines   []api.ImportLine `json:"lines"`
}

func newCardImportKeys(a *app) *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "import-keys FILE",
		Short: "Give many cards their wrapped keys from a file, or - for standard input",
		Long: `Give cards that are registered the admin keys that came wrapped with them, from a
file or from standard input where FILE is -. Their profile's scheme is wrapped.

FILE is CSV with the columns serial, wrapped_key (hex) and, where wanted,
master_key_version, with or without a line of headings; or one JSON object a line
(NDJSON) with these fields. A line without a version leaves the card's as it is.

The result of each line is printed. A line that is refused spoils no other, and the
exit code is then 3. An import that broke off can be sent again.`,
		Example: `  latchkey card import-keys keys.csv
  latchkey card import-keys keys.ndjson --json
  gpg --decrypt keys.csv.gpg | latchkey card import-keys -`,
		Args: needs("FILE"),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			file, err := a.open(args[0])
			if err != nil {
				return err
			}
			defer func() { _ = file.Close() }() // only read from
			lines, err := keyLines(file)
			if err != nil {
				return misuse("%s: %w", args[0], err)
			}
			return f.with(cmd.Context(), func(c *api.Client, _ string) error {
				result := keyImportResult{Lines: []api.ImportLine{}}
				bar := a.progress(0, 0)
				result.Summary, err = c.ImportKeys(cmd.Context(), lines, func(l api.ImportLine) error {
					if a.json {
						result.Lines = append(result.Lines, l)
						return nil
					}
					bar.clear()
					_, err := fmt.Fprintln(a.out, resultLine(l))
					bar.step(l.Line)
					return err
				})
				bar.clear()
				if err != nil {
					return err
				}
				counts := result.Summary
				a.note("%d keys: %d updated, %d unchanged, %d refused", counts.Lines, counts.Updated, counts.Unchanged, counts.Refused)
				if a.json {
					if err := a.print(result, nil); err != nil {
						return err
					}
				}
				if counts.Refused > 0 {
					return exitWith(exitRefused)
				}
				return nil
			})
		}),
	}
	f.add(cmd)
	return cmd
}

// resultLine is the result of one line of an import, in one line.
func resultLine(l api.ImportLine) string {
	text := fmt.Sprintf("line %d (%s): %s", l.Line, cmp.Or(l.Serial, "no serial"), l.Result)
	if l.Problem != nil {
		text += ": " + strings.TrimPrefix(l.Problem.Error(), l.Problem.Code+": ")
	}
	return text
}

// keyLines gives a file of wrapped keys as NDJSON, in which each key is on the
// line that it is on in the file. CSV is read to its end first, so that nothing
// is sent of a file with a fault.
func keyLines(file io.Reader) (io.Reader, error) {
	buffered := bufio.NewReader(file)
	for {
		first, err := buffered.Peek(1)
		switch {
		case errors.Is(err, io.EOF):
			return nil, errors.New("there is nothing in it")
		case err != nil:
			return nil, fmt.Errorf("read wrapped keys: %w", err)
		case first[0] == '{':
			return buffered, nil
		case !bytes.ContainsAny(first, " \t\r\n"):
			return fromCSV(buffered)
		}
		if _, err := buffered.Discard(1); err != nil {
			return nil, fmt.Errorf("read wrapped keys: %w", err)
		}
	}
}

// fromCSV makes NDJSON of a CSV file's records.
func fromCSV(file io.Reader) (io.Reader, error) {
	records := csv.NewReader(file)
	records.FieldsPerRecord = -1
	records.TrimLeadingSpace = true
	var lines bytes.Buffer
	for next := 1; ; {
		fields, err := records.Read()
		if errors.Is(err, io.EOF) {
			return &lines, nil
		}
		if err != nil {
			return nil, err
		}
		line, _ := records.FieldPos(0)
		if strings.EqualFold(fields[0], "serial") {
			continue
		}
		key, err := keyOf(fields)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		text, err := json.Marshal(key)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		for ; next < line; next++ { // the headings, blank lines
			lines.WriteByte('\n')
		}
		lines.Write(append(text, '\n'))
		next++
	}
}

func keyOf(fields []string) (api.WrappedKey, error) {
	if len(fields) < 2 || len(fields) > 3 {
		return api.WrappedKey{}, fmt.Errorf("it has %d columns; serial, wrapped_key and master_key_version are wanted, the last may be left out", len(fields))
	}
	key := api.WrappedKey{Serial: fields[0], WrappedKey: strings.TrimSpace(fields[1])}
	if len(fields) == 3 && fields[2] != "" {
		var err error
		if key.MasterKeyVersion, err = strconv.Atoi(fields[2]); err != nil {
			return api.WrappedKey{}, errors.New("master_key_version is not a whole number")
		}
	}
	return key, nil
}
