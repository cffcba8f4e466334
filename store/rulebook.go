package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"latchkey/dualcontrol"
	"latchkey/rulebook"
)

var _ rulebook.Ledger = (*Store)(nil)

// KeepPolicies makes a change of proposals and policy versions durable with its audit
// entries. See rulebook.Ledger.
func (s *Store) KeepPolicies(ctx context.Context, c rulebook.Change) error {
	return failed("keep change of the operator policies", keep(ctx, s, c, func(tx *tx, r rulebook.Record) error {
		n, err := tx.exec(`INSERT INTO policy_versions (version, fingerprint, proposal, activated_at) VALUES (?1, ?2, ?3, ?4)
			ON CONFLICT (version) DO NOTHING`, r.Number, r.Fingerprint, r.Proposal, micros(r.ActivatedAt))
		if err == nil && n == 0 {
			err = dualcontrol.ErrConflict
		}
		return err
	}))
}

// ActivePolicies is the number of the active version of the operator policies, 0
// where none is stored.
func (s *Store) ActivePolicies(ctx context.Context) (int, error) {
	var n int
	err := s.readers.QueryRowContext(ctx, `SELECT version FROM policy_versions ORDER BY version DESC LIMIT 1`).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return n, s.unread("find the active operator policies", err)
}

const versionColumns = `version, fingerprint, proposal, activated_at`

func scanVersion(row scanner) (rulebook.Record, error) {
	var r rulebook.Record
	var activated sql.NullInt64
	err := row.Scan(&r.Number, &r.Fingerprint, &r.Proposal, &activated)
	r.ActivatedAt = fromMicros(activated)
	return r, err
}

// PolicyVersion finds a version of the operator policies, or gives card.ErrNotFound.
func (s *Store) PolicyVersion(ctx context.Context, number int) (rulebook.Record, error) {
	r, err := scanVersion(s.readers.QueryRowContext(ctx, `SELECT `+versionColumns+` FROM policy_versions WHERE version = ?1`, number))
	if err != nil {
		return rulebook.Record{}, s.unread(fmt.Sprintf("find version %d of the operator policies", number), err)
	}
	return r, nil
}

// PolicyVersions lists versions of the operator policies; see rulebook.Ledger.
func (s *Store) PolicyVersions(ctx context.Context, below, limit int) ([]rulebook.Record, error) {
	rows, err := s.readers.QueryContext(ctx, `SELECT `+versionColumns+` FROM policy_versions
		WHERE ?1 = 0 OR version < ?1 ORDER BY version DESC LIMIT ?2`, below, limit)
	if err != nil {
		return nil, s.unread("list versions of the operator policies", err)
	}
	list, err := collect(rows, scanVersion)
	return list, s.unread("list versions of the operator policies", err)
}
