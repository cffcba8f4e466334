package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"latchkey/audit"
	"latchkey/dualcontrol"
	"latchkey/policy"
	"latchkey/rulebook"
)

var _ rulebook.Ledger = (*Store)(nil)

// maxPrune is how many decisions one write deletes at most, since answers wait for it.
const maxPrune = 5000

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

// logDecided appends an entry to the audit log, and beside it what policies were asked
// for it, if anything.
func (tx *tx) logDecided(e audit.Entry, text []byte) error {
	if err := tx.log(e); err != nil || len(text) == 0 {
		return err
	}
	if _, err := tx.exec(`INSERT INTO policy_decisions (sequence, decided) VALUES (?1, ?2)`, tx.sequence, string(text)); err != nil {
		return fmt.Errorf("keep decision: %w", err)
	}
	return nil
}

// encode is a decision as it is stored; nothing for none.
func encode(d *policy.Decided) ([]byte, error) {
	if d == nil {
		return nil, nil
	}
	return d.Encode()
}

// Decisions gives the last decisions of the policies; see rulebook.Ledger.
func (s *Store) Decisions(ctx context.Context, below int64, limit int) ([]rulebook.Kept, error) {
	rows, err := s.readers.QueryContext(ctx, `SELECT d.sequence, d.decided, a.entry FROM policy_decisions d
		JOIN audit_entries a ON a.sequence = d.sequence AND a.entry <> ''
		WHERE (?1 = 0 OR d.sequence < ?1) AND a.entry <> '' ORDER BY d.sequence DESC LIMIT ?2`, below, limit)
	if err != nil {
		return nil, s.unread("read the last decisions", err)
	}
	list, err := collect(rows, func(row scanner) (k rulebook.Kept, err error) {
		var sequence int64
		var decided, entry []byte
		if err := row.Scan(&sequence, &decided, &entry); err != nil {
			return k, err
		}
		var e audit.Entry
		if err := json.Unmarshal(entry, &e); err != nil {
			return k, fmt.Errorf("entry %d: %w", sequence, err)
		}
		e.Sequence = sequence
		k.Entry = e
		if k.Decided, err = policy.Decode(decided); err != nil {
			return k, fmt.Errorf("entry %d: %w", sequence, err)
		}
		k.Decision.Policies, k.Decision.Version = e.Policies, e.PolicyVersion
		return k, nil
	})
	return list, s.unread("read the last decisions", err)
}

// PruneDecisions deletes all but so many of the last decisions, and those whose audit
// entries are pruned.
func (s *Store) PruneDecisions(ctx context.Context, keep int) error {
	for {
		var deleted int64
		err := s.writer.write(ctx, func(tx *tx) (err error) {
			deleted, err = tx.exec(`DELETE FROM policy_decisions WHERE sequence IN (SELECT sequence FROM policy_decisions
				WHERE sequence <= (SELECT sequence FROM policy_decisions ORDER BY sequence DESC LIMIT 1 OFFSET ?1)
					OR sequence <= (SELECT pruned FROM audit_log)
				ORDER BY sequence LIMIT ?2)`, keep, maxPrune)
			return err
		})
		if err != nil || deleted < maxPrune {
			return failed("delete old decisions", err)
		}
	}
}
