package ceremony_test

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"

	"latchkey/ceremony"
)

// typist is at the keyboard for every officer, types the two texts for the two
// components, and breaks off before a key is imported.
type typist struct {
	first, second string
	shown         strings.Builder
}

func (y *typist) Show(line string) { y.shown.WriteString(line + "\n") }

func (y *typist) Ask(_ context.Context, prompt string) (string, error) {
	y.shown.WriteString(prompt)
	screen := y.shown.String()
	switch {
	case strings.Contains(prompt, "keyboard") && strings.Contains(screen, "Component 2 of 2"), strings.Contains(prompt, "Cy Diaz"):
		return "Cy Diaz", nil
	case strings.Contains(prompt, "keyboard"), strings.Contains(prompt, "Bo Chen"), strings.Contains(prompt, "Approval 1"):
		return "Bo Chen", nil
	case strings.Contains(prompt, "Anna Berg"), strings.Contains(prompt, "Approval 2"):
		return "Anna Berg", nil
	case strings.Contains(prompt, "Import the key?"):
		return "stop", nil
	}
	return "yes", nil
}

func (y *typist) AskHidden(_ context.Context, prompt string, into []byte) (int, error) {
	text := y.first
	if strings.Contains(prompt, "Component 2") {
		text = y.second
	}
	if len(text) > len(into) {
		return 0, ceremony.ErrTooLong
	}
	return copy(into, text), nil
}

var longHex = regexp.MustCompile(`^[0-9A-Fa-f]{16,}$`)

// Whatever is typed for a component: nothing of it is shown or recorded, and a
// ceremony that is broken off leaves no key.
func FuzzComponents(f *testing.F) {
	f.Add(first, second)
	f.Add(first, first)
	f.Add(strings.Repeat("0", 48), strings.ReplaceAll(second, " ", "-"))
	f.Add("not hex", strings.Repeat("F", 5000))
	f.Add("O1l0 "+first[5:], "\xff\xfe")
	r := newRoom(f)
	steps := strings.Replace(components, "      kcv: 4EBA73\n", "", 1)
	f.Fuzz(func(t *testing.T, one, two string) {
		y := &typist{first: one, second: two}
		record := t.TempDir() + "/record.json"
		_, err := ceremony.Run(t.Context(), r.script(t, steps), ceremony.Options{
			HSM: r.token, Signer: r.signer, Console: y, Record: record, Tool: "test", Now: clock(),
		})
		if err == nil {
			t.Error("a ceremony that was broken off ended well")
		}
		if keys := r.keys(t); len(keys) != 0 {
			t.Errorf("keys in the token: %v", keys)
		}
		text, err := os.ReadFile(record)
		if err != nil {
			t.Fatal(err)
		}
		told := strings.ToLower(string(text) + y.shown.String())
		for _, typed := range []string{one, two} {
			if plain := strings.NewReplacer(" ", "", "-", "").Replace(typed); longHex.MatchString(plain) && strings.Contains(told, strings.ToLower(plain)) {
				t.Error("a component is on the screen or in the record")
			}
		}
	})
}
