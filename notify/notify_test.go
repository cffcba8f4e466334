package notify_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"latchkey/audit"
	"latchkey/audit/stream"
	"latchkey/card"
	"latchkey/notify"
	"latchkey/softhsm-test/throwawaymail"
	"latchkey/store"
)

// secret is of no use to anybody but has to be nowhere.
const secret = "correct horse battery staple correct horse"

// house is a store with a card in it, and whoever is told of what happens to it.
type house struct {
	store *store.Store
	logs  *observer.ObservedLogs
	log   *zap.Logger
	dir   string
}

func newHouse(t *testing.T) *house {
	t.Helper()
	dir := t.TempDir()
	s, err := store.Open(t.Context(), filepath.Join(dir, "latchkey.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	core, logs := observer.New(zapcore.DebugLevel)
	h := &house{store: s, logs: logs, log: zap.New(core), dir: dir}
	if _, err := s.PutCardType(t.Context(), card.Type{ID: "staff", Name: "Staff <card>", Profile: "gids"}, audit.Entry{}); err != nil {
		t.Fatal(err)
	}
	h.put(t, card.Holder{ID: "bo", Name: "Bo Ek", Email: "bo@example.org", State: "active"})
	return h
}

func (h *house) put(t *testing.T, holder card.Holder) {
	t.Helper()
	_, err := h.store.PutCard(t.Context(), card.Card{
		Serial: "4711", Type: "staff", State: "active", MasterKeyVersion: 1, Holder: holder, SyncedAt: time.Now(),
	}, audit.Entry{})
	if err != nil {
		t.Fatal(err)
	}
}

// file writes a file that is nobody else's to read.
func (h *house) file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(h.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// happens logs entries as a desk would.
func (h *house) happens(t *testing.T, entries ...audit.Entry) {
	t.Helper()
	for _, e := range entries {
		if e.Time.IsZero() {
			e.Time = time.Now()
		}
		if err := h.store.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

// answered is a response that was given out.
func answered(process string) audit.Entry {
	return audit.Entry{
		Action: audit.UnblockRespond, Outcome: audit.Permit, Client: "idm", Operator: "anna", Card: "4711", Process: process,
		Challenge: "1603EBDF1C8A2E72", Reason: "a reason for the help desk", Ticket: "INC-1",
	}
}

// settings have mails sent through an office.
func (h *house) settings(o *throwawaymail.Office) notify.Settings {
	return notify.Settings{
		Language: "en", GiveUp: time.Hour,
		Mail: &notify.Mail{
			Server: o.Address, Security: notify.StartTLS, CA: o.CA, From: "Latchkey <latchkey@example.org>",
			Holder: true, Desk: []string{"desk@example.org"}, Events: notify.Events(), Timeout: 2 * time.Second,
		},
	}
}

// start runs a node until stop is called.
func (h *house) start(t *testing.T, s notify.Settings) (n *notify.Notifier, stop func()) {
	t.Helper()
	if faults := s.Faults(); len(faults) != 0 {
		t.Fatal(faults)
	}
	n, err := notify.New(notify.Config{
		Settings: s, Cards: h.store, Ledger: h.store, Origin: "latchkey/test", Zone: time.UTC, Logger: h.log, Now: time.Now,
		Wait: func(int) time.Duration { return time.Millisecond },
	})
	if err != nil {
		t.Fatal(err)
	}
	follow, err := stream.New(t.Context(), stream.Config{
		Log: h.store.Log(), Ledger: h.store, Followers: []stream.Follower{{Name: notify.Name, Take: n.Take}}, Logger: h.log, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { n.Run(ctx) })
	running.Go(func() { follow.Run(ctx) })
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(stop)
	return n, stop
}

// idle waits until nothing waits to be sent, and the log is read to its end.
func (h *house) idle(t *testing.T, n *notify.Notifier) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		waiting, err := n.Waiting(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		head, err := h.store.Log().Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		cursor, err := h.store.Cursor(t.Context(), notify.Name)
		if err != nil {
			t.Fatal(err)
		}
		left := 0
		for _, w := range waiting {
			left += w.Messages
		}
		if left == 0 && cursor == head.Size {
			return
		}
	}
	t.Fatal("notifications are left")
}

// givenUp are the details of the audit entries that tell of what was given up.
func (h *house) givenUp(t *testing.T) (list []string) {
	t.Helper()
	entries, err := h.store.Entries(t.Context(), 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Action == audit.NotifyGiveUp {
			if e.Outcome != audit.Failure || e.Card != "4711" {
				t.Errorf("entry %+v", e)
			}
			list = append(list, e.Detail)
		}
	}
	return list
}

// silent sees to it that nothing was said that is for nobody.
func (h *house) silent(t *testing.T) {
	t.Helper()
	for _, e := range h.logs.All() {
		text := fmt.Sprint(e.Message, e.ContextMap())
		for _, word := range []string{secret, "bo@example.org", "Bo Ek", "1603"} {
			if strings.Contains(text, word) {
				t.Errorf("the log says %s", text)
			}
		}
	}
}

func to(mails []throwawaymail.Letter, address string) []throwawaymail.Letter {
	return slices.DeleteFunc(slices.Clone(mails), func(l throwawaymail.Letter) bool { return l.To != address })
}

func TestHolderAndDeskAreTold(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	o := throwawaymail.New(t)
	o.Password = secret
	o.Open(t, nil)
	h.happens(t, answered("of old")) // before anybody was to be told
	s := h.settings(o)
	s.Contact = "the service desk, telephone 1234"
	s.Mail.Username, s.Mail.PasswordFile = "latchkey", h.file(t, "password", secret+"\n")
	n, _ := h.start(t, s)
	denied, repeated, failed, done := answered("p1"), answered("p1"), answered("p1"), answered("p1")
	denied.Outcome = audit.Deny
	repeated.Detail = audit.Repetition
	failed.Action, failed.Detail = audit.UnblockComplete, "failed"
	done.Action, done.Detail = audit.UnblockComplete, audit.PINChanged
	self := answered("p2")
	self.Action, self.Operator, self.Client = audit.SelfRespond, "bo", "person:bo"
	h.happens(t, answered("p1"), denied, repeated, failed, done, self)
	h.idle(t, n)

	mails := o.Mails()
	mine, desk := to(mails, "bo@example.org"), to(mails, "desk@example.org")
	if len(mine) != 3 || len(desk) != 3 || len(mails) != 6 {
		t.Fatalf("%d to the holder, %d to the desk, %d in all", len(mine), len(desk), len(mails))
	}
	var ids []string
	for _, m := range mails {
		ids = append(ids, m.Header("Message-ID"))
		if !m.Secure || m.User != "latchkey" {
			t.Error("a mail came in the clear, or from nobody")
		}
		if !strings.Contains(m.Text, "multipart/alternative") || !strings.Contains(m.Text, "text/html") || m.Header("Auto-Submitted") != "auto-generated" {
			t.Errorf("mail: %s", m.Text)
		}
		for _, word := range []string{"1603", "a reason for the help desk"} {
			if strings.Contains(m.Text, word) {
				t.Errorf("%q is in a mail", word)
			}
		}
	}
	slices.Sort(ids)
	if len(slices.Compact(ids)) != 6 || ids[0] == "" {
		t.Errorf("IDs %q", ids)
	}
	has := func(m throwawaymail.Letter, words ...string) {
		t.Helper()
		for _, w := range words {
			if !strings.Contains(m.Text, w) {
				t.Errorf("no %q in %s", w, m.Text)
			}
		}
	}
	subject := func(list []throwawaymail.Letter, subject string) throwawaymail.Letter {
		t.Helper()
		for _, m := range list {
			if m.Header("Subject") == subject {
				return m
			}
		}
		t.Fatalf("no mail %q", subject)
		return throwawaymail.Letter{}
	}
	has(mine[0], "Bo Ek", "4711 (Staff <card>)", "Staff &lt;card&gt;", "the service desk, telephone 1234")
	subject(mine, "The PIN of your card was changed")
	subject(desk, "Card 4711: PIN changed")
	with := func(list []throwawaymail.Letter, word string) throwawaymail.Letter {
		t.Helper()
		i := slices.IndexFunc(list, func(m throwawaymail.Letter) bool { return strings.Contains(m.Text, word) })
		if i < 0 {
			t.Fatalf("no mail with %q", word)
		}
		return list[i]
	}
	has(with(desk, "anna, Client idm"), "INC-1", "p1")
	has(with(desk, "did it without the help desk"), "p2")
	with(mine, "you asked for the response")
	if counts := n.Counts()["mail"]; counts != (notify.Count{Sent: 6}) {
		t.Errorf("%+v", counts)
	}
	h.silent(t)
}

// What is not taken is tried again, also by the server that is started next; what is
// refused for good is given up, and the rest is not in its way.
func TestMailIsTriedAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	o := throwawaymail.New(t) // and is closed
	s := h.settings(o)
	n, stop := h.start(t, s)
	h.happens(t, answered("p1"))
	for n.Counts()["mail"].Failed < 4 {
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	if waiting, err := h.store.WaitingNotifications(t.Context()); err != nil || waiting["mail"].Messages != 2 {
		t.Fatalf("%v, %v", waiting, err)
	}

	o.Refuse(
		&smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "greylisted bo@example.org"}, nil,
		&smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such mailbox bo@example.org"},
	)
	o.Open(t, nil)
	s.Mail.CA = o.CA
	n, _ = h.start(t, s)
	h.idle(t, n)
	if counts := n.Counts()["mail"]; len(o.Mails()) != 1 || counts.Sent != 1 || counts.GivenUp != 1 || counts.Failed < 2 {
		t.Errorf("%+v, %d mails", counts, len(o.Mails()))
	}
	list := h.givenUp(t)
	if len(list) != 1 || !strings.Contains(list[0], "550") {
		t.Errorf("given up: %q", list)
	}
	h.silent(t)
}

func TestMailIsGivenUpInTime(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s := h.settings(throwawaymail.New(t)) // closed for good
	s.GiveUp = time.Minute
	n, _ := h.start(t, s)
	old := answered("p1")
	old.Time = time.Now().Add(-time.Minute + 2*time.Second)
	older := answered("p0")
	older.Time = time.Now().Add(-2 * time.Minute)
	h.happens(t, old, older)
	h.idle(t, n)
	if list := h.givenUp(t); len(list) != 2 || !strings.HasPrefix(list[0], "mail of answered to the ") {
		t.Errorf("given up: %q", list)
	}
}

// Nothing goes out in the clear, and no password to who is somebody else.
func TestMailIsSecured(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(t *testing.T, h *house, o *throwawaymail.Office, s *notify.Settings){
		"no STARTTLS": func(t *testing.T, _ *house, o *throwawaymail.Office, _ *notify.Settings) {
			o.Open(t, func(s *smtp.Server) { s.TLSConfig, s.AllowInsecureAuth = nil, true })
		},
		"another CA": func(t *testing.T, _ *house, o *throwawaymail.Office, s *notify.Settings) {
			o.Open(t, nil)
			s.Mail.CA = ""
		},
		"a wrong password": func(t *testing.T, h *house, o *throwawaymail.Office, s *notify.Settings) {
			o.Open(t, nil)
			s.Mail.CA = o.CA
			s.Mail.PasswordFile = h.file(t, "wrong", "wrong "+secret)
		},
		"silence": func(t *testing.T, _ *house, o *throwawaymail.Office, s *notify.Settings) {
			l, err := net.Listen("tcp", o.Address)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			s.Mail.Timeout = time.Second
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			o := throwawaymail.New(t)
			o.Password = secret
			s := h.settings(o)
			s.Mail.Username, s.Mail.PasswordFile = "latchkey", h.file(t, "password", secret)
			test(t, h, o, &s)
			n, _ := h.start(t, s)
			h.happens(t, answered("p1"))
			for n.Counts()["mail"].Failed < 2 {
				time.Sleep(10 * time.Millisecond)
			}
			if len(o.Mails()) != 0 {
				t.Error("a mail was sent")
			}
			h.silent(t)
		})
	}
}

// The exception is for this machine.
func TestLocalRelay(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	o := throwawaymail.New(t)
	o.Open(t, func(s *smtp.Server) { s.TLSConfig = nil })
	s := h.settings(o)
	s.Mail.Security, s.Mail.CA = notify.LocalRelay, ""
	n, _ := h.start(t, s)
	h.happens(t, answered("p1"))
	h.idle(t, n)
	if got := o.Mails(); len(got) != 2 || got[0].Secure {
		t.Errorf("%d mails", len(got))
	}
	s.Mail.Server = "192.0.2.1:25"
	if faults := s.Faults(); len(faults) != 1 || faults[0].Field != "email.security" {
		t.Errorf("a relay elsewhere: %v", faults)
	}
}

func TestHoldersWithoutAnAddress(t *testing.T) {
	t.Parallel()
	for address, given := range map[string]int{
		"": 0, "bo@example.org, eve@example.org": 1, "Bo <bo@example.org>": 1, "bo@example.org>\r\nBcc: <eve@example.org": 1, "nobody": 1,
	} {
		t.Run(address, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.put(t, card.Holder{ID: "bo", Name: "Bo", Email: address, State: "active"})
			o := throwawaymail.New(t)
			o.Open(t, nil)
			n, _ := h.start(t, h.settings(o))
			h.happens(t, answered("p1"))
			h.idle(t, n)
			if got := o.Mails(); len(got) != 1 || got[0].To != "desk@example.org" {
				t.Errorf("%d mails", len(got))
			}
			if list := h.givenUp(t); len(list) != given {
				t.Errorf("given up %q", list)
			}
			if given == 0 && h.logs.FilterMessageSnippet("no e-mail address").Len() != 1 {
				t.Error("the log does not say that the holder has no address")
			}
		})
	}
}

// A name with a line break begins no header, whatever a template does with it.
func TestNamesAreNoHeaders(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.put(t, card.Holder{ID: "bo", Name: "Bo\r\nBcc: eve@example.org\r\n\r\n<script>", Email: "bo@example.org", State: "active"})
	dir := filepath.Join(h.dir, "templates")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	h.file(t, "templates/holder.en.txt", `{{define "subject"}}To {{.Holder}}{{end}}Dear {{.Holder}}`)
	o := throwawaymail.New(t)
	o.Open(t, nil)
	s := h.settings(o)
	s.Templates, s.Mail.Desk = dir, nil
	n, _ := h.start(t, s)
	h.happens(t, answered("p1"))
	h.idle(t, n)
	got := o.Mails()
	if len(got) != 1 || got[0].To != "bo@example.org" || got[0].Header("Bcc") != "" || got[0].Header("Subject") != "To Bo Bcc: eve@example.org <script>" {
		t.Fatalf("%+v", got)
	}
	if _, html, _ := strings.Cut(got[0].Text, "text/html"); strings.Contains(html, "<script>") {
		t.Error("a name is HTML")
	}
}

// Several nodes share the work: each message goes out once.
func TestOneNodeSends(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	o := throwawaymail.New(t)
	o.Open(t, nil)
	s := h.settings(o)
	s.Mail.Holder = false
	n, _ := h.start(t, s)
	for range 2 {
		h.start(t, s)
	}
	const all = 60
	for i := range all {
		h.happens(t, answered(fmt.Sprint("p", i)))
	}
	h.idle(t, n)
	mails := o.Until(t, all)
	var ids []string
	for _, m := range mails {
		ids = append(ids, m.Header("Message-ID"))
	}
	slices.Sort(ids)
	if len(mails) != all || len(slices.Compact(ids)) != all {
		t.Errorf("%d mails with %d IDs", len(mails), len(slices.Compact(ids)))
	}
}

func TestWebhook(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	type call struct {
		id, signature string
		body          []byte
	}
	var mu sync.Mutex
	var calls []call
	answers := []int{http.StatusServiceUnavailable, http.StatusTemporaryRedirect, http.StatusNotFound, http.StatusNoContent, http.StatusUnprocessableEntity}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		calls = append(calls, call{r.Header.Get("Latchkey-Notification"), r.Header.Get("Latchkey-Signature"), body})
		w.Header().Set("Location", "https://elsewhere.example/")
		w.WriteHeader(answers[min(len(calls), len(answers))-1])
	}))
	defer server.Close()
	ca := h.file(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	n, _ := h.start(t, notify.Settings{GiveUp: time.Hour, Webhooks: []notify.Webhook{{
		Name: "chat", URL: server.URL + "/hook?key=" + secret[:7], CA: ca, SecretFile: h.file(t, "secret", secret+"\n"),
		Events: notify.Events(), Timeout: 2 * time.Second,
	}}})
	h.happens(t, answered("p1"))
	h.idle(t, n)
	done := answered("p1")
	done.Action, done.Detail = audit.UnblockComplete, audit.PINChanged
	h.happens(t, done)
	h.idle(t, n)

	mu.Lock()
	defer mu.Unlock()
	if len(calls) != 5 || calls[0].id == "" || calls[0].id != calls[3].id || calls[0].id == calls[4].id {
		t.Fatalf("%d calls: %+v", len(calls), calls)
	}
	for _, c := range calls {
		// As docs/notifications.md has a receiver do it.
		at, signature, _ := strings.Cut(strings.TrimPrefix(c.signature, "t="), ",v1=")
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(at + "." + string(c.body)))
		if signature != hex.EncodeToString(mac.Sum(nil)) {
			t.Errorf("signature %s", c.signature)
		}
		if strings.Contains(string(c.body), "1603") {
			t.Error("the challenge is told")
		}
	}
	var body struct {
		ID, Event, Process, Operator string
		SelfService                  bool `json:"self_service"`
		Card                         struct{ Serial, Type string }
		Holder                       struct{ ID, Name, Email string }
	}
	if err := json.Unmarshal(calls[3].body, &body); err != nil {
		t.Fatal(err)
	}
	if body.ID != calls[3].id || body.Event != "unblock.answered" || body.Process != "p1" || body.Operator != "anna" || body.Card.Serial != "4711" ||
		body.Holder.Name != "Bo Ek" || body.SelfService {
		t.Errorf("%+v", body)
	}
	if list := h.givenUp(t); len(list) != 1 || !strings.Contains(list[0], "422") {
		t.Errorf("given up: %q", list)
	}
	for _, e := range h.logs.All() {
		if strings.Contains(fmt.Sprint(e.ContextMap()), "key=") {
			t.Errorf("the log has the address: %v", e.ContextMap())
		}
	}
}

// A receiver that does not answer is in nobody's way.
func TestChannelsGoAtTheirOwnPace(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	deaf, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = deaf.Close() }()
	o := throwawaymail.New(t)
	o.Open(t, nil)
	s := h.settings(o)
	s.Webhooks = []notify.Webhook{{
		Name: "deaf", URL: "https://" + deaf.Addr().String(), SecretFile: h.file(t, "secret", secret), Events: notify.Events(), Timeout: time.Minute,
	}}
	h.start(t, s)
	h.happens(t, answered("p1"), answered("p2"))
	o.Until(t, 4)
	if waiting, err := h.store.WaitingNotifications(t.Context()); err != nil || waiting["webhook deaf"].Messages != 2 {
		t.Errorf("%v, %v", waiting, err)
	}
}
