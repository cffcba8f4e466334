package policy

import (
	"fmt"
	"strings"
)

// Fault is one thing wrong with a set of policies.
type Fault struct {
	// File is the name of the source, or of the folder where that is at fault.
	File string `json:"file"`
	// Line and Column count from 1, columns in characters; both are 0 where the
	// fault is in no one place.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
	// Policy is the @id of the policy at fault, where it has one.
	Policy string `json:"policy,omitempty"`
	What   string `json:"what"`
}

// String is FILE:LINE:COLUMN: WHAT, as editors and compilers have it.
func (f Fault) String() string {
	if f.Line == 0 {
		return f.File + ": " + f.What
	}
	return fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Column, f.What)
}

// Faults is everything that is wrong with a set of policies, by files and places.
type Faults []Fault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i := range f {
		lines[i] = f[i].String()
	}
	return strings.Join(lines, "\n")
}
