package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"latchkey/audit"
	"latchkey/card"
)

// Result tells what a put did.
type Result string

// The results.
const (
	Created   Result = "created"
	Updated   Result = "updated"
	Unchanged Result = "unchanged"
)

// CardPut is a card as it is to be, with the audit entry that tells of it, whose
// KeyVersion the store fills in.
type CardPut struct {
	Card card.Card
	// New says what a card that is new, and names no master key version itself, gets.
	New NewVersion
	// KeyOnly leaves everything of a card that is registered as it is but its
	// WrappedKey and, unless it is 0, its MasterKeyVersion.
	KeyOnly bool
	Entry   audit.Entry
}

// NewVersion is the master key version of new cards: that which is the key's current
// one when the card is written, or Otherwise where none was named.
type NewVersion struct {
	Key       string // empty where none is known: the card's stays 0, which is not said
	Otherwise int
}

// PutCard registers a card or brings its data up to date, and writes the audit
// entry in the same transaction. Where nothing but Source and SyncedAt differs the
// card is Unchanged: both are stored and no audit entry is written, so that a nightly synchronisation does not bury the decisions in the log.
//
// A MasterKeyVersion of 0 keeps the version that is stored: what a card's admin
// key was derived from at its issuance does not change because somebody left it
// out. A card that is new gets what New says, in the same transaction: of two who
// register it at the same time the first decides.
//
// An empty WrappedKey keeps the one that is stored, too: it comes from another
// source than the data that is synchronised, and nobody but the HSM sees it.
//
// The data is taken as it is: whoever lets it in checks it with Card.Faults.
func (s *Store) PutCard(ctx context.Context, c card.Card, e audit.Entry) (Result, error) {
	var result Result
	err := s.writer.write(ctx, func(tx *tx) (err error) {
		result, err = tx.putCard(CardPut{Card: c, Entry: e})
		return err
	})
	if err != nil {
		return "", failed("put card "+c.Serial, err)
	}
	return result, nil
}

// PutCards does PutCard for each in turn, in one transaction: all are on disk
// when it returns nil, or none. Of a serial that is there twice the last holds.
// Other writes wait meanwhile: hand in some hundreds at a time, not a million.
//
// With a step it writes down how far a synchronisation has come as well, and gives
// ErrSync, with nothing written, where that stands elsewhere or is over.
func (s *Store) PutCards(ctx context.Context, puts []CardPut, step *SyncStep) ([]Result, error) {
	puts = slices.Clone(puts) // the writer may still be at it when a caller has given up
	var results []Result
	err := s.writer.write(ctx, func(tx *tx) error {
		results = make([]Result, len(puts))
		for i, p := range puts {
			var err error
			if results[i], err = tx.putCard(p); err != nil {
				return fmt.Errorf("card %s: %w", p.Card.Serial, err)
			}
		}
		if step != nil {
			return tx.step(*step, results)
		}
		return nil
	})
	if err != nil {
		return nil, failed("put cards", err)
	}
	return results, nil
}

// cardColumns are the columns that a card is read from, in the order of cardRow.
const cardColumns = `serial, type, state, cuid, kdd, wrapped_key, master_key_version, ` +
	`holder_id, holder_name, holder_email, holder_employee_number, holder_unit, holder_groups, holder_state, synced_at, ` +
	`unit, assurance, holder_privileged, source`

// cardRow is a row with a card.
type cardRow struct {
	card.Card
	groups []byte
	synced sql.NullInt64
}

func (r *cardRow) places() []any {
	c := &r.Card
	return []any{
		&c.Serial, &c.Type, &c.State, &c.CUID, &c.KDD, &c.WrappedKey, &c.MasterKeyVersion,
		&c.Holder.ID, &c.Holder.Name, &c.Holder.Email, &c.Holder.EmployeeNumber, &c.Holder.Unit, &r.groups, &c.Holder.State, &r.synced,
		&c.Unit, &c.Assurance, &c.Holder.Privileged, &c.Source,
	}
}

func (r *cardRow) read() (card.Card, error) {
	if err := json.Unmarshal(r.groups, &r.Holder.Groups); err != nil {
		return card.Card{}, fmt.Errorf("groups of the holder of card %s: %w", r.Serial, err)
	}
	r.SyncedAt = fromMicros(r.synced)
	return r.Card, nil
}

