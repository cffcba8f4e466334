// Package words holds what the console says, in each of its languages, and puts it
// into the words, the plurals and the clock of one reader.
//
// The texts are in files beside this one, ROOM.LANGUAGE.yaml: one for each group of
// pages and language. A key is there in every language, with the same placeholders
// in it, which the tests see to. A text is plain but for **what matters** and `what is
// typed or read as it is`, which pages show as <strong> and <code>.
//
// Plural forms are CLDR's, by go-i18n: the text has "one" and "other", and is asked
// for with a value named count.
package words

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nicksnyder/go-i18n/v2/i18n"
	texttemplate "github.com/nicksnyder/go-i18n/v2/i18n/template"
	"go.yaml.in/yaml/v3"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

//go:embed *.yaml
var files embed.FS

// Language is one that the console speaks, by its BCP 47 tag.
type Language string

// The languages. The first is spoken to whoever understands none of them.
const (
	English Language = "en"
	Swedish Language = "sv"
	German  Language = "de"
)

// Languages lists the languages in the order of the menu.
func Languages() []Language { return []Language{English, Swedish, German} }

// Name is what those who speak it call the language.
func (l Language) Name() string {
	switch l {
	case Swedish:
		return "Svenska"
	case German:
		return "Deutsch"
	default:
		return "English"
	}
}

// Catalogue is the texts of all languages.
type Catalogue struct {
	bundle  *i18n.Bundle
	matcher language.Matcher
}

// Load reads the texts that are built in.
func Load() (*Catalogue, error) {
	c := &Catalogue{bundle: i18n.NewBundle(language.English)}
	c.bundle.RegisterUnmarshalFunc("yaml", yaml.Unmarshal)
	list, err := files.ReadDir(".")
	if err != nil {
		return nil, fmt.Errorf("console texts: %w", err)
	}
	for _, f := range list {
		text, err := files.ReadFile(f.Name())
		if err == nil {
			_, err = c.bundle.ParseMessageFileBytes(text, path.Base(f.Name()))
		}
		if err != nil {
			return nil, fmt.Errorf("console texts: %s: %w", f.Name(), err)
		}
	}
	var tags []language.Tag
	for _, l := range Languages() {
		tags = append(tags, language.Make(string(l)))
	}
	c.matcher = language.NewMatcher(tags)
	return c, nil
}

// Choose is the language for somebody who chose one, or "", and whose browser sends
// the header Accept-Language.
func (c *Catalogue) Choose(chosen, accept string) Language {
	if l := Language(chosen); slices.Contains(Languages(), l) {
		return l
	}
	wanted, _, err := language.ParseAcceptLanguage(accept)
	if err != nil {
		return English
	}
	_, i, _ := c.matcher.Match(wanted...)
	return Languages()[i]
}

// For gives the words for a reader of the language, whose clock is in the zone.
func (c *Catalogue) For(l Language, zone *time.Location) Words {
	return Words{
		Language: l, Zone: zone,
		texts: i18n.NewLocalizer(c.bundle, string(l)), numbers: message.NewPrinter(language.Make(string(l))),
	}
}

// Words is what is said to one reader.
type Words struct {
	Language Language
	Zone     *time.Location
	texts    *i18n.Localizer
	numbers  *message.Printer
}

// ErrUnknown says that there is no text of that key.
var ErrUnknown = errors.New("no such text")

// Values are what goes into a text's placeholders, by name. The one named count, a
// whole number, chooses the plural form.
type Values map[string]any

// Pairs makes values of names and values in turn, as templates give them.
func Pairs(list ...any) (Values, error) {
	if len(list)%2 != 0 {
		return nil, errors.New("a value without a name")
	}
	v := Values{}
	for pair := range slices.Chunk(list, 2) {
		name, ok := pair[0].(string)
		if !ok {
			return nil, fmt.Errorf("%v is no name", pair[0])
		}
		v[name] = pair[1]
	}
	return v, nil
}

// Text is a text with its placeholders filled in. It gives ErrUnknown where there is
// no such text, and another error where it wants a value that is not given.
func (w Words) Text(key string, v Values) (string, error) {
	config := &i18n.LocalizeConfig{
		MessageID: key, TemplateData: map[string]any(v), TemplateParser: &texttemplate.TextParser{Option: "missingkey=error"},
	}
	if v == nil {
		config.TemplateData = map[string]any{}
	}
	if count, ok := v["count"]; ok {
		config.PluralCount = count
	}
	text, err := w.texts.Localize(config)
	switch missing := (*i18n.MessageNotFoundErr)(nil); {
	case errors.As(err, &missing) && text == "":
		return "", fmt.Errorf("%s: %w", key, ErrUnknown)
	case err != nil && !errors.As(err, &missing):
		return "", fmt.Errorf("%s: %w", key, err)
	}
	return text, nil
}

