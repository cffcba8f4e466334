package notify_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/notify"
)

func sound() notify.Settings {
	return notify.Settings{
		Language: "en", GiveUp: time.Hour,
		Mail: &notify.Mail{
			Server: "mail.example.org:587", Security: notify.StartTLS, From: "latchkey@example.org", Holder: true,
			Events: notify.Events(), Timeout: time.Second,
		},
		Webhooks: []notify.Webhook{{Name: "chat", URL: "https://chat.example.org/", SecretFile: "secret", Events: notify.Events(), Timeout: time.Second}},
	}
}

func faultsOf(s notify.Settings) []string {
	var list []string
	for _, f := range s.Faults() {
		list = append(list, f.String())
	}
	return list
}

func TestSettingsFaults(t *testing.T) {
	t.Parallel()
	if faults := faultsOf(sound()); faults != nil {
		t.Fatalf("sound settings: %q", faults)
	}
	if faults := faultsOf(notify.Settings{GiveUp: time.Hour}); len(faults) != 1 {
		t.Errorf("nobody is told: %q", faults)
	}
	s := sound()
	s.GiveUp, s.Contact, s.Language = time.Second, "a\nb", "fi"
	*s.Mail = notify.Mail{
		Server: "mail.example.org", Security: "none", Username: "u", From: "nobody\r\nBcc: eve@example.org",
		Desk: []string{"desk@example.org, eve@example.org", "Desk <desk@example.org>"}, Events: []notify.Event{"answered", "answered", "lost"}, Timeout: time.Hour,
	}
	s.Webhooks = append(s.Webhooks, notify.Webhook{Name: "chat", URL: "http://u:p@chat.example.org/", Certificate: "c"})
	faults := faultsOf(s)
	for _, want := range []string{
		"give_up: must be", "contact: has a control", `language: there are no templates for "fi"`, "email.server: ", `email.security: "none" is not`,
		"email.username: username and password_file go together", "email.from: ", "email.desk[0]: ", "email.desk[1]: ",
		`email.events: "answered"`, `email.events: "lost"`, "email.timeout: ", "webhooks[1].name: another webhook", "webhooks[1].url: ",
		"webhooks[1].certificate: ", "webhooks[1].secret_file: ", "webhooks[1].timeout: ", "webhooks[1].events: is empty",
	} {
		if !slices.ContainsFunc(faults, func(f string) bool { return strings.HasPrefix(f, want) }) {
			t.Errorf("no fault %q in\n%s", want, strings.Join(faults, "\n"))
		}
	}
	if len(faults) != 18 {
		t.Errorf("%d faults:\n%s", len(faults), strings.Join(faults, "\n"))
	}
	s = sound()
	s.Mail.Holder = false
	if faults := faultsOf(s); len(faults) != 1 || !strings.HasPrefix(faults[0], "email.desk: is empty") {
		t.Errorf("mail for nobody: %q", faults)
	}
}

// An administrator's own templates are tried at the start, every one of them, and every
// fault is told.
func TestTemplateFaults(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"one is enough": {map[string]string{"holder.en.txt": `{{define "subject"}}S{{end}}Text {{.Card}}`}, nil},
		"another language": {map[string]string{
			"holder.fr.txt": `{{define "subject"}}S{{end}}Texte`, "holder.fr.html": "x", "desk.fr.txt": `{{define "subject"}}S{{end}}Texte`, "desk.fr.html": "x",
		}, nil},
		"many": {map[string]string{
			"holder.en.txt": `no subject`, "desk.en.txt": `{{define "subject"}}S{{end}}{{if}}`, "desk.en.html": "{{.Card", "holder.txt": "x", "notes.md": "x",
		}, []string{`holder.en.txt: defines no "subject"`, "desk.en.txt: ", "desk.en.html: ", "holder.txt: is not called", "notes.md: is not called"}},
		"an unknown value":        {map[string]string{"holder.en.txt": `{{define "subject"}}S{{end}}{{.PIN}}`}, []string{"holder.en: "}},
		"only where it is done":   {map[string]string{"holder.en.html": `{{if eq .Event "completed"}}{{.Response}}{{end}}`}, []string{"holder.en: "}},
		"only where it is his":    {map[string]string{"desk.en.html": `{{if .SelfService}}{{.Nothing}}{{end}}`}, []string{"desk.en: "}},
		"a subject of nothing":    {map[string]string{"holder.en.txt": `{{define "subject"}} {{end}}Text`}, []string{"holder.en: the subject is empty"}},
		"a subject that is long":  {map[string]string{"holder.en.txt": `{{define "subject"}}` + strings.Repeat("s", 257) + `{{end}}Text`}, []string{"holder.en: the subject has more"}},
		"no text":                 {map[string]string{"holder.en.txt": `{{define "subject"}}S{{end}}`}, []string{"holder.en: the text is empty"}},
		"a text without end":      {map[string]string{"desk.en.html": `{{range 100000}}{{$.Card}}{{end}}`}, []string{"desk.en: "}},
		"half a language":         {map[string]string{"holder.fr.txt": `{{define "subject"}}S{{end}}Texte`}, []string{"desk.fr: there have to be", "holder.fr: there have to be"}},
		"a link that leaves HTML": {map[string]string{"holder.en.html": `<a href="{{.Card}}`}, []string{"holder.en: "}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := sound()
			s.Templates = t.TempDir()
			for file, text := range test.files {
				if err := os.WriteFile(filepath.Join(s.Templates, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			faults := faultsOf(s)
			for _, want := range test.want {
				if !slices.ContainsFunc(faults, func(f string) bool { return strings.HasPrefix(f, "templates: "+want) }) {
					t.Errorf("no fault %q in\n%s", want, strings.Join(faults, "\n"))
				}
			}
			if len(faults) != len(test.want) {
				t.Errorf("faults:\n%s", strings.Join(faults, "\n"))
			}
		})
	}
	s := sound()
	s.Templates = filepath.Join(t.TempDir(), "none")
	if faults := faultsOf(s); len(faults) != 1 || !strings.HasSuffix(faults[0], "is not a folder") {
		t.Errorf("no folder: %q", faults)
	}
}