func scanCard(row scanner) (card.Card, error) {
	var r cardRow
	if err := row.Scan(r.places()...); err != nil {
		return card.Card{}, err
	}
	return r.read()
}

func (tx *tx) putCard(p CardPut) (Result, error) {
	c, result := p.Card, Updated
	stored, err := scanCard(tx.QueryRow(`SELECT `+cardColumns+` FROM cards WHERE serial = ?1`, c.Serial))
	switch {
	case errors.Is(err, sql.ErrNoRows) && p.KeyOnly:
		return "", card.ErrNotFound
	case errors.Is(err, sql.ErrNoRows):
		result = Created
		if c.MasterKeyVersion == 0 {
			if c.MasterKeyVersion, err = tx.versionOf(p.New); err != nil {
				return "", err
			}
		}
	case err != nil:
		return "", err
	default:
		if p.KeyOnly {
			key, version := c.WrappedKey, c.MasterKeyVersion
			c = stored
			c.WrappedKey, c.MasterKeyVersion = key, version
		}
		if c.MasterKeyVersion == 0 {
			c.MasterKeyVersion = stored.MasterKeyVersion
		}
		if len(c.WrappedKey) == 0 {
			c.WrappedKey = stored.WrappedKey
		}
		if sameCard(stored, c) {
			_, err := tx.exec(`UPDATE cards SET synced_at = ?2, source = ?3 WHERE serial = ?1`, c.Serial, micros(c.SyncedAt), c.Source)
			return Unchanged, err
		}
	}
	groups, err := json.Marshal(c.Holder.Groups)
	if err != nil {
		return "", err
	}
	now := wordsOf(c)
	var before []string
	if result != Created {
		before = wordsOf(stored)
	}
	_, err = tx.exec(`INSERT INTO cards (`+cardColumns+`, words)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)
		ON CONFLICT (serial) DO UPDATE SET (type, state, cuid, kdd, wrapped_key, master_key_version,
			holder_id, holder_name, holder_email, holder_employee_number, holder_unit, holder_groups, holder_state, synced_at,
			unit, assurance, holder_privileged, source, words)
		= (?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)`,
		c.Serial, c.Type, c.State, c.CUID, c.KDD, c.WrappedKey, c.MasterKeyVersion,
		c.Holder.ID, c.Holder.Name, c.Holder.Email, c.Holder.EmployeeNumber, c.Holder.Unit, string(groups), c.Holder.State, micros(c.SyncedAt),
		c.Unit, c.Assurance, c.Holder.Privileged, c.Source, joined(now))
	if err != nil {
		return "", err
	}
	if err := tx.putWords(c.Serial, before, now); err != nil {
		return "", err
	}
	p.Entry.KeyVersion = c.MasterKeyVersion
	return result, tx.log(p.Entry)
}

// versionOf is the master key version of a new card.
func (tx *tx) versionOf(n NewVersion) (version int, err error) {
	err = tx.QueryRow(`SELECT version FROM current_versions WHERE key = ?1`, n.Key).Scan(&version)
	if errors.Is(err, sql.ErrNoRows) {
		return n.Otherwise, nil
	}
	return version, err
}

// sameCard tells whether nothing but Source and SyncedAt differs.
func sameCard(a, b card.Card) bool {
	return a.Serial == b.Serial && a.Type == b.Type && a.State == b.State &&
		bytes.Equal(a.CUID, b.CUID) && bytes.Equal(a.KDD, b.KDD) &&
		a.Unit == b.Unit && a.Assurance == b.Assurance &&
		bytes.Equal(a.WrappedKey, b.WrappedKey) && a.MasterKeyVersion == b.MasterKeyVersion &&
		a.Holder.ID == b.Holder.ID && a.Holder.Name == b.Holder.Name && a.Holder.Email == b.Holder.Email &&
		a.Holder.EmployeeNumber == b.Holder.EmployeeNumber && a.Holder.Unit == b.Holder.Unit &&
		slices.Equal(a.Holder.Groups, b.Holder.Groups) && a.Holder.Privileged == b.Holder.Privileged && a.Holder.State == b.Holder.State
}

