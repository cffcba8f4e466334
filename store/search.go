package store

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"latchkey/card"
)

// Limits on what FindCards does in one call.
const (
	DefaultCards = 50
	MaxCards     = 500
	// MaxTerms is the most words that a search may have.
	MaxTerms = 16

	// scanStep is how many words one statement looks through, maxScan how many a
	// call looks through, and maxShown to how many cards it puts Keep, in all.
	scanStep = 4000
	maxScan  = 3 * scanStep
	maxShown = 2000
)

// Query is a search for cards.
type Query struct {
	// Text is words, each of which has to be how a word of the serial number or of
	// the holder's name, ID, e-mail address or employee number begins. Neither case
	// nor accents matter, and words begin behind hyphens and dots too. Empty
	// finds all. It has at most card.MaxText bytes and MaxTerms words.
	Text string
	// Unconfirmed, where it is set, finds only the cards of a source that were not
	// confirmed since a time. It goes without a Text.
	Unconfirmed *Unconfirmed
	// Keep, where it is set, tells which cards whoever asks may see. The others are
	// left out, and do not count.
	Keep func(card.Card) (bool, error)
	// Limit is the most cards to give: DefaultCards for 0 or less, never more than
	// MaxCards.
	Limit int
	// After is where to go on: the cursor that came with the page before, or empty.
	After string
}

// Unconfirmed are the cards whose data a source was the last to confirm, and that
// before a time.
type Unconfirmed struct {
	Source string
	Since  time.Time
}

// FindCards gives a page of the cards that match and the cursor of the page after,
// empty on the last. A text's are in the order of its rarest word, those that are
// not confirmed in that of their last confirmation, and all in that of their serial
// numbers. The work of one call is bounded: where very many
// cards have to be looked at to find the ones that fit, a page may have fewer than
// Limit, or none, and a cursor to go on with all the same.
//
// It gives ErrQuery for a text that is too long and for a cursor that did not come
// with a page of the same search.
func (s *Store) FindCards(ctx context.Context, q Query) (cards []card.Card, next string, err error) {
	if len(q.Text) > card.MaxText {
		return nil, "", fmt.Errorf("%w: the text is longer than %d bytes", ErrQuery, card.MaxText)
	}
	terms := termsOf(q.Text)
	if len(terms) > MaxTerms {
		return nil, "", fmt.Errorf("%w: the text has more than %d words", ErrQuery, MaxTerms)
	}
	if q.Unconfirmed != nil && len(terms) != 0 {
		return nil, "", fmt.Errorf("%w: cards that are not confirmed are listed without a text", ErrQuery)
	}
	about := aboutOf(terms, q.Unconfirmed)
	after, err := s.cursors.open(q.After, about)
	if err != nil {
		return nil, "", err
	}
	select {
	case s.searching <- struct{}{}:
		defer func() { <-s.searching }()
	case <-ctx.Done():
		return nil, "", s.unread("search cards", ctx.Err())
	}
	page := page{Query: q, limit: min(q.Limit, MaxCards)}
	if page.limit <= 0 {
		page.limit = DefaultCards
	}
	switch {
	case q.Unconfirmed != nil:
		err = s.readUnconfirmed(ctx, &page, after, *q.Unconfirmed)
	case len(terms) == 0:
		err = s.readAll(ctx, &page, after)
	default:
		err = s.readMatches(ctx, &page, after, terms)
	}
	if err != nil {
		return nil, "", s.unread("search cards", err)
	}
	return page.cards, s.cursors.seal(page.rest, about), nil
}

// place is where in the order of a search a page ends.
type place struct{ word, serial string }

var errCursor = fmt.Errorf("%w: the cursor is not one that came with a page of this search; start again without it", ErrQuery)

// cursors seals places, by AES-256-GCM under a key that all nodes have from the
// database. A place is that of the last card that was looked at, which whoever asks
// may not be allowed to see: neither it nor words of its holder are to be read from a
// cursor, nor can anybody make a cursor and so feel his way along what is hidden.
type cursors struct{ sealed cipher.AEAD }

