package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"latchkey/card"
	"latchkey/custody"
	"latchkey/dualcontrol"
)

var (
	_ custody.Ledger = (*Store)(nil)
	_ custody.Cards  = (*Store)(nil)
)

// Keep makes a change of proposals and key records durable with its audit entries.
// See custody.Ledger.
func (s *Store) Keep(ctx context.Context, c custody.Change) error {
	return failed("keep change in the keys' ledger", keep(ctx, s, c, (*tx).putRecord))
}

// putRecord writes or takes away a key's record if it is still as it was at the
// revision that the change was made from, and names the current version.
func (tx *tx) putRecord(e custody.Effect) error {
	r := e.Key
	if r.Revision != e.From+1 {
		return fmt.Errorf("%s version %d: revision %d cannot follow %d", r.Key, r.Version, r.Revision, e.From)
	}
	kcv, err := json.Marshal(r.KCV)
	if err != nil {
		return err
	}
	var n int64
	switch {
	case e.Forget && e.From == 0:
		return nil // there is nothing to take away
	case e.Forget:
		n, err = tx.exec(`DELETE FROM key_records WHERE key = ?1 AND version = ?2 AND revision = ?3`, r.Key, r.Version, e.From)
	default:
		n, err = tx.exec(`INSERT INTO key_records (`+recordColumns+`) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10 WHERE ?11 = 0 OR EXISTS (
				SELECT 1 FROM key_records WHERE key = ?1 AND version = ?2)
			ON CONFLICT (key, version) DO UPDATE SET (state, type, use, kcv, proposal, created_at, changed_at, revision)
			= (?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) WHERE key_records.revision = ?11`,
			r.Key, r.Version, r.State, r.Type, r.Use, string(kcv), r.Proposal, micros(r.CreatedAt), micros(r.ChangedAt), r.Revision, e.From)
	}
	if err == nil && n == 0 {
		err = dualcontrol.ErrConflict
	}
	if err == nil && e.Current {
		_, err = tx.exec(`INSERT INTO current_versions (key, version) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET version = ?2`, r.Key, r.Version)
	}
	return err
}

// recordColumns are the columns that a key's record is read from, in scanRecord's
// order.
const recordColumns = `key, version, state, type, use, kcv, proposal, created_at, changed_at, revision`

func scanRecord(row scanner) (custody.Record, error) {
	var r custody.Record
	var kcv []byte
	var created, changed sql.NullInt64
	err := row.Scan(&r.Key, &r.Version, &r.State, &r.Type, &r.Use, &kcv, &r.Proposal, &created, &changed, &r.Revision)
	if err != nil {
		return custody.Record{}, err
	}
	if err := json.Unmarshal(kcv, &r.KCV); err != nil {
		return custody.Record{}, fmt.Errorf("check values of %s version %d: %w", r.Key, r.Version, err)
	}
	r.CreatedAt, r.ChangedAt = fromMicros(created), fromMicros(changed)
	return r, nil
}

// Record finds a key's record, or gives card.ErrNotFound.
func (s *Store) Record(ctx context.Context, key string, version int) (custody.Record, error) {
	r, err := scanRecord(s.readers.QueryRowContext(ctx, `SELECT `+recordColumns+` FROM key_records WHERE key = ?1 AND version = ?2`, key, version))
	if err != nil {
		return custody.Record{}, s.unread(fmt.Sprintf("find record of %s version %d", key, version), err)
	}
	return r, nil
}

// Records lists all key records, by key and version.
func (s *Store) Records(ctx context.Context) ([]custody.Record, error) {
	rows, err := s.readers.QueryContext(ctx, `SELECT `+recordColumns+` FROM key_records ORDER BY key, version`)
	if err != nil {
		return nil, s.unread("list key records", err)
	}
	records, err := collect(rows, scanRecord)
	return records, s.unread("list key records", err)
}

// Current is a key's current version, 0 where none was named.
func (s *Store) Current(ctx context.Context, key string) (int, error) {
	var version int
	err := s.readers.QueryRowContext(ctx, `SELECT version FROM current_versions WHERE key = ?1`, key).Scan(&version)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return version, s.unread("find current version of "+key, err)
}

// CardGroups counts the cards of each type and master key version, in that order.
func (s *Store) CardGroups(ctx context.Context) ([]custody.Group, error) {
	rows, err := s.readers.QueryContext(ctx, `SELECT type, master_key_version, count(*) FROM cards
		GROUP BY type, master_key_version ORDER BY type, master_key_version`)
	if err != nil {
		return nil, s.unread("count cards", err)
	}
	groups, err := collect(rows, func(row scanner) (custody.Group, error) {
		var g custody.Group
		err := row.Scan(&g.Type, &g.Version, &g.Cards)
		return g, err
	})
	return groups, s.unread("count cards", err)
}

// CardsOf gives the cards of a type and master key version whose serial number is
// after the given one, in their order, limit of them at most.
func (s *Store) CardsOf(ctx context.Context, g custody.Group, after string, limit int) ([]card.Card, error) {
	rows, err := s.readers.QueryContext(ctx, `SELECT `+cardColumns+` FROM cards
		WHERE type = ?1 AND master_key_version = ?2 AND serial > ?3 ORDER BY serial LIMIT ?4`, g.Type, g.Version, after, limit)
	if err != nil {
		return nil, s.unread("list cards of "+g.Type, err)
	}
	cards, err := collect(rows, scanCard)
	return cards, s.unread("list cards of "+g.Type, err)
}