// Card finds a card by its serial number, character by character, or gives
// card.ErrNotFound.
func (s *Store) Card(ctx context.Context, serial string) (card.Card, error) {
	c, err := scanCard(s.readers.QueryRowContext(ctx, `SELECT `+cardColumns+` FROM cards WHERE serial = ?1`, serial))
	return c, s.unread("find card "+serial, err)
}

// PutCardType registers a card type or changes it, and writes the audit entry in
// the same transaction; of a change its Detail says what was changed from what to
// what. Where nothing but UpdatedBy and UpdatedAt differs it is
// Unchanged and nothing is written: they tell of the last change.
func (s *Store) PutCardType(ctx context.Context, t card.Type, e audit.Entry) (Result, error) {
	remote, err := json.Marshal(t.UnblockRemote)
	if err != nil {
		return "", fmt.Errorf("put card type %s: %w", t.ID, err)
	}
	self, err := json.Marshal(t.UnblockSelf)
	if err != nil {
		return "", fmt.Errorf("put card type %s: %w", t.ID, err)
	}
	var result Result
	err = s.writer.write(ctx, func(tx *tx) error {
		result = Updated
		stored, err := scanType(tx.QueryRow(`SELECT `+typeColumns+` FROM card_types WHERE id = ?1`, t.ID))
		switch {
		case errors.Is(err, sql.ErrNoRows):
			result = Created
		case err != nil:
			return err
		case sameType(stored, t):
			result = Unchanged
			return nil
		default:
			if changes := t.Changes(stored); len(changes) != 0 {
				e.Detail = strings.Join(changes, "; ")
			}
		}
		_, err = tx.exec(`INSERT INTO card_types (`+typeColumns+`) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
			ON CONFLICT (id) DO UPDATE SET (name, profile, unblock_remote, unblock_self, updated_by, updated_at) = (?2, ?3, ?4, ?5, ?6, ?7)`,
			t.ID, t.Name, t.Profile, string(remote), string(self), t.UpdatedBy, micros(t.UpdatedAt))
		if err != nil {
			return err
		}
		return tx.log(e)
	})
	if err != nil {
		return "", failed("put card type "+t.ID, err)
	}
	return result, nil
}

// typeColumns are the columns that a card type is read from, in the order of typeRow.
const typeColumns = `id, name, profile, unblock_remote, unblock_self, updated_by, updated_at`

// sameType tells whether nothing but UpdatedBy and UpdatedAt differs.
func sameType(a, b card.Type) bool {
	return a.ID == b.ID && a.Name == b.Name && a.Profile == b.Profile &&
		maps.Equal(a.UnblockRemote, b.UnblockRemote) && maps.Equal(a.UnblockSelf, b.UnblockSelf)
}

// typeRow is a row with a card type.
type typeRow struct {
	card.Type
	remote, self []byte
	updated      sql.NullInt64
}

func (r *typeRow) places() []any {
	return []any{&r.ID, &r.Name, &r.Profile, &r.remote, &r.self, &r.UpdatedBy, &r.updated}
}

func (r *typeRow) read() (card.Type, error) {
	if err := errors.Join(json.Unmarshal(r.remote, &r.UnblockRemote), json.Unmarshal(r.self, &r.UnblockSelf)); err != nil {
		return card.Type{}, fmt.Errorf("switches of card type %s: %w", r.ID, err)
	}
	r.UpdatedAt = fromMicros(r.updated)
	return r.Type, nil
}

func scanType(row scanner) (card.Type, error) {
	var r typeRow
	if err := row.Scan(r.places()...); err != nil {
		return card.Type{}, err
	}
	return r.read()
}

// CardType finds a card type, or gives card.ErrNotFound.
func (s *Store) CardType(ctx context.Context, id string) (card.Type, error) {
	t, err := scanType(s.readers.QueryRowContext(ctx, `SELECT `+typeColumns+` FROM card_types WHERE id = ?1`, id))
	return t, s.unread("find card type "+id, err)
}

// CardTypes lists the card types by ID.
func (s *Store) CardTypes(ctx context.Context) ([]card.Type, error) {
	rows, err := s.readers.QueryContext(ctx, `SELECT `+typeColumns+` FROM card_types ORDER BY id`)
	if err != nil {
		return nil, s.unread("list card types", err)
	}
	types, err := collect(rows, scanType)
	return types, s.unread("list card types", err)
}
