package store

import (
	"context"
	"time"

	"latchkey/audit"
	"latchkey/audit/digest"
)

var _ digest.Ledger = (*Store)(nil)

// Digested is how many entries of the audit log are digested; see digest.Ledger.
func (s *Store) Digested(ctx context.Context) (int64, error) {
	var n int64
	err := s.readers.QueryRowContext(ctx, `SELECT entries FROM audit_digest`).Scan(&n)
	return n, s.unread("read how far the audit log is digested", err)
}

// AddDigest adds a part to the digest; see digest.Ledger.
func (s *Store) AddDigest(ctx context.Context, p digest.Part) error {
	if len(p.Blocks) == 0 {
		return nil
	}
	before := p.Blocks[0].Number * audit.Width
	err := s.writer.write(ctx, func(tx *tx) error {
		moved, err := tx.exec(`UPDATE audit_digest SET entries = ?2 WHERE entries = ?1`, before, before+int64(len(p.Blocks))*audit.Width)
		if err != nil || moved == 0 { // another node was there first
			return err
		}
		for _, b := range p.Blocks {
			if _, err := tx.exec(`INSERT INTO audit_blocks (block, first_at, last_at, words) VALUES (?1, ?2, ?3, ?4)`,
				b.Number, b.First.UnixMicro(), b.Last.UnixMicro(), []byte(b.Words)); err != nil {
				return err
			}
		}
		for c, n := range p.Counts {
			if _, err := tx.exec(`INSERT INTO audit_counts (hour, action, outcome, code, number) VALUES (?1, ?2, ?3, ?4, ?5)
				ON CONFLICT (hour, action, outcome, code) DO UPDATE SET number = audit_counts.number + ?5`,
				c.Hour, string(c.Action), string(c.Outcome), c.Code, n); err != nil {
				return err
			}
		}
		for t, n := range p.Took {
			if _, err := tx.exec(`INSERT INTO audit_times (hour, bucket, number) VALUES (?1, ?2, ?3)
				ON CONFLICT (hour, bucket) DO UPDATE SET number = audit_times.number + ?3`, t.Hour, t.Bucket, n); err != nil {
				return err
			}
		}
		// What is gone from the log is not to be guessed from here either.
		_, err = tx.exec(`DELETE FROM audit_blocks WHERE block < (SELECT pruned FROM audit_log) / ?1`, audit.Width)
		return err
	})
	return failed("digest the audit log", err)
}

// Blocks gives blocks of the digest; see digest.Ledger.
func (s *Store) Blocks(ctx context.Context, below int64, from, to time.Time, limit int) ([]digest.Block, error) {
	// Which blocks are of the time an index alone tells: the filters are large.
	rows, err := s.readers.QueryContext(ctx, `SELECT block, first_at, last_at, words FROM audit_blocks WHERE block IN (
			SELECT block FROM audit_blocks WHERE block < ?1 AND last_at >= ?2 AND first_at <= ?3 ORDER BY block DESC LIMIT ?4)
		ORDER BY block DESC`, below, from.UnixMicro(), to.UnixMicro(), limit)
	if err != nil {
		return nil, s.unread("read the audit log's digest", err)
	}
	list, err := collect(rows, func(row scanner) (b digest.Block, err error) {
		var first, last int64
		var words []byte
		err = row.Scan(&b.Number, &first, &last, &words)
		b.First, b.Last, b.Words = time.UnixMicro(first).UTC(), time.UnixMicro(last).UTC(), words
		return b, err
	})
	return list, s.unread("read the audit log's digest", err)
}

// Counts gives what was counted of the audit log; see digest.Ledger.
func (s *Store) Counts(ctx context.Context, from int64) (map[digest.Count]int64, map[digest.Took]int64, error) {
	const what = "read the audit log's counts"
	counts, took := map[digest.Count]int64{}, map[digest.Took]int64{}
	rows, err := s.readers.QueryContext(ctx, `SELECT hour, action, outcome, code, number FROM audit_counts WHERE hour >= ?1`, from)
	if err != nil {
		return nil, nil, s.unread(what, err)
	}
	_, err = collect(rows, func(row scanner) (none struct{}, err error) {
		var c digest.Count
		var n int64
		err = row.Scan(&c.Hour, &c.Action, &c.Outcome, &c.Code, &n)
		counts[c] = n
		return none, err
	})
	if err != nil {
		return nil, nil, s.unread(what, err)
	}
	rows, err = s.readers.QueryContext(ctx, `SELECT hour, bucket, number FROM audit_times WHERE hour >= ?1`, from)
	if err != nil {
		return nil, nil, s.unread(what, err)
	}
	_, err = collect(rows, func(row scanner) (none struct{}, err error) {
		var t digest.Took
		var n int64
		err = row.Scan(&t.Hour, &t.Bucket, &n)
		took[t] = n
		return none, err
	})
	return counts, took, s.unread(what, err)
}
