package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"latchkey/smartcard"
	"latchkey/smartcard/pcsc"
)

// lookEvery is how often readers are looked at while a card is waited for.
const lookEvery = 300 * time.Millisecond

// found is a card that is known here, held in its reader.
type found struct {
	reader      string
	card        held
	application smartcard.Application
	pin         smartcard.PINState
}

// look looks into one reader.
func look(s service, reader string) (f found, err error) {
	c, err := s.Connect(reader)
	if err != nil {
		return f, err
	}
	defer func() {
		if err != nil {
			_ = c.Close() // why it is not used is the error to tell
		}
	}()
	application, err := smartcard.Open(c)
	if err != nil {
		return f, err
	}
	pin, err := application.PIN()
	return found{reader, c, application, pin}, err
}

// readers are those that match the name, all where it is empty.
func readers(s service, name string) ([]string, error) {
	all, err := s.Readers()
	if err != nil {
		return nil, err
	}
	var some []string
	for _, reader := range all {
		if reader == name {
			return []string{reader}, nil
		}
		if strings.Contains(strings.ToLower(reader), strings.ToLower(name)) {
			some = append(some, reader)
		}
	}
	if len(some) == 0 {
		return nil, pcsc.ErrNoReader
	}
	return some, nil
}

// find looks for the one card that is known here. Where there is none, the error is
// of the reader that came nearest to having one.
func find(s service, name string) (found, error) {
	names, err := readers(s, name)
	if err != nil {
		return found{}, err
	}
	var there *found
	missing := pcsc.ErrNoCard
	for _, reader := range names {
		f, err := look(s, reader)
		switch {
		case err == nil && there != nil:
			return found{}, errors.Join(errSeveralCards, f.card.Close(), there.card.Close())
		case err == nil:
			there = &f
		case !errors.Is(err, pcsc.ErrNoCard) && !errors.Is(err, pcsc.ErrNoReader):
			missing = err
		}
	}
	if there == nil {
		return found{}, missing
	}
	return *there, nil
}

// await waits for a card, and says what is missing whenever that changes.
func (a *app) await(ctx context.Context, s service, name string) (found, error) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	var told string
	for {
		f, err := find(s, name)
		passing := errors.Is(err, pcsc.ErrNoCard) || errors.Is(err, pcsc.ErrNoReader) || errors.Is(err, pcsc.ErrMute) ||
			errors.Is(err, pcsc.ErrRemoved) || errors.Is(err, pcsc.ErrReset)
		if !passing {
			return f, err
		}
		if text := a.text(err) + " " + outcomeOf(err).advice.in(a.language); text != told {
			a.tell(text)
			told = text
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			if cause := context.Cause(ctx); !errors.Is(cause, errTimeout) {
				return found{}, cause
			}
			return found{}, err // what was waited for says more than that it was too long
		}
	}
}

// The documents of --json.
type (
	cardDocument struct {
		Step        string       `json:"step,omitempty"`
		Reader      string       `json:"reader"`
		Application string       `json:"application,omitempty"`
		PIN         *pinDocument `json:"pin,omitempty"`
		Code        string       `json:"code,omitempty"` // why there is no card
	}
	pinDocument struct {
		Blocked   bool  `json:"blocked"`
		TriesLeft tries `json:"tries_left"`
		Limit     tries `json:"limit"`
	}
)

func documentOf(step string, f found) cardDocument {
	return cardDocument{Step: step, Reader: f.reader, Application: f.application.Name(), PIN: &pinDocument{
		f.pin.Blocked(), tries(f.pin.TriesLeft), tries(f.pin.Limit),
	}}
}

// emit prints a step's document, with --json.
func (a *app) emit(document any) {
	if a.json {
		e := json.NewEncoder(a.out)
		e.SetEscapeHTML(false)
		_ = e.Encode(document) // whoever stopped listening hears no more
	}
}

// pinText says what the PIN is like.
func (a *app) pinText(p smartcard.PINState) string {
	switch {
	case p.Blocked():
		return sayPINBlocked.in(a.language)
	case p.TriesLeft == smartcard.Unknown:
		return sayPINUnknown.in(a.language)
	case p.Limit == smartcard.Unknown:
		return fmt.Sprintf(sayPINLeft.in(a.language), p.TriesLeft)
	}
	return fmt.Sprintf(sayPINLeftOf.in(a.language), p.TriesLeft, p.Limit)
}

// status shows all readers and what is in them.
func (a *app) status(name string) (err error) {
	s, err := a.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	names, err := readers(s, name)
	if err != nil {
		return err
	}
	missing := pcsc.ErrNoCard
	known := false
	documents := []cardDocument{}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	for _, reader := range names {
		f, err := look(s, reader)
		if err != nil {
			documents = append(documents, cardDocument{Reader: reader, Code: outcomeOf(err).code})
			_, _ = fmt.Fprintf(w, "%s\t%s\n", reader, a.text(err))
			if !errors.Is(err, pcsc.ErrNoCard) {
				missing = err
			}
			continue
		}
		known = true
		documents = append(documents, documentOf("", f))
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", reader, f.application.Name(), a.pinText(f.pin))
		if err := f.card.Close(); err != nil {
			return err
		}
	}
	a.emit(struct {
		Readers []cardDocument `json:"readers"`
	}{documents})
	if !a.json {
		_ = w.Flush()
	}
	if !known {
		return missing
	}
	return nil
}
