package store

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"latchkey/card"
)

// Limits on the number of cards that FindCards gives in one call.
const (
	DefaultCards = 50
	MaxCards     = 500
)

// Query is a search for cards.
type Query struct {
	// Text is how the serial number begins, or a part of the holder's name, ID,
	// e-mail address or employee number; case does not matter. Empty finds all.
	// It has at most card.MaxText bytes.
	Text string
	// Limit is the most cards to give: DefaultCards for 0 or less, never more than
	// MaxCards.
	Limit int
	// After is where to go on: the cursor that came with the page before, or empty.
	After string
}

// FindCards gives a page of the cards that match, by serial number, and the
// cursor of the page after, empty on the last. It gives ErrQuery for a text that
// is too long and for a cursor that did not come from here.
func (s *Store) FindCards(ctx context.Context, q Query) (cards []card.Card, next string, err error) {
	after, err := base64.RawURLEncoding.DecodeString(q.After)
	if err != nil {
		return nil, "", fmt.Errorf("%w: the cursor is not one that came with a page; start again without it", ErrQuery)
	}
	if len(q.Text) > card.MaxText {
		return nil, "", fmt.Errorf("%w: the text is longer than %d bytes", ErrQuery, card.MaxText)
	}
	limit := min(q.Limit, MaxCards)
	if limit <= 0 {
		limit = DefaultCards
	}
	select {
	case s.searching <- struct{}{}:
		defer func() { <-s.searching }()
	case <-ctx.Done():
		return nil, "", s.unread("search cards", ctx.Err())
	}
	text := escapeLike(fold(strings.Join(strings.Fields(q.Text), " ")))
	rows, err := s.readers.QueryContext(ctx, `SELECT `+cardColumns+` FROM cards
		WHERE serial > ?1 AND (serial_folded LIKE ?2 || '%' ESCAPE '\' OR holder_folded LIKE '%' || ?2 || '%' ESCAPE '\')
		ORDER BY serial LIMIT ?3`, string(after), text, limit+1)
	if err != nil {
		return nil, "", s.unread("search cards", err)
	}
	cards, err = collect(rows, scanCard)
	if err != nil {
		return nil, "", s.unread("search cards", err)
	}
	if len(cards) > limit { // one more was asked for, to know whether there is one
		cards = cards[:limit]
		next = base64.RawURLEncoding.EncodeToString([]byte(cards[limit-1].Serial))
	}
	return cards, next, nil
}

// fold makes texts equal that differ in case or in how Unicode writes the same
// letters: "Straße" and "STRASSE", u with diaeresis in one character and in two.
func fold(s string) string {
	return norm.NFKC.String(cases.Fold().String(norm.NFKC.String(s)))
}

// foldHolder is the text that searches for a holder look in, a line for each
// field, so that no text typed in one line spans two of them.
func foldHolder(h card.Holder) string {
	return fold(strings.Join([]string{h.Name, h.ID, h.Email, h.EmployeeNumber}, "\n"))
}

// escapeLike takes the meaning of wildcards from a text for LIKE with \ as its
// escape character.
func escapeLike(s string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s)
}
