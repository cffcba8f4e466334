package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"latchkey/audit"
	"latchkey/dualcontrol"
)

var _ dualcontrol.Book = (*Store)(nil)

// keep makes a change under dual control durable: the proposal, what it does to the
// records of its room, and the audit entries.
func keep[E any](ctx context.Context, s *Store, c dualcontrol.Change[E], effect func(*tx, E) error) error {
	return s.writer.write(ctx, func(tx *tx) error {
		if c.Proposal != nil {
			if err := tx.putProposal(*c.Proposal, c.From); err != nil {
				return fmt.Errorf("proposal %s: %w", c.Proposal.ID, err)
			}
		}
		if c.Effect != nil {
			if err := effect(tx, *c.Effect); err != nil {
				return err
			}
		}
		return tx.logAll(c.Entries)
	})
}

func (tx *tx) logAll(entries []audit.Entry) error {
	for _, e := range entries {
		if err := tx.log(e); err != nil {
			return err
		}
	}
	return nil
}

// putProposal writes a proposal if it is still as it was at the revision that it
// was made from, and the approvals that are new.
func (tx *tx) putProposal(p dualcontrol.Proposal, from int64) error {
	if p.Revision != from+1 {
		return fmt.Errorf("revision %d cannot follow %d", p.Revision, from)
	}
	result := string(p.Result)
	if result == "" {
		result = "{}"
	}
	var n int64
	var err error
	if from == 0 {
		n, err = tx.exec(`INSERT INTO proposals (id, kind, statement, created_at, expires_at, state, ended_by, end_reason, ended_at, result, revision)
			VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (id) DO NOTHING`,
			p.ID, p.Kind, p.Text, micros(p.CreatedAt), micros(p.ExpiresAt), p.State, p.EndedBy, p.EndReason, micros(p.EndedAt), result, p.Revision)
	} else {
		n, err = tx.exec(`UPDATE proposals SET (state, ended_by, end_reason, ended_at, result, revision) = (?3, ?4, ?5, ?6, ?7, ?8)
			WHERE id = ?1 AND kind = ?2 AND revision = ?8 - 1`,
			p.ID, p.Kind, p.State, p.EndedBy, p.EndReason, micros(p.EndedAt), result, p.Revision)
	}
	if err == nil && n == 0 {
		err = dualcontrol.ErrConflict
	}
	if err != nil {
		return err
	}
	for i, a := range p.Approved {
		_, err := tx.exec(`INSERT INTO approvals (proposal, officer, person, place, hash, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
			ON CONFLICT (proposal, officer) DO NOTHING`, p.ID, a.Officer, a.Person, i, a.Hash, micros(a.At))
		if err != nil {
			return err
		}
	}
	return nil
}

// proposalColumns are the columns that a proposal is read from, in scanProposal's
// order.
const proposalColumns = `id, kind, statement, state, ended_by, end_reason, ended_at, result, revision`

func scanProposal(row scanner) (dualcontrol.Proposal, error) {
	var p dualcontrol.Proposal
	var id string
	var result []byte
	var ended sql.NullInt64
	err := row.Scan(&id, &p.Kind, &p.Text, &p.State, &p.EndedBy, &p.EndReason, &ended, &result, &p.Revision)
	if err != nil {
		return dualcontrol.Proposal{}, err
	}
	if err = p.ReadHeader(); err == nil && p.ID != id {
		err = fmt.Errorf("it says that it is proposal %s", p.ID)
	}
	if err != nil {
		return dualcontrol.Proposal{}, fmt.Errorf("proposal %s: %w", id, err)
	}
	p.EndedAt, p.Result = fromMicros(ended), result
	return p, nil
}

// Proposal finds a proposal of the kind with its approvals, or gives
// card.ErrNotFound.
func (s *Store) Proposal(ctx context.Context, kind dualcontrol.Kind, id string) (dualcontrol.Proposal, error) {
	p, err := scanProposal(s.readers.QueryRowContext(ctx, `SELECT `+proposalColumns+` FROM proposals WHERE id = ?1 AND kind = ?2`, id, kind))
	if err == nil {
		p.Approved, err = s.approvals(ctx, id)
	}
	if err != nil {
		return dualcontrol.Proposal{}, s.unread("find proposal "+id, err)
	}
	return p, nil
}

func (s *Store) approvals(ctx context.Context, id string) ([]dualcontrol.Approval, error) {
	rows, err := s.readers.QueryContext(ctx, `SELECT officer, person, hash, at FROM approvals WHERE proposal = ?1 ORDER BY place`, id)
	if err != nil {
		return nil, err
	}
	return collect(rows, func(row scanner) (dualcontrol.Approval, error) {
		var a dualcontrol.Approval
		var at sql.NullInt64
		err := row.Scan(&a.Officer, &a.Person, &a.Hash, &at)
		a.At = fromMicros(at)
		return a, err
	})
}

// Proposals gives a page of proposals, the newest first; see dualcontrol.Book. The
// limit is DefaultCards for 0 or less, and never more than MaxCards.
func (s *Store) Proposals(ctx context.Context, q dualcontrol.Query) (page []dualcontrol.Proposal, next string, err error) {
	at, id, err := readCursor(q.After)
	if err != nil {
		return nil, "", err
	}
	limit := min(q.Limit, MaxCards)
	if limit <= 0 {
		limit = DefaultCards
	}
	rows, err := s.readers.QueryContext(ctx, `SELECT `+proposalColumns+` FROM proposals
		WHERE kind = ?6 AND (?1 = '' OR ?1 = CASE WHEN state = 'open' AND expires_at <= ?5 THEN 'expired' ELSE state END)
			AND (?2 = '' OR (created_at, id) < (?3, ?2))
		ORDER BY created_at DESC, id DESC LIMIT ?4`, q.State, id, at, limit+1, micros(q.At), q.Kind)
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
		return 0, "", dualcontrol.ErrQuery
	}
	moment, id, _ := strings.Cut(string(text), " ")
	if at, err = strconv.ParseInt(moment, 10, 64); err != nil || id == "" {
		return 0, "", dualcontrol.ErrQuery
	}
	return at, id, nil
}
