package notify

import (
	"embed"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	texttemplate "text/template"
	"time"

	"latchkey/card"
)

//go:embed templates
var builtIn embed.FS

// Data is what templates can name.
type Data struct {
	Event       string // answered or completed
	SelfService bool   // the holder did it himself
	When        string // date, time and zone
	Holder      string // name
	Card        string // serial number
	CardType    string // name
	Process     string // ID
	Operator    string // ID
	Client      string // name
	Ticket      string // may be empty
	Contact     string // notify.contact; may be empty
}

func (c Config) dataOf(f filled) Data {
	zone := c.Zone
	if zone == nil {
		zone = time.UTC
	}
	return Data{
		Event: string(f.Event), SelfService: f.Self, When: f.At.In(zone).Format("2006-01-02 15:04 MST"),
		Holder: f.card.Holder.Name, Card: f.card.Serial, CardType: f.kind.Name,
		Process: f.Process, Operator: f.Operator, Client: f.Client, Ticket: f.Ticket, Contact: c.Contact,
	}
}

// audience is who reads a mail.
type audience string

const (
	holder audience = "holder"
	desk   audience = "desk"
)

// Limits on what a template makes, in bytes.
const (
	maxSubject = 256
	maxBody    = 64 << 10
	maxSource  = 64 << 10
)

// fileName is what a template's file is called: for whom, in which language, and what it
// makes.
var fileName = regexp.MustCompile(`^(holder|desk)\.([a-z]{2,3}(?:-[A-Za-z0-9]{2,8})*)\.(txt|html)$`)

// templates are those of one language, by audience. The text defines "subject".
type templates struct {
	text map[audience]*texttemplate.Template
	html map[audience]*htmltemplate.Template
}

// written is a mail that a template made.
type written struct{ subject, plain, html string }

// loadTemplates reads the templates that are built in and those of the folder, which
// come first, tries all of them out, and lists every fault.
func loadTemplates(s Settings) (*templates, []card.Fault) {
	var faults []card.Fault
	fault := func(file, format string, args ...any) {
		faults = append(faults, card.Fault{Field: "templates", Detail: file + ": " + fmt.Sprintf(format, args...)})
	}
	sources := map[string]string{}
	inside, err := fs.Sub(builtIn, "templates")
	if err != nil {
		return nil, []card.Fault{{Field: "templates", Detail: err.Error()}}
	}
	read(inside, sources, fault)
	if s.Templates != "" {
		if info, err := os.Stat(s.Templates); err != nil || !info.IsDir() {
			return nil, []card.Fault{{Field: "templates", Detail: s.Templates + " is not a folder"}}
		}
		read(os.DirFS(s.Templates), sources, fault)
	}
	languages := map[string]*templates{}
	for name, source := range sources {
		part := fileName.FindStringSubmatch(name)
		if part == nil {
			fault(name, "is not called as a template is: holder or desk, a language, and txt or html, such as holder.en.txt")
			continue
		}
		of := languages[part[2]]
		if of == nil {
			of = &templates{map[audience]*texttemplate.Template{}, map[audience]*htmltemplate.Template{}}
			languages[part[2]] = of
		}
		who := audience(part[1])
		if part[3] == "txt" {
			t, err := texttemplate.New(name).Parse(source)
			if err == nil && t.Lookup("subject") == nil {
				err = errors.New(`defines no "subject"`)
			}
			if err != nil {
				fault(name, "%v", err)
				continue
			}
			of.text[who] = t
		} else {
			t, err := htmltemplate.New(name).Parse(source)
			if err != nil {
				fault(name, "%v", err)
				continue
			}
			of.html[who] = t
		}
	}
	if len(faults) == 0 {
		for language, of := range languages {
			of.try(language, fault)
		}
		if languages[s.Language] == nil {
			faults = append(faults, card.Fault{Field: "language", Detail: fmt.Sprintf("there are no templates for %q", s.Language)})
		}
	}
	slices.SortFunc(faults, func(a, b card.Fault) int { return strings.Compare(a.Detail, b.Detail) })
	return languages[s.Language], faults
}

// read adds the files of a folder to what was read before.
func read(folder fs.FS, into map[string]string, fault report) {
	list, err := fs.ReadDir(folder, ".")
	if err != nil {
		fault("the folder", "%v", err)
		return
	}
	for _, f := range list {
		if strings.HasPrefix(f.Name(), ".") {
			continue
		}
		if info, err := fs.Stat(folder, f.Name()); err != nil || !info.Mode().IsRegular() || info.Size() > maxSource {
			fault(f.Name(), "is not a file of %d bytes at most", maxSource)
			continue
		}
		text, err := fs.ReadFile(folder, f.Name())
		if err != nil {
			fault(f.Name(), "%v", err)
			continue
		}
		into[f.Name()] = string(text)
	}
}

// try has every template make mails of samples.
func (t *templates) try(language string, fault report) {
	for _, who := range []audience{holder, desk} {
		if t.text[who] == nil || t.html[who] == nil {
			fault(fmt.Sprintf("%s.%s", who, language), "there have to be a file .txt and a file .html")
			continue
		}
		var wrong error
		for _, event := range Events() {
			for _, self := range []bool{false, true} {
				f := sample(event, self)
				for _, contact := range []string{"", "the service desk, telephone 1234"} {
					if _, err := t.write(who, Config{Settings: Settings{Contact: contact}}.dataOf(f)); err != nil && wrong == nil {
						wrong = err
					}
				}
			}
		}
		if wrong != nil {
			fault(fmt.Sprintf("%s.%s", who, language), "%v", wrong)
		}
	}
}

// sample is a message for trials.
func sample(event Event, self bool) filled {
	at := time.Date(2026, time.March, 2, 9, 30, 0, 0, time.UTC)
	f := filled{
		Message: Message{
			Event: event, Self: self, At: at, Card: "SAMPLE-1", Process: "00000000-0000-0000-0000-000000000000",
			Operator: "sample.operator", Client: "sample-client", Ticket: "TRIAL",
		},
		card: card.Card{Serial: "SAMPLE-1", Type: "sample", Holder: card.Holder{ID: "sample", Name: "Sam Ple <trial>"}},
		kind: card.Type{ID: "sample", Name: "Sample card"},
	}
	return f
}

// write makes a mail. An error says that a template fails, or makes what is no mail.
func (t *templates) write(who audience, d Data) (written, error) {
	var subject, plain, html limited
	if err := t.text[who].ExecuteTemplate(&subject, "subject", d); err != nil {
		return written{}, err
	}
	if err := t.text[who].Execute(&plain, d); err != nil {
		return written{}, err
	}
	if err := t.html[who].Execute(&html, d); err != nil {
		return written{}, err
	}
	// What came into a subject by a value stays in it: a line break would begin another
	// header.
	line := strings.Join(strings.FieldsFunc(subject.String(), func(r rune) bool { return r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 }), " ")
	switch line = strings.TrimSpace(line); {
	case line == "":
		return written{}, errors.New("the subject is empty")
	case len(line) > maxSubject:
		return written{}, fmt.Errorf("the subject has more than %d bytes", maxSubject)
	case strings.TrimSpace(plain.String()) == "":
		return written{}, errors.New("the text is empty")
	}
	return written{line, strings.TrimLeft(plain.String(), "\r\n"), strings.TrimLeft(html.String(), "\r\n")}, nil
}

// limited is a text that does not grow beyond maxBody.
type limited struct{ strings.Builder }

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > maxBody {
		return 0, fmt.Errorf("it has more than %d bytes", maxBody)
	}
	return l.Builder.Write(p)
}

var _ io.Writer = (*limited)(nil)
