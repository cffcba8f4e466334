package notify

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"latchkey/card"
)

// Settings say who is notified of what, and how.
type Settings struct {
	// Language is that of mails, by its tag: that of templates which are built in (en, sv,
	// de), or of the administrator's own.
	Language string
	// Templates is a folder with the administrator's own templates, which take the place
	// of those built in; empty for none.
	Templates string
	// Contact is where a holder turns who knows nothing of it, as in "the service desk,
	// telephone 1234"; empty where mails are to say "your help desk".
	Contact string
	// GiveUp is how long after the event a message is tried.
	GiveUp   time.Duration
	Mail     *Mail // nil for none
	Webhooks []Webhook
}

// How connections to a mail server are secured.
const (
	StartTLS = "starttls" // required, as for port 587
	TLS      = "tls"      // from the first byte, as for port 465
	// LocalRelay is not secured at all. The server has to be on this machine.
	LocalRelay = "local-relay"
)

// Mail is how mails are sent.
type Mail struct {
	Server   string // host:port
	Security string // StartTLS, TLS or LocalRelay
	CA       string // PEM file that the server's certificate is of, empty for the system's
	// Username and PasswordFile are for SMTP AUTH; both empty where the server wants none.
	Username, PasswordFile string
	From                   string   // a name and an address, or an address
	Holder                 bool     // whether holders are told
	Desk                   []string // addresses
	Events                 []Event
	Timeout                time.Duration // of a connection, and of each message on it
}

// Webhook is a system that is told.
type Webhook struct {
	Name string
	URL  string // https
	// CA, Certificate and Key are PEM files, as for trust.Outgoing.
	CA, Certificate, Key string
	// SecretFile holds the key of the signatures, of 32 bytes or more.
	SecretFile string
	Events     []Event
	Timeout    time.Duration
}

func (w Webhook) channel() string { return "webhook " + w.Name }

// Bounds on times.
const (
	minGiveUp, maxGiveUp   = time.Minute, 30 * 24 * time.Hour
	minTimeout, maxTimeout = time.Second, time.Minute
)

// Faults lists what is wrong with the settings, templates included.
func (s Settings) Faults() []card.Fault {
	var list []card.Fault
	fault := func(field, format string, args ...any) {
		list = append(list, card.Fault{Field: field, Detail: fmt.Sprintf(format, args...)})
	}
	if s.Mail == nil && len(s.Webhooks) == 0 {
		fault("", "name email or webhooks, or leave notify out")
	}
	if s.GiveUp < minGiveUp || s.GiveUp > maxGiveUp {
		fault("give_up", "must be from 1m to 720h")
	}
	if wrong := card.TextFault(s.Contact, card.MaxText, false); wrong != "" {
		fault("contact", "%s", wrong)
	}
	if s.Mail != nil {
		s.Mail.faults(func(field, format string, args ...any) { fault("email."+field, format, args...) })
		_, wrong := loadTemplates(s)
		list = append(list, wrong...)
	}
	names := map[string]bool{}
	for i, w := range s.Webhooks {
		at := fmt.Sprintf("webhooks[%d].", i)
		w.faults(func(field, format string, args ...any) { fault(at+field, format, args...) })
		if names[w.Name] {
			fault(at+"name", "another webhook is called %s", w.Name)
		}
		names[w.Name] = true
	}
	return list
}

type report func(field, format string, args ...any)

func (m Mail) faults(fault report) {
	host, port, err := net.SplitHostPort(m.Server)
	number, wrong := strconv.ParseUint(port, 10, 16)
	if err != nil || host == "" || wrong != nil || number == 0 {
		fault("server", "%q is not host:port; 587 is the port for starttls, 465 for tls", m.Server)
	}
	switch m.Security {
	case StartTLS, TLS:
	case LocalRelay:
		if a, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !a.IsLoopback()) {
			fault("security", "local-relay is for a server on this machine, 127.0.0.1, [::1] or localhost: what goes over a network is secured by starttls or tls")
		}
		if m.Username != "" || m.CA != "" {
			fault("security", "local-relay takes no password and no ca")
		}
	default:
		fault("security", "%q is not starttls, tls or local-relay", m.Security)
	}
	if (m.Username == "") != (m.PasswordFile == "") {
		fault("username", "username and password_file go together")
	}
	if _, err := mail.ParseAddress(m.From); err != nil || strings.ContainsAny(m.From, "\r\n") {
		fault("from", "%q is no address, such as latchkey@example.org or Latchkey <latchkey@example.org>", m.From)
	}
	for i, a := range m.Desk {
		if !bare(a) || slices.Contains(m.Desk[:i], a) {
			fault(fmt.Sprintf("desk[%d]", i), "%q is no address, such as desk@example.org, or is there twice", a)
		}
	}
	if !m.Holder && len(m.Desk) == 0 {
		fault("desk", "is empty and holder is false, so nobody would get a mail")
	}
	if m.Timeout < minTimeout || m.Timeout > maxTimeout {
		fault("timeout", "must be from 1s to 1m")
	}
	eventFaults(m.Events, fault)
}

func (w Webhook) faults(fault report) {
	if wrong := card.TextFault(w.Name, card.MaxID, true); wrong != "" {
		fault("name", "%s", wrong)
	}
	if u, err := url.Parse(w.URL); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		fault("url", "must be https://..., without a password")
	}
	if (w.Certificate == "") != (w.Key == "") {
		fault("certificate", "certificate and key go together")
	}
	if w.SecretFile == "" {
		fault("secret_file", "is missing: it holds the key of the signatures, 32 bytes or more; make one with: openssl rand -hex 32")
	}
	if w.Timeout < minTimeout || w.Timeout > maxTimeout {
		fault("timeout", "must be from 1s to 1m")
	}
	eventFaults(w.Events, fault)
}

func eventFaults(events []Event, fault report) {
	for i, e := range events {
		if !slices.Contains(Events(), e) || slices.Contains(events[:i], e) {
			fault("events", "%q is not one of %s, or is there twice", e, card.Join(Events()))
		}
	}
	if len(events) == 0 {
		fault("events", "is empty, so nothing would be told; name one of %s", card.Join(Events()))
	}
}

// bare tells whether a text is one address and nothing else: no name, no list, and
// nothing that would begin another header.
func bare(address string) bool {
	a, err := mail.ParseAddress(address)
	return err == nil && a.Address == address && a.Name == "" && !strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r == 0x7f || r == ',' || r == ';' })
}

// idOf is the ID of a message: the same each time that it is made of the same entry.
func idOf(origin string, sequence int64, channel, to string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "latchkey notification 1\n%q %d %q %q", origin, sequence, channel, to))
	return hex.EncodeToString(sum[:16])
}
