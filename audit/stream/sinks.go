package stream

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"latchkey/trust"
)

// file appends entries to a file, a line each. It is opened anew each time, so that it
// may be moved away, and synced before an entry counts as taken.
func file(path string) func(context.Context, []message) error {
	return func(_ context.Context, entries []message) error {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		_, err = f.Write(lines(entries))
		return errors.Join(err, f.Sync(), f.Close())
	}
}

func lines(entries []message) []byte {
	var b bytes.Buffer
	for _, m := range entries {
		b.WriteString(m.text + "\n")
	}
	return b.Bytes()
}

// syslog sends RFC 5424 messages over TLS, each with its length before it (RFC 5425).
// The protocol has no acknowledgement: what is in a connection that breaks is lost to
// the receiver, so a batch is sent again when the connection was seen to break in it.
func syslog(s Sink) (func(context.Context, []message) error, error) {
	config, err := trust.Outgoing(s.CA, s.Certificate, s.Key)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "-"
	}
	dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: 10 * time.Second}, Config: config}
	var c net.Conn
	return func(ctx context.Context, entries []message) (err error) {
		if c != nil && hungUp(c) {
			_ = c.Close() // it is gone
			c = nil
		}
		if c == nil {
			if c, err = dialer.DialContext(ctx, "tcp", s.Address); err != nil {
				c = nil
				return err
			}
		}
		defer func() {
			if err != nil {
				_ = c.Close() // the error says what matters
				c = nil
			}
		}()
		if deadline, ok := ctx.Deadline(); ok {
			if err := c.SetWriteDeadline(deadline); err != nil {
				return err
			}
		}
		var b bytes.Buffer
		for _, m := range entries {
			text := m.syslog(host)
			fmt.Fprintf(&b, "%d %s", len(text), text)
		}
		if _, err := c.Write(b.Bytes()); err != nil {
			return err
		}
		if hungUp(c) {
			return errors.New("the receiver closed the connection")
		}
		return nil
	}, nil
}

// hungUp tells whether the other side has closed the connection. It says nothing
// otherwise, so a read that has to wait is a good sign.
func hungUp(c net.Conn) bool {
	if err := c.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		return true
	}
	_, err := c.Read(make([]byte, 1))
	var timeout net.Error
	// crypto/tls keeps a timeout for good on writing only.
	return err != nil && (!errors.As(err, &timeout) || !timeout.Timeout())
}

// webhook posts entries as lines. The receiver has them when it answers with 2xx.
func webhook(s Sink) (func(context.Context, []message) error, error) {
	client, err := trust.OutgoingHTTP(s.CA, s.Certificate, s.Key)
	if err != nil {
		return nil, err
	}
	kind := "application/x-ndjson"
	if s.Format == CEF {
		kind = "text/plain; charset=utf-8"
	}
	return func(ctx context.Context, entries []message) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, bytes.NewReader(lines(entries)))
		if err != nil {
			return err
		}
		r.Header.Set("Content-Type", kind)
		// Entries may come more than once: a receiver can tell by their numbers.
		r.Header.Set("Latchkey-Audit-Entries", fmt.Sprintf("%d-%d", entries[0].Sequence, entries[len(entries)-1].Sequence))
		if s.TokenFile != "" {
			token, err := os.ReadFile(s.TokenFile)
			if err != nil {
				return err
			}
			r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
		}
		answer, err := client.Do(r)
		if err != nil {
			return err
		}
		defer func() { _ = answer.Body.Close() }()                      // only read from
		_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10)) // so that the connection can be used again
		if answer.StatusCode/100 != 2 {
			return fmt.Errorf("the receiver answered %s", answer.Status)
		}
		return nil
	}, nil
}
