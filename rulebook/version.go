package rulebook

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/aymanbagabas/go-udiff"

	"latchkey/card"
	"latchkey/dualcontrol"
	"latchkey/policy"
)

// MaxTexts is the most bytes of a version's texts together: officers have to read
// them.
const MaxTexts = 256 << 10

// Draft is a change of the policies that is to be proposed.
type Draft struct {
	// Policies are the texts of the whole set, not of what changes in it.
	Policies []policy.Source
	// Restores is the version whose texts are proposed again, in place of Policies;
	// nil for none.
	Restores *int
	Note     string // why, for the other officers and the audit log
}

// Faults lists what is wrong with the draft apart from the policies themselves.
func (d Draft) Faults() []card.Fault {
	var faults []card.Fault
	add := func(field, format string, args ...any) {
		faults = append(faults, card.Fault{Field: field, Detail: fmt.Sprintf(format, args...)})
	}
	if fault := card.TextFault(d.Note, card.MaxText, false); fault != "" {
		add("note", "%s", fault)
	}
	switch {
	case d.Restores != nil && len(d.Policies) != 0:
		add("restores", "a version is restored as it was; leave the policies out")
	case d.Restores == nil && len(d.Policies) == 0:
		add("policies", "is required: the texts of the whole set, or the version that is restored")
	}
	return append(faults, TextFaults(d.Policies)...)
}

// TextFaults lists what is wrong with the names and lengths of texts.
func TextFaults(texts []policy.Source) []card.Fault {
	var faults []card.Fault
	add := func(field string, i int, format string, args ...any) {
		faults = append(faults, card.Fault{Field: fmt.Sprintf(field, i), Detail: fmt.Sprintf(format, args...)})
	}
	names, total := make(map[string]bool), 0
	for i, s := range texts {
		fault := card.TextFault(s.Name, card.MaxID, true)
		switch {
		case fault != "":
		case filepath.Base(s.Name) != s.Name || filepath.Ext(s.Name) != ".cedar":
			fault = "must be the name of a file that ends in .cedar, without a folder"
		case names[s.Name]:
			fault = "is there twice"
		}
		if fault != "" {
			add("policies[%d].name", i, "%s", fault)
		}
		names[s.Name] = true
		total += len(s.Text)
		if place := unseen(s.Text); place != "" {
			add("policies[%d].text", i, "has a character at %s that is not seen as it is: officers could not tell what they approve", place)
		}
	}
	if total > MaxTexts {
		faults = append(faults, card.Fault{Field: "policies", Detail: fmt.Sprintf("have more than %d bytes together", MaxTexts)})
	}
	return faults
}

// Visible tells whether a character of a text is shown as what it is. Escapes that
// move a terminal's cursor, and marks that turn the direction of writing, are not.
func Visible(r rune) bool { return unicode.IsPrint(r) || r == '\n' || r == '\t' }

// unseen is the line and column of the first character that is not visible, "" where
// all are. A line may end as Windows ends it.
func unseen(text string) string {
	for n, line := range strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n") {
		column := 0
		for _, r := range line {
			if column++; !Visible(r) {
				return fmt.Sprintf("%d:%d", n+1, column)
			}
		}
	}
	return ""
}

// Statement is everything about a change of the policies that officers approve.
type Statement struct {
	dualcontrol.Header
	// Base is the version that was active when it was proposed. Only its place can the
	// new one take.
	Base        int             `json:"base"`
	Fingerprint string          `json:"fingerprint"` // of Policies, as policy.Engine.Version gives it
	Policies    []policy.Source `json:"policies"`    // in the order of their names
	Restores    *int            `json:"restores,omitempty"`
	Note        string          `json:"note,omitempty"`
}

// Canonical is the statement as JSON in the one form that RFC 8785 allows.
func (s Statement) Canonical() string {
	s.CreatedAt, s.ExpiresAt = s.CreatedAt.UTC(), s.ExpiresAt.UTC()
	return dualcontrol.Canonical(s)
}

// ParseStatement reads the text of Canonical and refuses any other form of it.
func ParseStatement(text string) (Statement, error) { return dualcontrol.Parse[Statement](text) }

// Words says in one sentence what will be done.
func (s Statement) Words() string {
	words := fmt.Sprintf("Decide by these operator policies in place of version %d: %s", s.Base, count(len(s.Policies), "file"))
	if s.Restores != nil {
		words += fmt.Sprintf(", those of version %d", *s.Restores)
	}
	return words + fmt.Sprintf(", fingerprint %s.", s.Fingerprint)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Proposal is a change of the policies on its way from being wanted to being active.
type Proposal struct {
	Statement
	dualcontrol.Progress
	// Error says why it failed.
	Error string
}

// Record is what is stored of a version besides the proposal that led to it.
type Record struct {
	Number      int // from 1, without gaps
	Fingerprint string
	Proposal    string // its ID
	ActivatedAt time.Time
}

// Version is a set of policies that is or was active. Of version 0, which is built
// in, only the first three fields are set.
type Version struct {
	Number      int
	Fingerprint string
	Policies    []policy.Source
	Restores    *int
	Note        string
	Proposal    string // its ID
	Proposer    string // client name
	Person      string // behind it, "" where that is not known
	Approved    []dualcontrol.Approval
	ActivatedAt time.Time
}

// versionOf puts a version together. It refuses one whose proposal was not approved
// as it takes.
func versionOf(r Record, p dualcontrol.Proposal) (Version, error) {
	s, err := ParseStatement(p.Text)
	if err == nil {
		err = approved(p)
	}
	if err != nil {
		return Version{}, fmt.Errorf("version %d: %w", r.Number, err)
	}
	return Version{
		Number: r.Number, Fingerprint: r.Fingerprint, Policies: s.Policies, Restores: s.Restores, Note: s.Note,
		Proposal: p.ID, Proposer: p.Proposer, Person: p.Person, Approved: p.Approved, ActivatedAt: r.ActivatedAt,
	}, nil
}

// approved looks whether what the database says was activated was approved before, by
// as many others as its statement says.
func approved(p dualcontrol.Proposal) error {
	officers := make(map[string]bool)
	for _, a := range p.Approved {
		if a.Hash == p.Hash() && a.Officer != p.Proposer {
			officers[a.Officer] = true
		}
	}
	if p.State != dualcontrol.Executed || p.Approvals < 1 || len(officers) < p.Approvals {
		return errors.New("its proposal was not approved as it takes: the database was changed by hand")
	}
	return nil
}

// Diff shows what changes from one set of policies to another, as a unified diff of
// each file that is not the same; "" where all are.
func Diff(from, to []policy.Source, fromName, toName string) string {
	texts := func(sources []policy.Source) map[string]string {
		m := make(map[string]string)
		for _, s := range sources {
			m[s.Name] = s.Text
		}
		return m
	}
	before, after := texts(from), texts(to)
	var diff strings.Builder
	for _, name := range names(from, to) {
		diff.WriteString(udiff.Unified(fromName+"/"+name, toName+"/"+name, before[name], after[name]))
	}
	return diff.String()
}

// names lists the names of files in either set, in order.
func names(sets ...[]policy.Source) []string {
	var names []string
	for _, s := range slices.Concat(sets...) {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