var (
	strong = regexp.MustCompile(`\*\*([^*]+)\*\*`)
	code   = regexp.MustCompile("`([^`]+)`")
)

// HTML is Text for a page. A value that is HTML goes in as it is; all others are
// escaped, and have no markup.
func (w Words) HTML(key string, v Values) (template.HTML, error) {
	held := Values{}
	var fill []string
	for name, value := range v {
		if name == "count" {
			held[name] = value
			continue
		}
		mark := "\x02" + name + "\x03" // which no text holds, and no escaping changes
		held[name] = mark
		filled, ok := value.(template.HTML)
		if !ok {
			filled = template.HTML(template.HTMLEscapeString(fmt.Sprint(value))) //nolint:gosec // it is escaped
		}
		fill = append(fill, mark, string(filled))
	}
	text, err := w.Text(key, held)
	if err != nil {
		return "", err
	}
	text = template.HTMLEscapeString(text)
	text = strong.ReplaceAllString(text, "<strong>$1</strong>")
	text = code.ReplaceAllString(text, "<code>$1</code>")
	return template.HTML(strings.NewReplacer(fill...).Replace(text)), nil //nolint:gosec // the texts are ours, the values are escaped
}

// Number writes a number as the language does.
func (w Words) Number(n any) string { return w.numbers.Sprint(n) }

// When is a moment with its date, for a page: as the reader's clock shows it, with
// its zone, and in UTC for machines.
func (w Words) When(t time.Time) (template.HTML, error) { return w.moment("time.full", t) }

// Clock is When without the date.
func (w Words) Clock(t time.Time) (template.HTML, error) { return w.moment("time.clock", t) }

func (w Words) moment(key string, t time.Time) (template.HTML, error) {
	text, err := w.at(key, t)
	if err != nil {
		return "", err
	}
	return template.HTML(fmt.Sprintf(`<time datetime="%s">%s</time>`, t.UTC().Format(time.RFC3339), template.HTMLEscapeString(text))), nil //nolint:gosec // it is escaped
}

// at writes a moment as the text of the key says.
func (w Words) at(key string, t time.Time) (string, error) {
	t = t.In(w.Zone)
	names, err := w.Text("time.months", nil)
	if err != nil {
		return "", err
	}
	months := strings.Fields(names)
	if len(months) != 12 {
		return "", fmt.Errorf("time.months has %d", len(months))
	}
	return w.Text(key, Values{
		"day": t.Day(), "month": months[t.Month()-1], "year": t.Year(), "clock": t.Format("15:04"), "zone": t.Format("MST"),
	})
}

// Zone is a time zone that a reader can choose.
type Zone struct{ ID, Name string }

// Zones lists the time zones of the menu beside the one that is configured, in the
// order of their names: a town or two for each that people live in.
func Zones(configured *time.Location) []Zone {
	var list []Zone
	for _, id := range strings.Fields(zones) {
		if id != configured.String() {
			list = append(list, Zone{id, strings.ReplaceAll(id, "_", " ")})
		}
	}
	slices.SortFunc(list, func(a, b Zone) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

const zones = `
UTC
Africa/Cairo Africa/Johannesburg Africa/Lagos Africa/Nairobi
America/Anchorage America/Argentina/Buenos_Aires America/Bogota America/Chicago America/Denver America/Halifax
America/Los_Angeles America/Mexico_City America/New_York America/Phoenix America/Sao_Paulo America/St_Johns
Asia/Bangkok Asia/Dhaka Asia/Dubai Asia/Hong_Kong Asia/Jakarta Asia/Karachi Asia/Kathmandu Asia/Kolkata
Asia/Riyadh Asia/Seoul Asia/Shanghai Asia/Singapore Asia/Tehran Asia/Tokyo
Atlantic/Azores Atlantic/Reykjavik Australia/Adelaide Australia/Brisbane Australia/Perth Australia/Sydney
Europe/Athens Europe/Berlin Europe/Helsinki Europe/Istanbul Europe/Lisbon Europe/London Europe/Madrid
Europe/Paris Europe/Stockholm Europe/Vienna Europe/Warsaw Europe/Zurich
Pacific/Auckland Pacific/Honolulu`
