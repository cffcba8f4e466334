package store

import (
	"context"
	"database/sql"
	"errors"

	"latchkey/card"
	"latchkey/unblock"
)

// standing is what is read of a card's processes, in the order of standingRow.
const standing = `coalesce(u.count, 0), coalesce(u.latest, ''), coalesce(p.state, ''), coalesce(p.client, ''), coalesce(p.operator, ''),
	coalesce(p.means, ''), p.started_at, p.expires_at`

// dossier reads all of it in one statement, which an answer waits for. The condition on
// the challenge is that of its index too, which SQLite cannot infer from a parameter.
// In a join SQLite plans by the value of a parameter that a column is compared with, and
// so again each time it is bound, for three times the cost of the look-up: not by that
// of a CAST.
var dossier = `SELECT ` + qualified(cardColumns, "c") + `,
		coalesce(t.id, ''), coalesce(t.name, ''), coalesce(t.profile, ''), coalesce(t.unblock_remote, 'null'), coalesce(t.unblock_self, 'null'), coalesce(t.updated_by, ''), t.updated_at,
		` + standing + `,
		EXISTS (SELECT 1 FROM processes WHERE card = ?1 AND challenge = ?2 AND challenge <> '' AND id <> ?3)
	FROM cards c LEFT JOIN card_types t ON t.id = c.type
		LEFT JOIN unconfirmed u ON u.card = c.serial LEFT JOIN processes p ON p.id = u.latest
	WHERE c.serial = CAST(?1 AS TEXT)`

// Dossier tells what is known of a card; see unblock.Cards.
func (s *Store) Dossier(ctx context.Context, q unblock.Question) (unblock.Dossier, error) {
	d, err := scanDossier(s.readers.QueryRowContext(ctx, dossier, q.Card, q.Challenge, q.Process))
	return d, s.unread("look up card "+q.Card, err)
}

func scanDossier(row scanner) (d unblock.Dossier, err error) {
	var c cardRow
	var t typeRow
	var u standingRow
	if err := row.Scan(append(append(append(c.places(), t.places()...), u.places()...), &d.Answered)...); err != nil {
		return unblock.Dossier{}, err
	}
	d.Standing = u.read()
	if d.Card, err = c.read(); err == nil {
		d.Type, err = t.read()
	}
	return d, err
}

// standingRow is a row with a card's standing.
type standingRow struct {
	unblock.Standing
	started, expires sql.NullInt64
}

func (r *standingRow) places() []any {
	p := &r.Latest
	return []any{&r.Unconfirmed, &p.ID, &p.State, &p.Client, &p.Operator, &p.Means, &r.started, &r.expires}
}

func (r *standingRow) read() unblock.Standing {
	r.Latest.StartedAt, r.Latest.ExpiresAt = fromMicros(r.started), fromMicros(r.expires)
	return r.Standing
}

// Standing tells what is known of a card's processes: of the latest, who has it and
// since when. It is the zero value for a card that had none.
func (s *Store) Standing(ctx context.Context, serial string) (unblock.Standing, error) {
	var r standingRow
	err := s.readers.QueryRowContext(ctx, `SELECT `+standing+` FROM unconfirmed u LEFT JOIN processes p ON p.id = u.latest WHERE u.card = CAST(?1 AS TEXT)`, serial).
		Scan(r.places()...)
	if err = s.unread("look up the standing of card "+serial, err); errors.Is(err, card.ErrNotFound) {
		return unblock.Standing{}, nil
	}
	return r.read(), err
}
