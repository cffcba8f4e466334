package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"latchkey/card"
	"latchkey/custody"
)

var (
	_ custody.Ledger = (*Store)(nil)
	_ custody.Cards  = (*Store)(nil)
)

// Keep makes a change of proposals and key records durable with its audit entries.
// See custody.Ledger.
func (s *Store) Keep(ctx context.Context, c custody.Change) error {
	err := s.writer.write(ctx, func(tx *tx) error {
		if c.Proposal != nil {
			if err := tx.putProposal(*c.Proposal, c.From); err != nil {
				return fmt.Errorf("proposal %s: %w", c.Proposal.ID, err)
			}
		}
		if c.Key != nil {
			if err := tx.putRecord(c); err != nil {
				return fmt.Errorf("%s version %d: %w", c.Key.Key, c.Key.Version, err)
			}
		}
		for _, e := range c.Entries {
			if err := tx.log(e); err != nil {
				return err
			}
		}
		return nil
	})
	return failed("keep change in the keys' ledger", err)
}

// putProposal writes a proposal if it is still as it was at the revision that it
// was made from, and the approvals that are new.
func (tx *tx) putProposal(p custody.Proposal, from int64) error {
	if p.Revision != from+1 {
		return fmt.Errorf("revision %d cannot follow %d", p.Revision, from)
	}
	result, err := json.Marshal(p.Result)
	if err != nil {
		return err
	}
	var n int64
	if from == 0 {
		n, err = tx.exec(`INSERT INTO key_proposals (id, statement, created_at, expires_at, state, ended_by, end_reason, ended_at, result, revision)
			VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (id) DO NOTHING`,
			p.ID, p.Canonical(), micros(p.CreatedAt), micros(p.ExpiresAt), p.State, p.EndedBy, p.EndReason, micros(p.EndedAt), string(result), p.Revision)
	} else {
		n, err = tx.exec(`UPDATE key_proposals SET (state, ended_by, end_reason, ended_at, result, revision) = (?2, ?3, ?4, ?5, ?6, ?7)
			WHERE id = ?1 AND revision = ?7 - 1`,
			p.ID, p.State, p.EndedBy, p.EndReason, micros(p.EndedAt), string(result), p.Revision)
	}
	if err == nil && n == 0 {
		err = custody.ErrConflict
	}
	if err != nil {
		return err
	}
	for i, a := range p.Approved {
		_, err := tx.exec(`INSERT INTO key_approvals (proposal, officer, place, hash, at) VALUES (?1, ?2, ?3, ?4, ?5)
			ON CONFLICT (proposal, officer) DO NOTHING`, p.ID, a.Officer, i, a.Hash, micros(a.At))
		if err != nil {
			return err
		}
	}
	return nil
}

// putRecord writes or takes away a key's record if it is still as it was at the
// revision that the change was made from, and names the current version.
func (tx *tx) putRecord(c custody.Change) error {
	r := *c.Key
	if r.Revision != c.KeyFrom+1 {
		return fmt.Errorf("revision %d cannot follow %d", r.Revision, c.KeyFrom)
	}
	kcv, err := json.Marshal(r.KCV)
	if err != nil {
		return err
	}
	var n int64
	switch {
	case c.Forget && c.KeyFrom == 0:
		return nil // there is nothing to take away
	case c.Forget:
		n, err = tx.exec(`DELETE FROM key_records WHERE key = ?1 AND version = ?2 AND revision = ?3`, r.Key, r.Version, c.KeyFrom)
	default:
		n, err = tx.exec(`INSERT INTO key_records (`+recordColumns+`) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10 WHERE ?11 = 0 OR EXISTS (
				SELECT 1 FROM key_records WHERE key = ?1 AND version = ?2)
			ON CONFLICT (key, version) DO UPDATE SET (state, type, use, kcv, proposal, created_at, changed_at, revision)
			= (?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) WHERE key_records.revision = ?11`,
			r.Key, r.Version, r.State, r.Type, r.Use, string(kcv), r.Proposal, micros(r.CreatedAt), micros(r.ChangedAt), r.Revision, c.KeyFrom)
	}
	if err == nil && n == 0 {
		err = custody.ErrConflict
	}
	if err == nil && c.Current {
		_, err = tx.exec(`INSERT INTO current_versions (key, version) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET version = ?2`, r.Key, r.Version)
	}
	return err
}

