package policy

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"

	"latchkey/card"
)

//go:embed library/*.cedar
var library embed.FS

// Text is something to read and to copy.
type Text struct {
	Name string `json:"name"`
	// About says in one paragraph what it is for.
	About string `json:"about"`
	Text  string `json:"text"`
}

// Shipped lists what is shipped: the built-in policies as "default", the schema as
// "schema", and the library, policies that hold only where somebody copies them.
func Shipped() ([]Text, error) {
	list := []Text{
		{"default", about(defaultPolicies), defaultPolicies},
		{"schema", about(schemaText), schemaText},
	}
	files, err := library.ReadDir("library")
	if err != nil {
		return nil, fmt.Errorf("read policy library: %w", err)
	}
	for _, f := range files {
		text, err := library.ReadFile(path.Join("library", f.Name()))
		if err != nil {
			return nil, fmt.Errorf("read policy library: %w", err)
		}
		list = append(list, Text{strings.TrimSuffix(f.Name(), ".cedar"), about(string(text)), string(text)})
	}
	return list, nil
}

// Find is the shipped text of that name, or gives card.ErrNotFound.
func Find(name string) (Text, error) {
	list, err := Shipped()
	if err != nil {
		return Text{}, err
	}
	i := slices.IndexFunc(list, func(t Text) bool { return t.Name == name })
	if i < 0 {
		return Text{}, fmt.Errorf("policies %q: %w", name, card.ErrNotFound)
	}
	return list[i], nil
}

// about is the comment that a text begins with, up to its first empty line.
func about(text string) string {
	var words []string
	for line := range strings.Lines(text) {
		comment, ok := strings.CutPrefix(strings.TrimSpace(line), "//")
		if !ok || comment == "" {
			break
		}
		words = append(words, strings.TrimSpace(comment))
	}
	return strings.Join(words, " ")
}
