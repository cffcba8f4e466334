package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"latchkey/trust"
)

// minSecret is the length in bytes from which on a signature's key is worth its name.
const minSecret = 32

// hook posts to a webhook.
type hook struct {
	Webhook
	client *http.Client
}

func newHook(w Webhook) (*hook, error) {
	client, err := trust.OutgoingHTTP(w.CA, w.Certificate, w.Key)
	if err != nil {
		return nil, err
	}
	client.Timeout = w.Timeout
	h := &hook{w, client}
	_, err = h.secret()
	return h, err
}

func (h *hook) name() string { return h.channel() }

// secret reads the key of the signatures, anew each time.
func (h *hook) secret() ([]byte, error) {
	text, err := os.ReadFile(h.SecretFile)
	if err != nil {
		return nil, err
	}
	if text = bytes.TrimSpace(text); len(text) < minSecret {
		return nil, fmt.Errorf("%s has fewer than %d bytes", h.SecretFile, minSecret)
	}
	return text, nil
}

// told is the body of a post.
type told struct {
	ID          string    `json:"id"`
	Event       string    `json:"event"`
	Time        time.Time `json:"time"`
	SelfService bool      `json:"self_service"`
	Process     string    `json:"process"`
	Operator    string    `json:"operator"`
	Client      string    `json:"client"`
	Ticket      string    `json:"ticket,omitempty"`
	Card        struct {
		Serial string `json:"serial"`
		Type   string `json:"type"`
	} `json:"card"`
	Holder struct {
		ID             string `json:"id"`
		Name           string `json:"name"`
		Email          string `json:"email,omitempty"`
		EmployeeNumber string `json:"employee_number,omitempty"`
	} `json:"holder"`
}

func (h *hook) send(ctx context.Context, list []filled) []error {
	errs := make([]error, len(list))
	for i, f := range list {
		errs[i] = h.post(ctx, f)
	}
	return errs
}

func (h *hook) post(ctx context.Context, f filled) error {
	t := told{
		ID: f.ID, Event: "unblock." + string(f.Event), Time: f.At.UTC(), SelfService: f.Self,
		Process: f.Process, Operator: f.Operator, Client: f.Client, Ticket: f.Ticket,
	}
	t.Card.Serial, t.Card.Type = f.card.Serial, f.card.Type
	t.Holder.ID, t.Holder.Name = f.card.Holder.ID, f.card.Holder.Name
	t.Holder.Email, t.Holder.EmployeeNumber = f.card.Holder.Email, f.card.Holder.EmployeeNumber
	body, err := json.Marshal(t)
	if err != nil {
		return permanent{err}
	}
	secret, err := h.secret()
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return permanent{errors.New("the address cannot be called")}
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Latchkey-Notification", f.ID)
	r.Header.Set("Latchkey-Signature", sign(secret, time.Now(), body))
	answer, err := h.client.Do(r)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // the address may have a key in it
		}
		return err
	}
	defer func() { _ = answer.Body.Close() }()                      // only read from
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10)) // so that the connection can be used again
	err = fmt.Errorf("the receiver answered %d", answer.StatusCode)
	switch answer.StatusCode {
	case http.StatusBadRequest, http.StatusGone, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return permanent{err}
	}
	if answer.StatusCode/100 != 2 {
		return err
	}
	return nil
}

// sign is the header by which a receiver knows that a body is ours and of now: the time
// in seconds since 1970-01-01 UTC, and the HMAC-SHA256, in hex, of that time, a dot and
// the body. https://docs.stripe.com/webhooks has it in the same form.
func sign(secret []byte, at time.Time, body []byte) string {
	mac := hmac.New(sha256.New, secret)
	_, _ = fmt.Fprintf(mac, "%d.%s", at.Unix(), body) // a hash takes everything
	return strings.Join([]string{fmt.Sprintf("t=%d", at.Unix()), "v1=" + hex.EncodeToString(mac.Sum(nil))}, ",")
}