// newCursors reads the key, which a migration made.
func newCursors(ctx context.Context, db *pool) (cursors, error) {
	var key []byte
	if err := db.QueryRowContext(ctx, `SELECT key FROM cursor_key WHERE id = 1`).Scan(&key); err != nil {
		return cursors{}, fmt.Errorf("read the key of cursors: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return cursors{}, fmt.Errorf("key of cursors: %w", err)
	}
	sealed, err := cipher.NewGCMWithRandomNonce(block)
	return cursors{sealed}, err
}

// seal makes a cursor of a place, empty for none. It is good for the same search only.
func (c cursors) seal(p place, about string) string {
	if p == (place{}) {
		return ""
	}
	text := c.sealed.Seal(nil, nil, []byte(p.word+"\n"+p.serial), []byte(about)) //nolint:gosec // it makes the nonce itself, at random
	return base64.RawURLEncoding.EncodeToString(text)
}

func (c cursors) open(cursor, about string) (place, error) {
	if cursor == "" {
		return place{}, nil
	}
	sealed, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return place{}, errCursor
	}
	text, err := c.sealed.Open(nil, nil, sealed, []byte(about))
	if err != nil {
		return place{}, errCursor
	}
	word, serial, _ := strings.Cut(string(text), "\n")
	return place{word, serial}, nil
}

// aboutOf tells one search from others.
func aboutOf(terms []string, u *Unconfirmed) string {
	if u != nil {
		return fmt.Sprintf("unconfirmed %d %s", u.Since.UnixMicro(), u.Source)
	}
	return "words " + strings.Join(terms, " ")
}

// page is the page that is being filled.
type page struct {
	Query
	limit int
	cards []card.Card
	last  place // of the last card that was looked at
	shown int
	rest  place // where the next page goes on, the zero place where there is none
}

// take takes a card into the page if it may be seen, and tells whether that was
// the last: the page is full, or enough was done for it.
func (p *page) take(at place, c card.Card) (full bool, err error) {
	if len(p.cards) == p.limit || p.shown == maxShown {
		p.rest = p.last
		return true, nil
	}
	p.last = at
	p.shown++
	if p.Keep != nil {
		if keep, err := p.Keep(c); err != nil || !keep {
			return false, err
		}
	}
	p.cards = append(p.cards, c)
	return false, nil
}

// fetch is how many rows to ask for: one more than the page takes, to know whether
// there is one.
func (p *page) fetch() int {
	if p.Keep == nil {
		return p.limit - len(p.cards) + 1
	}
	return p.limit + 1
}

const (
	allQuery         = `SELECT ` + cardColumns + ` FROM cards WHERE serial > ?1 ORDER BY serial LIMIT ?2`
	unconfirmedQuery = `SELECT ` + cardColumns + ` FROM cards
		WHERE source = ?1 AND (synced_at, serial) > (?2, ?3) AND synced_at < ?4 ORDER BY synced_at, serial LIMIT ?5`
)

// readAll fills the page in the order of the serial numbers.
func (s *Store) readAll(ctx context.Context, p *page, after place) error {
	for {
		limit := p.fetch()
		rows, err := s.readers.QueryContext(ctx, allQuery, after.serial, limit)
		n, full, err := p.takeAll(rows, err, func(c card.Card) place {
			after.serial = c.Serial
			return after
		})
		if err != nil || full || n < limit {
			return err
		}
	}
}

// readUnconfirmed fills the page in the order of the times of the last confirmation.
func (s *Store) readUnconfirmed(ctx context.Context, p *page, after place, u Unconfirmed) error {
	last := int64(math.MinInt64)
	if after.word != "" {
		var err error
		if last, err = strconv.ParseInt(after.word, 10, 64); err != nil {
			return errCursor
		}
	}
	for {
		limit := p.fetch()
		rows, err := s.readers.QueryContext(ctx, unconfirmedQuery, u.Source, last, after.serial, micros(u.Since), limit)
		n, full, err := p.takeAll(rows, err, func(c card.Card) place {
			last = c.SyncedAt.UnixMicro()
			after = place{strconv.FormatInt(last, 10), c.Serial}
			return after
		})
		if err != nil || full || n < limit {
			return err
		}
	}
}

// takeAll takes the cards of a query's rows into the page, unless that failed, and
// tells how many there were and whether the page is full.
func (p *page) takeAll(rows *sql.Rows, failed error, at func(card.Card) place) (n int, full bool, err error) {
	if failed != nil {
		return 0, false, failed
	}
	found, err := collect(rows, scanCard)
	for _, c := range found {
		if full || err != nil {
			break
		}
		full, err = p.take(at(c), c)
	}
	return len(found), full, err
}

// match is a card with the word that it was found by.
type match struct {
	word string
	card card.Card
}

func scanMatch(row scanner) (m match, err error) {
	m.card, err = scanCard(scanFunc(func(dest ...any) error { return row.Scan(append([]any{&m.word}, dest...)...) }))
	return m, err
}

type scanFunc func(dest ...any) error

func (f scanFunc) Scan(dest ...any) error { return f(dest...) }

