package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"latchkey/card"
)

// folding names the way in which the words below are made. Where it is not the one
// that a database's words were made with, Open makes them anew: searched for with
// another they would not be found.
const folding = "1, Unicode " + norm.Version

// wordsOf are the words that a card is found by, sorted and each once.
func wordsOf(c card.Card) []string {
	var list []string
	for _, text := range []string{c.Serial, c.Holder.Name, c.Holder.ID, c.Holder.EmployeeNumber} {
		list = append(list, words(text)...)
	}
	for _, w := range words(c.Holder.Email) {
		// What stands behind the @ is the same for everybody.
		if strings.Contains(w, "@") || !strings.Contains(c.Holder.Email, "@") {
			list = append(list, w)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// words are what a text is found by: what stands between its spaces, from each
// place on where somebody would begin to type: "Anna-Karin" from A and from K.
func words(text string) (list []string) {
	for _, folded := range foldings(text) {
		for _, piece := range strings.Fields(folded) {
			list = append(list, piece)
			inside := true // of letters and digits, as if some came before
			for i, r := range piece {
				was := inside
				if inside = plain(r); inside && !was {
					list = append(list, piece[i:])
				}
			}
		}
	}
	return list
}

// termsOf are the words of a search, each once, without what stands around them.
// One that says no more than another is left out.
func termsOf(text string) []string {
	terms := strings.Fields(fold(text))
	for i, t := range terms {
		if bare := strings.TrimFunc(t, func(r rune) bool { return !plain(r) }); bare != "" {
			terms[i] = bare
		}
	}
	slices.Sort(terms)
	var list []string
	for i, t := range terms {
		if i+1 == len(terms) || !strings.HasPrefix(terms[i+1], t) {
			list = append(list, t)
		}
	}
	return list
}

// joined are the words as a column of cards holds them, each behind a space.
func joined(words []string) string { return " " + strings.Join(words, " ") }

// putWords brings the words that a card is found by up to date.
func (tx *tx) putWords(serial string, before, now []string) error {
	for _, w := range before {
		if !slices.Contains(now, w) {
			if _, err := tx.exec(`DELETE FROM card_words WHERE word = ?1 AND serial = ?2`, w, serial); err != nil {
				return err
			}
		}
	}
	for _, w := range now {
		if !slices.Contains(before, w) {
			if _, err := tx.exec(`INSERT INTO card_words (word, serial) VALUES (?1, ?2) ON CONFLICT (word, serial) DO NOTHING`, w, serial); err != nil {
				return err
			}
		}
	}
	return nil
}

// index makes the words of all cards anew where they were made in another way than
// words are made now, as after an upgrade. It takes about a minute for a million
// cards, and begins anew where it was cut off.
func index(ctx context.Context, db *pool) error {
	var made string
	err := db.QueryRowContext(ctx, `SELECT folding FROM card_words_made WHERE id = 1`).Scan(&made)
	switch {
	case err == nil && made == folding:
		return nil
	case err != nil && !errors.Is(err, sql.ErrNoRows):
		return err
	}
	_, err = db.ExecContext(ctx, `DELETE FROM card_words`)
	for after, more := "", true; more && err == nil; {
		after, more, err = indexSome(ctx, db, after)
	}
	if err == nil {
		_, err = db.ExecContext(ctx, `INSERT INTO card_words_made (id, folding) VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET folding = ?1`, folding)
	}
	return err
}

// indexSome makes the words of some thousand cards from a serial number on, in a
// transaction.
func indexSome(ctx context.Context, db *pool, after string) (last string, more bool, err error) {
	const some = 5000
	t, err := db.BeginTx(ctx, nil)
	if err != nil {
		return "", false, err
	}
	tx := &tx{Tx: t, pool: db}
	defer tx.rollback()
	if err := tx.lead(); err != nil {
		return "", false, err
	}
	rows, err := tx.Query(`SELECT `+cardColumns+` FROM cards WHERE serial > ?1 ORDER BY serial LIMIT ?2`, after, some)
	if err != nil {
		return "", false, err
	}
	cards, err := collect(rows, scanCard)
	if err != nil {
		return "", false, err
	}
	for _, c := range cards {
		now := wordsOf(c)
		if _, err := tx.exec(`UPDATE cards SET words = ?2 WHERE serial = ?1`, c.Serial, joined(now)); err != nil {
			return "", false, err
		}
		if err := tx.putWords(c.Serial, nil, now); err != nil {
			return "", false, err
		}
		last = c.Serial
	}
	return last, len(cards) == some, tx.commit()
}

func plain(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// foldings are the texts by which a text is found: folded, and where it has letters
// that some people write as two, folded with those.
func foldings(s string) []string {
	folded := fold(s)
	if two := twoLetters.Replace(norm.NFKC.String(cases.Fold().String(s))); two != folded {
		if two = fold(two); two != folded {
			return []string{folded, two}
		}
	}
	return []string{folded}
}

// twoLetters are the letters that people write as two where they cannot type them.
var twoLetters = strings.NewReplacer("ä", "ae", "ö", "oe", "ü", "ue", "å", "aa", "ø", "oe")

// struck are letters of the Latin alphabet that Unicode does not take apart into
// one without a mark and the mark.
var struck = strings.NewReplacer("ø", "o", "ł", "l", "đ", "d", "ħ", "h", "ı", "i", "æ", "ae", "œ", "oe", "þ", "th", "ð", "d")

// fold makes texts equal that differ in case, in accents, or in how Unicode writes
// the same letters: "Strasse" and "STRAßE", "Muller" and "Müller".
func fold(s string) string {
	s = norm.NFKD.String(cases.Fold().String(norm.NFKC.String(s)))
	s = strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, s)
	return struck.Replace(norm.NFKC.String(cases.Fold().String(s)))
}
