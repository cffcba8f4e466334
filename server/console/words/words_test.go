package words

import (
	"errors"
	"html/template"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// texts are the texts of a language by key; a plural has its forms under KEY#one and
// KEY#other.
func texts(t *testing.T, l Language) map[string]string {
	t.Helper()
	all := map[string]string{}
	list, err := files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		if !strings.HasSuffix(f.Name(), "."+string(l)+".yaml") {
			continue
		}
		text, err := files.ReadFile(f.Name())
		var tree map[string]any
		if err == nil {
			err = yaml.Unmarshal(text, &tree) // refuses a key that is there twice
		}
		if err != nil {
			t.Fatalf("%s: %v", f.Name(), err)
		}
		flatten(t, f.Name(), "", tree, all)
	}
	return all
}

func flatten(t *testing.T, file, prefix string, tree map[string]any, into map[string]string) {
	t.Helper()
	_, plural := tree["other"]
	for name, value := range tree {
		key := prefix + name
		if plural {
			key = strings.TrimSuffix(prefix, ".") + "#" + name
		}
		switch v := value.(type) {
		case map[string]any:
			flatten(t, file, key+".", v, into)
		case string:
			if _, twice := into[key]; twice {
				t.Errorf("%s: %s is there twice", file, key)
			}
			if v == "" || strings.TrimSpace(v) != v || strings.Contains(v, "\n") {
				t.Errorf("%s: %s is empty, or has a space or a line break that nobody sees", file, key)
			}
			into[key] = v
		default:
			t.Errorf("%s: %s is no text but %T; put it into quotes", file, key, value)
		}
	}
}

var placeholder = regexp.MustCompile(`\{\{\.([a-zA-Z]+)\}\}`)

// placeholders are those of a text, sorted.
func placeholders(text string) []string {
	var names []string
	for _, m := range placeholder.FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Every language has the same texts, with the same placeholders.
func TestLanguagesAgree(t *testing.T) {
	english := texts(t, English)
	for _, l := range Languages()[1:] {
		own := texts(t, l)
		for key := range own {
			if _, ok := english[key]; !ok {
				t.Errorf("%s: %s is left over", l, key)
			}
		}
		for _, key := range slices.Sorted(maps.Keys(english)) {
			text, ok := own[key]
			switch {
			case !ok:
				t.Errorf("%s: %s is missing", l, key)
			case !slices.Equal(placeholders(text), placeholders(english[key])):
				t.Errorf("%s: %s has the placeholders %v, in English %v", l, key, placeholders(text), placeholders(english[key]))
			case strings.Count(text, "**")%2 != 0 || strings.Count(text, "`")%2 != 0:
				t.Errorf("%s: %s has markup that does not end", l, key)
			case strings.Contains(placeholder.ReplaceAllString(text, ""), "{{"):
				t.Errorf("%s: %s has a placeholder that is none", l, key)
			}
		}
	}
}

func load(t *testing.T) *Catalogue {
	t.Helper()
	c, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestChoose(t *testing.T) {
	c := load(t)
	for _, x := range []struct {
		chosen, accept string
		want           Language
	}{
		{"", "", English}, {"", "de-CH, fr;q=0.8", German}, {"", "fr, sv-FI;q=0.5, de;q=0.2", Swedish}, {"", "da", English},
		{"", "en-US,en;q=0.9", English}, {"sv", "de", Swedish}, {"xx", "de", German}, {"", "de;q=x", English},
	} {
		if got := c.Choose(x.chosen, x.accept); got != x.want {
			t.Errorf("chosen %q, accepted %q: %s, want %s", x.chosen, x.accept, got, x.want)
		}
	}
}

func TestWords(t *testing.T) {
	c := load(t)
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 7, 1, 22, 30, 0, 0, time.UTC)
	for l, want := range map[Language]string{
		English: `<time datetime="2026-07-01T22:30:00Z">2 July 2026, 00:30 CEST</time>`,
		Swedish: `<time datetime="2026-07-01T22:30:00Z">2 juli 2026 kl. 00:30 CEST</time>`,
		German:  `<time datetime="2026-07-01T22:30:00Z">2. Juli 2026, 00:30 CEST</time>`,
	} {
		if got, err := c.For(l, berlin).When(at); err != nil || string(got) != want {
			t.Errorf("%s: %s, %v, want %s", l, got, err, want)
		}
	}

	german := c.For(German, time.UTC)
	for count, want := range map[int]string{0: "0 warten", 1: "1 wartet", 7: "7 warten"} {
		if got, err := german.HTML("nav.waiting", Values{"count": count}); err != nil || string(got) != want {
			t.Errorf("%d: %q, %v", count, got, err)
		}
	}
	// A value is escaped, and has no markup; one that is HTML already stays it.
	got, err := german.HTML("message.no-person.detail", Values{"client": "<b>**x**</b>"})
	if err != nil || !strings.Contains(string(got), "&lt;b&gt;**x**&lt;/b&gt;") {
		t.Errorf("%s, %v", got, err)
	}
	got, err = german.HTML("message.no-person.detail", Values{"client": template.HTML("<i>x</i>")})
	if err != nil || !strings.Contains(string(got), " <i>x</i> ") {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := german.Text("message.no-person.detail", nil); err == nil {
		t.Error("a text lacks its value, and nobody hears of it")
	}
	if _, err := german.Text("message.none", nil); !errors.Is(err, ErrUnknown) {
		t.Errorf("no text: %v", err)
	}
	if got := german.Number(1234567); got != "1.234.567" {
		t.Errorf("a number is %s", got)
	}
}

// Every zone of the menu is one.
func TestZones(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	list := Zones(berlin)
	for _, z := range list {
		if _, err := time.LoadLocation(z.ID); err != nil || z.ID == "Europe/Berlin" {
			t.Errorf("%s: %v", z.ID, err)
		}
	}
	if n := len(Zones(time.Local)); n != len(list)+1 {
		t.Errorf("%d zones beside the server's own, %d beside Berlin", n, len(list))
	}
}
