package store

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/policy"
	"latchkey/rulebook"
)

// maxPrune is how many rows of decisions one write deletes at most, since answers
// wait for it.
const maxPrune = 1000

// decision is what policies were asked and said, as it is stored: one after the other
// in a stream of encoding/gob, those of one transaction in a row. That takes a third of
// the time of JSON, and leaves out what is empty. What the audit entry says of the
// decision is left out too.
type decision struct {
	Sequence int64 // of the audit entry
	Request  policy.Request
	Decision policy.Decision
}

// logDecided appends an entry to the audit log, and beside it what policies were asked
// for it, nil for nothing.
func (tx *tx) logDecided(e audit.Entry, d *policy.Decided) error {
	if err := tx.log(e); err != nil || d == nil {
		return err
	}
	kept := decision{tx.sequence, d.Request, d.Decision}
	// Policies see neither the card's key material nor the switches of its type.
	kept.Request.Type.UnblockRemote, kept.Request.Type.UnblockSelf = nil, nil
	kept.Request.Card.CUID, kept.Request.Card.KDD, kept.Request.Card.WrappedKey = nil, nil, nil
	kept.Decision.Policies, kept.Decision.Version, kept.Decision.Why = nil, "", ""
	tx.decisions = append(tx.decisions, kept)
	return nil
}

// keepDecisions writes the batch's decisions.
func (tx *tx) keepDecisions() error {
	n := len(tx.decisions)
	if n == 0 {
		return nil
	}
	var text bytes.Buffer
	stream := gob.NewEncoder(&text)
	for i := range tx.decisions {
		if err := stream.Encode(&tx.decisions[i]); err != nil {
			return err
		}
	}
	_, err := tx.exec(`INSERT INTO policy_decisions (sequence, first, number, decided) VALUES (?1, ?2, ?3, ?4)`,
		tx.decisions[n-1].Sequence, tx.decisions[0].Sequence, n, text.Bytes())
	tx.decisions = nil
	return err
}

// Decisions gives the last decisions of the policies; see rulebook.Ledger.
func (s *Store) Decisions(ctx context.Context, below int64, limit int) ([]rulebook.Kept, error) {
	var list []rulebook.Kept
	for len(list) < limit {
		var first, last int64
		var text []byte
		err := s.readers.QueryRowContext(ctx, `SELECT first, sequence, decided FROM policy_decisions
			WHERE ?1 = 0 OR first < ?1 ORDER BY sequence DESC LIMIT 1`, below).Scan(&first, &last, &text)
		if err = s.unread("read the last decisions", err); errors.Is(err, card.ErrNotFound) {
			break
		}
		var entries map[int64]audit.Entry
		if err == nil {
			entries, err = s.entriesOf(ctx, first, last)
		}
		var batch []decision
		if err == nil {
			batch, err = decisions(text)
		}
		if err != nil {
			return nil, failed("read the last decisions", err)
		}
		for i := len(batch) - 1; i >= 0 && len(list) < limit; i-- {
			d := batch[i]
			e, there := entries[d.Sequence]
			if !there || below != 0 && d.Sequence >= below { // the entry is pruned, or the decision is not asked for
				continue
			}
			d.Decision.Policies, d.Decision.Version = e.Policies, e.PolicyVersion
			list = append(list, rulebook.Kept{Entry: e, Decided: policy.Decided{Request: d.Request, Decision: d.Decision}})
		}
		below = first
	}
	return list, nil
}

// decisions reads a row's stream.
func decisions(text []byte) ([]decision, error) {
	var list []decision
	stream := gob.NewDecoder(bytes.NewReader(text))
	for {
		var d decision
		switch err := stream.Decode(&d); {
		case errors.Is(err, io.EOF):
			return list, nil
		case err != nil:
			return nil, err
		}
		list = append(list, d)
	}
}

// entriesOf gives the audit entries of a range whose bodies are not pruned, by number.
func (s *Store) entriesOf(ctx context.Context, first, last int64) (map[int64]audit.Entry, error) {
	rows, err := s.readers.QueryContext(ctx, `SELECT sequence, entry FROM audit_entries WHERE sequence BETWEEN ?1 AND ?2 AND entry <> ''`, first, last)
	if err != nil {
		return nil, err
	}
	entries := make(map[int64]audit.Entry)
	_, err = collect(rows, func(row scanner) (none struct{}, err error) {
		var sequence int64
		var text []byte
		if err := row.Scan(&sequence, &text); err != nil {
			return none, err
		}
		var e audit.Entry
		if err := json.Unmarshal(text, &e); err != nil {
			return none, fmt.Errorf("entry %d: %w", sequence, err)
		}
		e.Sequence = sequence
		entries[sequence] = e
		return none, nil
	})
	return entries, err
}

// PruneDecisions deletes all but the last decisions, so many or up to a transaction's
// more, and those whose audit entries are pruned.
func (s *Store) PruneDecisions(ctx context.Context, keep int) error {
	for {
		var deleted int64
		err := s.writer.write(ctx, func(tx *tx) (err error) {
			deleted, err = tx.exec(`DELETE FROM policy_decisions WHERE sequence IN (SELECT sequence FROM (
					SELECT sequence, sum(number) OVER (ORDER BY sequence DESC) - number AS newer FROM policy_decisions) AS counted
				WHERE newer >= ?1 OR sequence <= (SELECT pruned FROM audit_log)
				ORDER BY sequence LIMIT ?2)`, keep, maxPrune)
			return err
		})
		if err != nil || deleted < maxPrune {
			return failed("delete old decisions", err)
		}
	}
}
