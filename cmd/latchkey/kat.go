package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"latchkey/card"
	"latchkey/hsm"
)

func newKAT(a *app) *cobra.Command {
	var flags tokenFlags
	cmd := &cobra.Command{
		Use:     "kat FILE",
		Short:   "Test the token with known answers",
		GroupID: groupToken,
		Long: `Test the token with a file of known answers, by the same code as answers a real
card. Each master key of the file becomes a session object in the token and is
destroyed after its answer; nothing stays behind.

FILE is a JSON array of objects with scheme, master_key, input, card_key_type,
challenge and response, bytes in hex. One line is printed for each, beginning with
pass, fail or unsupported, the latter two with their reason. The exit code is 1
where one fails; what this version or this token does not do is no failure.`,
		Example: `  latchkey kat vectors.json --module M --token-label L --pin-file F
  latchkey kat vectors.json --config latchkey.yaml --json`,
		Args: needs("FILE"),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			file, err := os.ReadFile(args[0])
			if err != nil {
				return &usageError{err}
			}
			vectors, err := hsm.ParseVectors(file)
			if err != nil {
				return misuse("%s: %w", args[0], err)
			}
			var result katResult
			if err := flags.with(cmd.Context(), func(t *hsm.Token) error {
				return a.test(cmd, t, vectors, &result)
			}); err != nil {
				return err
			}
			if a.json {
				if err := a.print(result, nil); err != nil {
					return err
				}
			} else if _, err := fmt.Fprintf(a.out, "%d passed, %d failed, %d unsupported\n",
				result.Passed, result.Failed, result.Unsupported); err != nil {
				return err
			}
			if result.Failed > 0 {
				return exitWith(exitFailed)
			}
			return nil
		}),
	}
	flags.add(cmd.Flags())
	return cmd
}

// katResult is the result of a known-answer test.
type katResult struct {
	Vectors     []katVector `json:"vectors"`
	Passed      int         `json:"passed"`
	Failed      int         `json:"failed"`
	Unsupported int         `json:"unsupported"`
}

type katVector struct {
	Vector  int         `json:"vector"` // from 1, in the file's order
	Name    string      `json:"name"`
	Verdict hsm.Verdict `json:"verdict"`
	Reason  string      `json:"reason,omitempty"`
}

// test tries each vector, and prints its line as soon as it is known.
func (a *app) test(cmd *cobra.Command, t *hsm.Token, vectors []hsm.Vector, result *katResult) error {
	for i, v := range vectors {
		verdict, reason := t.KnownAnswer(cmd.Context(), v)
		if err := cmd.Context().Err(); err != nil {
			return err
		}
		switch verdict {
		case hsm.Pass:
			result.Passed++
		case hsm.Fail:
			result.Failed++
		case hsm.Unsupported:
			result.Unsupported++
		}
		result.Vectors = append(result.Vectors, katVector{i + 1, v.Name(), verdict, reason})
		if a.json {
			continue
		}
		line := fmt.Sprintf("%s vector %d", verdict, i+1)
		if v.Scheme != "" {
			line += " (" + v.Name() + ")"
		}
		if reason != "" {
			line += ": " + reason
		}
		if _, err := fmt.Fprintln(a.out, card.Visible(line)); err != nil {
			return err
		}
	}
	return nil
}
