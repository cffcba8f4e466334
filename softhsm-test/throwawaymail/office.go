// Package throwawaymail is a mail server for tests: a real one, with TLS and passwords,
// which keeps what it is sent and refuses what a test wants.
package throwawaymail

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Office is an SMTP server that keeps what it is sent.
type Office struct {
	Address  string // host:port, also before it is open
	CA       string // PEM file, once it is open
	Password string // empty where it wants none

	mu       sync.Mutex
	refusals []*smtp.SMTPError // of the next recipients, in turn; nil is none
	mails    []Letter
}

// Letter is a mail.
type Letter struct {
	To     string // the last recipient
	Text   string // as it came, but with lines joined that quoted-printable breaks
	Secure bool   // it came over TLS
	User   string // who sent it, by password
}

// New makes an Office that is closed.
func New(t testing.TB) *Office {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &Office{Address: l.Addr().String()}
	_ = l.Close() // nobody else gets the port so soon
	return o
}

// Open has the Office take mails until the test ends, with the certificate of a test
// server. change, unless it is nil, changes the server before.
func (o *Office) Open(t testing.TB, change func(*smtp.Server)) {
	t.Helper()
	web := httptest.NewTLSServer(nil)
	defer web.Close()
	o.CA = filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw})
	if err := os.WriteFile(o.CA, block, 0o600); err != nil {
		t.Fatal(err)
	}
	s := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return &counter{office: o, conn: c}, nil }))
	s.Domain = "localhost"
	s.TLSConfig = &tls.Config{Certificates: web.TLS.Certificates, MinVersion: tls.VersionTLS12}
	s.ErrorLog = quiet{}
	if change != nil {
		change(s)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", o.Address)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

// Refuse has the next recipients refused, in turn; nil takes one.
func (o *Office) Refuse(list ...*smtp.SMTPError) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refusals = append(o.refusals, list...)
}

// Mails are those that came.
func (o *Office) Mails() []Letter {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]Letter{}, o.mails...)
}

// Until waits for so many mails.
func (o *Office) Until(t testing.TB, n int) []Letter {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if got := o.Mails(); len(got) >= n {
			return got
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%d mails, want %d", len(o.Mails()), n)
	return nil
}

// counter is one connection.
type counter struct {
	office *Office
	conn   *smtp.Conn
	user   string
	to     string
}

func (c *counter) AuthMechanisms() []string {
	if c.office.Password == "" {
		return nil
	}
	return []string{sasl.Plain}
}

func (c *counter) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if password != c.office.Password {
			return errors.New("no")
		}
		c.user = user
		return nil
	}), nil
}

func (c *counter) Mail(string, *smtp.MailOptions) error {
	if c.office.Password != "" && c.user == "" {
		return smtp.ErrAuthRequired
	}
	return nil
}

func (c *counter) Rcpt(to string, _ *smtp.RcptOptions) error {
	c.office.mu.Lock()
	defer c.office.mu.Unlock()
	if list := c.office.refusals; len(list) != 0 {
		c.office.refusals = list[1:]
		if list[0] != nil {
			return list[0]
		}
	}
	c.to = to
	return nil
}

func (c *counter) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	_, secure := c.conn.TLSConnectionState()
	c.office.mu.Lock()
	defer c.office.mu.Unlock()
	c.office.mails = append(c.office.mails, Letter{c.to, string(bytes.ReplaceAll(text, []byte("=\r\n"), nil)), secure, c.user})
	return nil
}

func (c *counter) Reset()        { c.to = "" }
func (c *counter) Logout() error { return nil }

// Header is a header of the mail, by its name; empty where it is not there.
func (l Letter) Header(name string) string {
	head, _, _ := strings.Cut(l.Text, "\r\n\r\n")
	for line := range strings.SplitSeq(head, "\r\n") {
		if value, ok := strings.CutPrefix(line, name+": "); ok {
			return value
		}
	}
	return ""
}
