package main

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write docs/cli.md anew")

const docsFile = "../../docs/cli.md"

// docs/cli.md is the commands' own help on one page, so that neither is wrong.
func TestDocs(t *testing.T) {
	for _, name := range []string{"CONFIG", "CLIENT", "SERVER", "CERT", "KEY", "CA", "OPERATOR"} {
		t.Setenv("LATCHKEY_"+name, "") // they are defaults of flags
	}
	var page strings.Builder
	page.WriteString("# The latchkey command\n\n" +
		"This page is made from the command's own help: `go test ./cmd/latchkey -run TestDocs -update`.\n")
	root := newRoot(&app{})
	for _, group := range root.Groups() {
		var commands []*cobra.Command
		for _, top := range root.Commands() {
			for _, c := range leaves(top) {
				if top.GroupID != "" && cmp.Or(c.GroupID, top.GroupID) == group.ID {
					commands = append(commands, c)
				}
			}
		}
		fmt.Fprintf(&page, "\n## %s\n", group.Title)
		shared := sharedFlags(commands)
		if group.ID != groupServer && shared.HasFlags() {
			fmt.Fprintf(&page, "\nAll of these take the flags\n\n%s\n", indent(shared.FlagUsages()))
		}
		for _, c := range commands {
			describe(&page, c, shared)
		}
	}
	page.WriteString("\n## The rest\n")
	for _, c := range root.Commands() {
		if c.GroupID == "" && c.Name() != "completion" && c.Name() != "help" {
			describe(&page, c, nil)
		}
	}
	page.WriteString("\n`latchkey completion bash`, `zsh`, `fish` and `powershell` print shell completions.\n")
	if *update {
		if err := os.WriteFile(docsFile, []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(kept) != page.String() {
		t.Error("docs/cli.md is not what the commands say; run: go test ./cmd/latchkey -run TestDocs -update")
	}
}

// leaves are the commands that do something: c, or those below it.
func leaves(c *cobra.Command) []*cobra.Command {
	if !c.HasSubCommands() {
		return []*cobra.Command{c}
	}
	var all []*cobra.Command
	for _, below := range c.Commands() {
		all = append(all, leaves(below)...)
	}
	return all
}

// sharedFlags are the flags that all of the commands have, meaning the same.
func sharedFlags(commands []*cobra.Command) *pflag.FlagSet {
	shared := pflag.NewFlagSet("shared", pflag.ContinueOnError)
	commands[0].Flags().VisitAll(func(f *pflag.Flag) {
		lacks := func(c *cobra.Command) bool {
			same := c.Flags().Lookup(f.Name)
			return same == nil || same.Usage != f.Usage
		}
		if !slices.ContainsFunc(commands, lacks) {
			shared.AddFlag(f)
		}
	})
	return shared
}

// describe writes a command's section, without the flags that it shares.
func describe(page *strings.Builder, c *cobra.Command, shared *pflag.FlagSet) {
	text := c.Long
	if text == "" {
		text = c.Short + "."
	}
	if strings.Contains(text, "\n    ") { // laid out in columns
		text = "```\n" + text + "\n```"
	}
	fmt.Fprintf(page, "\n### %s\n\n%s\n", c.CommandPath(), text)
	if !c.Runnable() {
		return
	}
	fmt.Fprintf(page, "\n    %s\n", c.UseLine())
	if c.HasExample() {
		fmt.Fprintf(page, "\nExamples:\n\n%s\n", indent(c.Example))
	}
	own := pflag.NewFlagSet(c.Name(), pflag.ContinueOnError)
	c.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
		if shared == nil || shared.Lookup(f.Name) == nil {
			own.AddFlag(f)
		}
	})
	if own.HasFlags() {
		fmt.Fprintf(page, "\nFlags:\n\n%s\n", indent(own.FlagUsages()))
	}
}

// indent makes a code block of text, which may be indented by two already.
func indent(s string) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	for i, line := range lines {
		lines[i] = "    " + strings.TrimPrefix(line, "  ")
	}
	return strings.Join(lines, "\n")
}