// readMatches fills the page in the order of the words that begin with the rarest
// of the terms, and looks whether the cards fit the others.
func (s *Store) readMatches(ctx context.Context, p *page, after place, terms []string) error {
	var term string
	if after == (place{}) {
		var err error
		if term, err = s.rarest(ctx, terms); err != nil || term == "" {
			return err
		}
		after.word = term
	} else { // as the first page chose, whatever is the rarest now
		i := slices.IndexFunc(terms, func(t string) bool { return strings.HasPrefix(after.word, t) })
		if i < 0 {
			return errCursor
		}
		term = terms[i]
	}
	query := matchQuery(len(terms) - 1)
	var others []any
	for _, t := range terms {
		if t != term {
			others = append(others, "% "+escapeLike(t)+"%")
		}
	}
	for scanned := 0; scanned < maxScan; scanned += scanStep {
		until, more, err := s.step(ctx, after, beyond(term))
		if err != nil {
			return err
		}
		for limit := p.fetch(); ; limit = p.fetch() {
			rows, err := s.readers.QueryContext(ctx, query, append([]any{after.word, after.serial, until.word, until.serial, limit}, others...)...)
			if err != nil {
				return err
			}
			found, err := collect(rows, scanMatch)
			if err != nil {
				return err
			}
			for _, m := range found {
				after = place{m.word, m.card.Serial}
				if firstWord(m.card, term) != m.word {
					continue // it came before, by another of its words
				}
				if full, err := p.take(after, m.card); full || err != nil {
					return err
				}
			}
			if len(found) < limit {
				break
			}
		}
		if !more {
			return nil
		}
		after, p.last = until, until
	}
	p.rest = p.last
	return nil
}

// matchQuery finds cards by the words from one place to another, those only that
// have as many other words.
func matchQuery(others int) string {
	var text strings.Builder
	// CROSS JOIN keeps SQLite to this order of the two tables, as LIMIT does others.
	text.WriteString(`SELECT w.word, ` + qualified(cardColumns, "c") + ` FROM card_words w CROSS JOIN cards c
		WHERE c.serial = w.serial AND (w.word, w.serial) > (?1, ?2) AND (w.word, w.serial) <= (?3, ?4)`)
	for i := range others {
		fmt.Fprintf(&text, ` AND c.words LIKE ?%d ESCAPE '\'`, i+6)
	}
	text.WriteString(` ORDER BY w.word, w.serial LIMIT ?5`)
	return text.String()
}

// qualified says of which table columns are.
func qualified(columns, table string) string {
	names := strings.Split(columns, ",")
	for i, n := range names {
		names[i] = table + "." + strings.TrimSpace(n)
	}
	return strings.Join(names, ", ")
}

const (
	stepQuery = `SELECT word, serial FROM card_words WHERE (word, serial) > (?1, ?2) AND word < ?3
		ORDER BY word, serial LIMIT 1 OFFSET ?4`
	countQuery = `SELECT count(*) FROM (SELECT 1 FROM card_words WHERE word >= ?1 AND word < ?2 LIMIT ?3) AS bounded`
)

// step is the place scanStep words on, or the end of the words below end, and then
// there are no more.
func (s *Store) step(ctx context.Context, after place, end string) (until place, more bool, err error) {
	err = s.readers.QueryRowContext(ctx, stepQuery, after.word, after.serial, end, scanStep-1).Scan(&until.word, &until.serial)
	if errors.Is(err, sql.ErrNoRows) {
		return place{word: end}, false, nil
	}
	return until, true, err
}

// rarest is that of the terms which the fewest words begin with, as far as that is
// found out in a short time, or empty where none begin with one of them.
func (s *Store) rarest(ctx context.Context, terms []string) (string, error) {
	best := terms[0]
	for _, bound := range []int{100, 20_000} {
		fewest := bound
		for _, t := range terms {
			var n int
			if err := s.readers.QueryRowContext(ctx, countQuery, t, beyond(t), bound).Scan(&n); err != nil {
				return "", err
			}
			if n == 0 {
				return "", nil
			}
			if n < fewest {
				best, fewest = t, n
			}
		}
		if fewest < bound || len(terms) == 1 {
			break
		}
	}
	return best, nil
}

// beyond is behind every text that begins with the prefix, and not behind others.
func beyond(prefix string) string { return prefix + "\U0010FFFF" }

// firstWord is the first of the card's words that begins with the term.
func firstWord(c card.Card, term string) string {
	for _, w := range wordsOf(c) {
		if strings.HasPrefix(w, term) {
			return w
		}
	}
	return ""
}

// escapeLike takes the meaning of wildcards from a text for LIKE with \ as its
// escape character.
func escapeLike(s string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s)
}
