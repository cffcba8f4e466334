package family

import (
	"fmt"
	"strings"

	"latchkey/card"
)

// markdown is docs/profiles/families.md: a table of the families, then a section
// for each.
func markdown(families []Family) string {
	var page strings.Builder
	page.WriteString("# Card families\n\n" +
		"This page is made from `card/family/*.yaml`: `go test ./card/family -update`. [README.md](README.md) says how to use it.\n\n" +
		"| family | challenge, bytes | response | admin key | wrong responses survived | unblocked by |\n|---|---|---|---|---|---|\n")
	for _, f := range families {
		length := "open"
		if f.ChallengeLength != 0 {
			length = fmt.Sprint(f.ChallengeLength)
		}
		cells := []string{length, orOpen(string(f.Algorithm)), orOpen(string(f.CardKeyType)), card.RetryLimit(f.WrongResponses).String(), "challenge and response"}
		if f.Unblock == PUKOnly {
			cells = []string{"", "", "", "", "**PUK only**"}
		}
		fmt.Fprintf(&page, "| [`%s`](#%s) | %s |\n", f.ID, f.ID, strings.Join(cells, " | "))
	}
	for _, f := range families {
		fmt.Fprintf(&page, "\n## %s\n\n%s.\n\n", f.ID, f.Name)
		if f.Why != "" {
			fmt.Fprintf(&page, "Refused in a profile: %s.\n\n", f.Why)
		}
		if f.FactoryKey != "" {
			fmt.Fprintf(&page, "Admin key from the factory: %s.\n\n", f.FactoryKey)
		}
		if f.Notes != "" {
			fmt.Fprintf(&page, "%s\n", f.Notes)
		}
		for _, s := range f.Sources {
			title := s.Title
			if s.URL != "" {
				title = fmt.Sprintf("[%s](%s)", s.Title, s.URL)
			}
			fmt.Fprintf(&page, "- %s: %s.\n", title, s.Says)
		}
	}
	return page.String()
}

func orOpen(s string) string {
	if s == "" {
		return "open"
	}
	return "`" + s + "`"
}
