package store

import (
	"context"
	"encoding/json"
	"time"

	"latchkey/audit"
	"latchkey/notify"
)

var _ notify.Ledger = (*Store)(nil)

// KeepNotifications adds messages; see notify.Ledger.
func (s *Store) KeepNotifications(ctx context.Context, list []notify.Message, now time.Time) error {
	err := s.writer.write(ctx, func(tx *tx) error {
		for _, m := range list {
			text, err := json.Marshal(m)
			if err != nil {
				return err
			}
			if _, err := tx.exec(`INSERT INTO notifications (id, channel, message, made_at, due_at, tries) VALUES (?1, ?2, ?3, ?4, ?5, 0)
				ON CONFLICT (id) DO NOTHING`, m.ID, m.Channel, string(text), m.At.UnixMicro(), now.UnixMicro()); err != nil {
				return err
			}
		}
		return nil
	})
	return failed("keep notifications", err)
}

// ClaimNotifications takes messages that are due; see notify.Ledger.
func (s *Store) ClaimNotifications(ctx context.Context, channel string, now, again time.Time, limit int) ([]notify.Message, error) {
	// Most of the time none is due, which is no write.
	var due bool
	err := s.readers.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM notifications WHERE channel = ?1 AND due_at <= ?2)`,
		channel, now.UnixMicro()).Scan(&due)
	if err != nil || !due {
		return nil, s.unread("look for notifications", err)
	}
	var list []notify.Message
	err = s.writer.write(ctx, func(tx *tx) error {
		rows, err := tx.Query(`SELECT message, tries FROM notifications WHERE channel = ?1 AND due_at <= ?2 ORDER BY due_at, id LIMIT ?3`,
			channel, now.UnixMicro(), limit)
		if err != nil {
			return err
		}
		if list, err = collect(rows, scanNotification); err != nil {
			return err
		}
		for _, m := range list {
			if _, err := tx.exec(`UPDATE notifications SET due_at = ?2 WHERE id = ?1`, m.ID, again.UnixMicro()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, failed("take notifications", err)
	}
	return list, nil
}

func scanNotification(row scanner) (notify.Message, error) {
	var m notify.Message
	var text []byte
	var tries int
	if err := row.Scan(&text, &tries); err != nil {
		return m, err
	}
	err := json.Unmarshal(text, &m)
	m.Tries = tries
	return m, err
}

// PostponeNotification counts a try; see notify.Ledger.
func (s *Store) PostponeNotification(ctx context.Context, id string, due time.Time) error {
	err := s.writer.write(ctx, func(tx *tx) error {
		_, err := tx.exec(`UPDATE notifications SET due_at = ?2, tries = tries + 1 WHERE id = ?1`, id, due.UnixMicro())
		return err
	})
	return failed("postpone notification "+id, err)
}

// DropNotification drops a message; see notify.Ledger.
func (s *Store) DropNotification(ctx context.Context, id string, e *audit.Entry) error {
	err := s.writer.write(ctx, func(tx *tx) error {
		n, err := tx.exec(`DELETE FROM notifications WHERE id = ?1`, id)
		if err != nil || n == 0 || e == nil {
			return err
		}
		return tx.log(*e)
	})
	return failed("drop notification "+id, err)
}

// WaitingNotifications tells what waits; see notify.Ledger.
func (s *Store) WaitingNotifications(ctx context.Context) (map[string]notify.Waiting, error) {
	rows, err := s.readers.QueryContext(ctx, `SELECT channel, count(*), min(made_at) FROM notifications GROUP BY channel`)
	if err != nil {
		return nil, s.unread("count notifications", err)
	}
	type one struct {
		channel string
		notify.Waiting
	}
	list, err := collect(rows, func(row scanner) (one, error) {
		var o one
		var oldest int64
		err := row.Scan(&o.channel, &o.Messages, &oldest)
		o.Oldest = time.UnixMicro(oldest).UTC()
		return o, err
	})
	if err != nil {
		return nil, s.unread("count notifications", err)
	}
	waiting := make(map[string]notify.Waiting, len(list))
	for _, o := range list {
		waiting[o.channel] = o.Waiting
	}
	return waiting, nil
}
