package lookup

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"latchkey/card"
)

// maxBody bounds what is read of an answer, in bytes: as much as the API takes.
const maxBody = 16 << 10

// answer is what a source says of a card: the body of PUT /v1/cards/{serial}, see
// openapi.yaml. Fields that the API sets itself may be there and count for nothing.
type answer struct {
	Serial           string    `json:"serial"`
	Type             string    `json:"type"`
	State            string    `json:"state"`
	CUID             hexBytes  `json:"cuid"`
	KDD              hexBytes  `json:"kdd"`
	MasterKeyVersion int       `json:"master_key_version"`
	WrappedKey       hexBytes  `json:"wrapped_key"`
	HasWrappedKey    bool      `json:"has_wrapped_key"`
	Unit             string    `json:"unit"`
	Assurance        string    `json:"assurance"`
	Holder           holder    `json:"holder"`
	Source           string    `json:"source"`
	SyncedAt         time.Time `json:"synced_at"`
}

type holder struct {
	ID             string   `json:"id"`
	Name           string   `json:"name"`
	Email          string   `json:"email"`
	EmployeeNumber string   `json:"employee_number"`
	Unit           string   `json:"unit"`
	Groups         []string `json:"groups"`
	Privileged     bool     `json:"privileged"`
	State          string   `json:"state"`
}

// hexBytes are bytes written in hex.
type hexBytes []byte

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *hexBytes) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))
	return err
}

func (a answer) card() card.Card {
	return card.Card{
		Serial: a.Serial, Type: a.Type, State: a.State, CUID: a.CUID, KDD: a.KDD,
		WrappedKey: a.WrappedKey, MasterKeyVersion: a.MasterKeyVersion,
		Unit: a.Unit, Assurance: a.Assurance, Holder: card.Holder(a.Holder),
	}
}

// fetch asks the source once. Its errors hold nothing of what it sent.
func (s *Source) fetch(ctx context.Context, serial string) (_ card.Card, err error) {
	token, err := s.token()
	if err != nil {
		return card.Card{}, err
	}
	address := strings.Replace(s.URL, Placeholder, url.PathEscape(serial), 1)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return card.Card{}, errors.New("the address of the card cannot be made")
	}
	request.Header.Set("Accept", "application/json")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := s.http.Do(request)
	if err != nil {
		// The URL says which card it is about.
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return card.Card{}, err
	}
	defer func() { _ = response.Body.Close() }() // only read from
	switch kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); {
	case response.StatusCode == http.StatusNotFound || response.StatusCode == http.StatusGone:
		return card.Card{}, card.ErrNotFound
	case response.StatusCode >= 300 && response.StatusCode < 400:
		return card.Card{}, fmt.Errorf("it sends elsewhere, with status %d, which is not followed", response.StatusCode)
	case response.StatusCode != http.StatusOK:
		return card.Card{}, fmt.Errorf("it answers with status %d", response.StatusCode)
	case kind != "application/json":
		return card.Card{}, errors.New("its answer is not application/json")
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	switch {
	case err != nil:
		return card.Card{}, fmt.Errorf("read its answer: %w", err)
	case len(text) > maxBody:
		return card.Card{}, fmt.Errorf("its answer is longer than %d bytes", maxBody)
	}
	return read(text, serial)
}

// read reads an answer, which has to be of the card that was asked for.
func read(text []byte, serial string) (card.Card, error) {
	var a answer
	if err := json.Unmarshal(text, &a, json.RejectUnknownMembers(true)); err != nil {
		return card.Card{}, errors.New("its answer is not one card as the API describes it") // the error might show its data
	}
	if a.Serial != serial {
		return card.Card{}, errors.New("its answer is of another card than was asked for")
	}
	return a.card(), nil
}