// proposalColumns are the columns that a proposal is read from, in scanProposal's
// order.
const proposalColumns = `id, statement, state, ended_by, end_reason, ended_at, result, revision`

func scanProposal(row scanner) (custody.Proposal, error) {
	var p custody.Proposal
	var id, statement string
	var result []byte
	var ended sql.NullInt64
	err := row.Scan(&id, &statement, &p.State, &p.EndedBy, &p.EndReason, &ended, &result, &p.Revision)
	if err != nil {
		return custody.Proposal{}, err
	}
	if p.Statement, err = custody.ParseStatement(statement); err == nil && p.ID != id {
		err = fmt.Errorf("it says that it is proposal %s", p.ID)
	}
	if err == nil {
		err = json.Unmarshal(result, &p.Result)
	}
	if err != nil {
		return custody.Proposal{}, fmt.Errorf("proposal %s: %w", id, err)
	}
	p.EndedAt = fromMicros(ended)
	return p, nil
}

// Proposal finds a proposal with its approvals, or gives card.ErrNotFound.
func (s *Store) Proposal(ctx context.Context, id string) (custody.Proposal, error) {
	p, err := scanProposal(s.readers.QueryRowContext(ctx, `SELECT `+proposalColumns+` FROM key_proposals WHERE id = ?1`, id))
	if err == nil {
		p.Approved, err = s.approvals(ctx, id)
	}
	if err != nil {
		return custody.Proposal{}, s.unread("find proposal "+id, err)
	}
	return p, nil
}

func (s *Store) approvals(ctx context.Context, id string) ([]custody.Approval, error) {
	rows, err := s.readers.QueryContext(ctx, `SELECT officer, hash, at FROM key_approvals WHERE proposal = ?1 ORDER BY place`, id)
	if err != nil {
		return nil, err
	}
	return collect(rows, func(row scanner) (custody.Approval, error) {
		var a custody.Approval
		var at sql.NullInt64
		err := row.Scan(&a.Officer, &a.Hash, &at)
		a.At = fromMicros(at)
		return a, err
	})
}

// Proposals gives a page of proposals, the newest first; see custody.Ledger. The
// limit is DefaultCards for 0 or less, and never more than MaxCards.
func (s *Store) Proposals(ctx context.Context, q custody.Query) (page []custody.Proposal, next string, err error) {
	at, id, err := readCursor(q.After)
	if err != nil {
		return nil, "", err
	}
	limit := min(q.Limit, MaxCards)
	if limit <= 0 {
		limit = DefaultCards
	}
	rows, err := s.readers.QueryContext(ctx, `SELECT `+proposalColumns+` FROM key_proposals
		WHERE (?1 = '' OR ?1 = CASE WHEN state = 'open' AND expires_at <= ?5 THEN 'expired' ELSE state END)
			AND (?2 = '' OR (created_at, id) < (?3, ?2))
		ORDER BY created_at DESC, id DESC LIMIT ?4`, q.State, id, at, limit+1, micros(q.At))
	if err == nil {
		page, err = collect(rows, scanProposal)
	}
	for i := 0; err == nil && i < len(page); i++ {
		page[i].Approved, err = s.approvals(ctx, page[i].ID)
	}
	if err != nil {
		return nil, "", s.unread("list proposals", err)
	}
	if len(page) > limit { // one more was asked for, to know whether there is one
		page = page[:limit]
		last := page[limit-1]
		next = base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %s", last.CreatedAt.UnixMicro(), last.ID))
	}
	return page, next, nil
}

// readCursor reads the place after which a page of proposals begins.
func readCursor(cursor string) (at int64, id string, err error) {
	if cursor == "" {
		return 0, "", nil
	}
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return 0, "", custody.ErrQuery
	}
	moment, id, _ := strings.Cut(string(text), " ")
	if at, err = strconv.ParseInt(moment, 10, 64); err != nil || id == "" {
		return 0, "", custody.ErrQuery
	}
	return at, id, nil
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
