// Package strictyaml reads YAML files that people write and others review: an
// unknown key, a wrong type or a second document is a fault, all faults are listed
// at once, each with its line, and none repeats a value, which may be a secret in
// a wrong place.
package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// Faults is every fault of a file, each with its place.
type Faults struct {
	File   string
	Faults []string
}

func (f *Faults) Error() string {
	noun := "faults"
	if len(f.Faults) == 1 {
		noun = "fault"
	}
	return fmt.Sprintf("%s has %d %s:\n  - %s", f.File, len(f.Faults), noun, strings.Join(f.Faults, "\n  - "))
}

// Decode reads the YAML into a T and lists what does not fit. It is not ok where
// nothing was read that could be checked further. Named types in T that are
// exported have to be text, the others mappings.
func Decode[T any](text []byte) (v T, faults []string, ok bool) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	err := decoder.Decode(&v)
	var wrong *yaml.TypeError
	switch {
	case errors.Is(err, io.EOF):
		return v, []string{"there is nothing in it"}, false
	case errors.As(err, &wrong):
		for _, e := range wrong.Errors {
			faults = append(faults, plain(e))
		}
	case err != nil:
		return v, []string{strings.TrimPrefix(err.Error(), "yaml: ")}, false
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		faults = append(faults, "there is more behind the first YAML document; take out the line \"---\" or \"...\"")
	}
	return v, faults, len(faults) == 0 || !reflect.ValueOf(v).IsZero()
}

// plain turns the YAML library's words, which name Go types, into a reader's.
// They quote the value too, which is left out.
func plain(e string) string {
	line, rest, _ := strings.Cut(e, ": ")
	if field, ok := strings.CutPrefix(rest, "field "); ok {
		if name, _, ok := strings.Cut(field, " not found in type "); ok {
			return fmt.Sprintf("%s: unknown key %q", line, name)
		}
	}
	if i := strings.LastIndex(rest, " into "); i >= 0 {
		return line + ": must be " + wanted(rest[i+len(" into "):])
	}
	return e
}

// wanted says what the file needs where the code has the given Go type.
func wanted(goType string) string {
	_, name, named := strings.Cut(goType, ".")
	switch {
	case goType == "bool":
		return "true or false"
	case strings.HasPrefix(goType, "[]"):
		return "a list"
	case goType == "string", named && unicode.IsUpper(rune(name[0])):
		return "text"
	}
	return "a mapping with keys of its own"
}

// Misread is the fault of a scalar with a reader of its own, which the YAML
// library collects with the others. wanted is as in "a whole number".
func Misread(node *yaml.Node, wanted string) error {
	return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: must be %s", node.Line, wanted)}}
}

// Whole is a whole number, where one is given. It has to be written plainly: YAML
// itself would take 1.5 for 1, and 010 for 8.
type Whole struct {
	given bool
	n     int
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (w *Whole) UnmarshalYAML(node *yaml.Node) error {
	n, err := strconv.Atoi(node.Value)
	if err != nil || strconv.Itoa(n) != node.Value {
		return Misread(node, "a whole number")
	}
	*w = Whole{true, n}
	return nil
}

// Given tells whether there is one.
func (w Whole) Given() bool { return w.given }

// Or is the number, or otherwise where none is given.
func (w Whole) Or(otherwise int) int {
	if w.given {
		return w.n
	}
	return otherwise
}
