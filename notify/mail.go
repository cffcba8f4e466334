package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	netmail "net/mail"
	"os"
	"strconv"
	"strings"

	"github.com/wneessen/go-mail"

	"latchkey/trust"
)

const mailChannel = "mail"

// post sends mails.
type post struct {
	Mail
	c         Config
	templates *templates
	tls       *tls.Config
	host      string
	port      int
	domain    string // of the sender, for message IDs
}

func newPost(c Config) (*post, error) {
	p := &post{Mail: *c.Mail, c: c}
	var faults []string
	templates, wrong := loadTemplates(c.Settings)
	for _, f := range wrong {
		faults = append(faults, f.String())
	}
	if len(faults) != 0 {
		return nil, errors.New(strings.Join(faults, "; "))
	}
	p.templates = templates
	host, port, err := net.SplitHostPort(p.Server)
	if err != nil {
		return nil, err
	}
	p.host = host
	if p.port, err = strconv.Atoi(port); err != nil {
		return nil, err
	}
	from, err := netmail.ParseAddress(p.From)
	if err != nil {
		return nil, err
	}
	_, p.domain, _ = strings.Cut(from.Address, "@")
	if p.tls, err = trust.Outgoing(p.CA, "", ""); err != nil {
		return nil, err
	}
	p.tls.ServerName = host
	return p, nil
}

func (p *post) name() string { return mailChannel }

// send sends the mails over one connection. The password is read anew each time.
func (p *post) send(ctx context.Context, list []filled) []error {
	errs := make([]error, len(list))
	var ready []*mail.Msg
	var whose []int
	for i, f := range list {
		m, err := p.mail(f)
		if err != nil {
			errs[i] = err
			continue
		}
		ready, whose = append(ready, m), append(whose, i)
	}
	if len(ready) == 0 {
		return errs
	}
	if err := p.deliver(ctx, ready); err != nil {
		for n, m := range ready {
			if !m.IsDelivered() {
				errs[whose[n]] = failure(m, err)
			}
		}
	}
	return errs
}

func (p *post) deliver(ctx context.Context, ready []*mail.Msg) (err error) {
	options := []mail.Option{
		mail.WithPort(p.port), mail.WithTimeout(p.Timeout), mail.WithTLSConfig(p.tls), mail.WithTLSPolicy(mail.TLSMandatory),
	}
	switch p.Security {
	case TLS:
		options = append(options, mail.WithSSL())
	case LocalRelay:
		options = append(options, mail.WithTLSPolicy(mail.NoTLS))
	}
	if p.Username != "" {
		password, err := os.ReadFile(p.PasswordFile)
		if err != nil {
			return err
		}
		options = append(options, mail.WithUsername(p.Username), mail.WithPassword(strings.TrimRight(string(password), "\r\n")),
			mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover))
	}
	client, err := mail.NewClient(p.host, options...)
	if err != nil {
		return err
	}
	if err := client.DialWithContext(ctx); err != nil {
		return fmt.Errorf("the mail server cannot be used: %w", err)
	}
	defer func() { _ = client.Close() }() // what was delivered is
	return client.Send(ready...)
}

// failure is why a mail was not delivered, without the address that it is to. What the
// server refuses for good is permanent.
func failure(m *mail.Msg, of error) error {
	var no *mail.SendError
	if !m.HasSendError() || !errors.As(m.SendError(), &no) {
		return of
	}
	err := fmt.Errorf("%s: the server answered %d", no.Reason, no.ErrorCode())
	switch {
	case no.ErrorCode() == 0: // the connection broke
		return fmt.Errorf("%s: the connection failed", no.Reason)
	case no.ErrorCode() >= 500:
		return permanent{err}
	}
	return err
}

// mail writes a mail.
func (p *post) mail(f filled) (*mail.Msg, error) {
	audience, to := desk, f.To
	if f.To == toHolder {
		audience, to = holder, f.card.Holder.Email
		if to == "" {
			return nil, errNobody
		}
		if !bare(to) {
			return nil, permanent{errors.New("the holder's e-mail address is none")}
		}
	}
	text, err := p.templates.write(audience, p.c.dataOf(f))
	if err != nil {
		return nil, permanent{err}
	}
	m := mail.NewMsg()
	if err := m.From(p.From); err != nil {
		return nil, permanent{err}
	}
	if err := m.To(to); err != nil {
		return nil, permanent{errors.New("the address cannot be written to")}
	}
	m.Subject(text.subject)
	m.SetDateWithValue(f.At)
	m.SetMessageIDWithValue(f.ID + "@" + p.domain)
	m.SetUserAgent("Latchkey")
	m.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: nobody's holiday answers
	m.SetBodyString(mail.TypeTextPlain, text.plain)
	m.AddAlternativeString(mail.TypeTextHTML, text.html)
	return m, nil
}
