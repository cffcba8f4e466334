package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"latchkey/card"
)

// ErrSync says that a synchronisation does not stand where the caller goes on, or
// is over: somebody else goes on with it too.
var ErrSync = errors.New("the synchronisation stands elsewhere")

// Sync is a synchronisation: a source sends the data of all its cards, a card a
// line, in as many parts as it takes.
type Sync struct {
	ID     string
	Source string
	Hash   string // of all the lines: SHA-256, hex
	Total  int    // lines, blank ones too
	// Lines is how many of them are done, from the first on. The others count those
	// by result; blank lines have none.
	Lines, Created, Updated, Unchanged, Refused int
	// Missing is how many cards of the source were not among them, once it is
	// finished: their data was last confirmed before it began.
	Missing                          int
	StartedAt, ChangedAt, FinishedAt time.Time // the last is zero until it is finished
}

// SyncStep is how far one write of cards brings a synchronisation.
type SyncStep struct {
	ID       string
	From, To int // lines done before and after
	Refused  int // of those between, besides the cards that are written
	At       time.Time
}

// MaxSyncs is how many synchronisations Syncs gives at most in one call.
const MaxSyncs = 500

// BeginSync begins a synchronisation, or finds the unfinished one of the same
// source and file, which is gone on with instead. Before is the ID of the last
// one of that file that was finished, if there is one.
func (s *Store) BeginSync(ctx context.Context, begun Sync) (_ Sync, before string, err error) {
	err = s.writer.write(ctx, func(tx *tx) error {
		found, err := scanSync(tx.QueryRow(`SELECT `+syncColumns+` FROM card_syncs
			WHERE source = ?1 AND hash = ?2 AND total = ?3 AND finished_at IS NULL ORDER BY started_at DESC LIMIT 1`, begun.Source, begun.Hash, begun.Total))
		switch {
		case err == nil:
			begun = found
		case !errors.Is(err, sql.ErrNoRows):
			return err
		default:
			begun = Sync{
				ID: begun.ID, Source: begun.Source, Hash: begun.Hash, Total: begun.Total,
				StartedAt: asKept(begun.StartedAt), ChangedAt: asKept(begun.StartedAt),
			}
			if _, err := tx.exec(`INSERT INTO card_syncs (`+syncColumns+`) VALUES (?1, ?2, ?3, ?4, 0, 0, 0, 0, 0, 0, ?5, ?5, NULL)`,
				begun.ID, begun.Source, begun.Hash, begun.Total, micros(begun.StartedAt)); err != nil {
				return err
			}
		}
		err = tx.QueryRow(`SELECT id FROM card_syncs WHERE source = ?1 AND hash = ?2 AND finished_at IS NOT NULL ORDER BY started_at DESC LIMIT 1`,
			begun.Source, begun.Hash).Scan(&before)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	if err != nil {
		return Sync{}, "", failed("begin synchronisation", err)
	}
	return begun, before, nil
}

// step writes down how far a synchronisation has come.
func (tx *tx) step(step SyncStep, results []Result) error {
	var counts [3]int
	for _, r := range results {
		switch r {
		case Created:
			counts[0]++
		case Updated:
			counts[1]++
		case Unchanged:
			counts[2]++
		}
	}
	n, err := tx.exec(`UPDATE card_syncs SET lines = ?3, created = created + ?4, updated = updated + ?5, unchanged = unchanged + ?6,
			refused = refused + ?7, changed_at = ?8
		WHERE id = ?1 AND lines = ?2 AND ?3 <= total AND finished_at IS NULL`,
		step.ID, step.From, step.To, counts[0], counts[1], counts[2], step.Refused, micros(step.At))
	if err == nil && n == 0 {
		return ErrSync
	}
	return err
}

// EndSync finishes a synchronisation of which so many lines are done, blank ones at
// the end aside, and counts the cards of its source that were not among them. It
// gives ErrSync where it stands elsewhere.
func (s *Store) EndSync(ctx context.Context, id string, lines int, at time.Time) (Sync, error) {
	sync, err := s.Sync(ctx, id)
	if err != nil {
		return Sync{}, err
	}
	// Of those there may be many, so they are counted before others' writes would wait.
	err = s.readers.QueryRowContext(ctx, `SELECT count(*) FROM cards WHERE source = ?1 AND synced_at < ?2`,
		sync.Source, micros(sync.StartedAt)).Scan(&sync.Missing)
	if err != nil {
		return Sync{}, s.unread("count cards that are not in synchronisation "+id, err)
	}
	err = s.writer.write(ctx, func(tx *tx) error {
		n, err := tx.exec(`UPDATE card_syncs SET lines = total, missing = ?3, changed_at = ?4, finished_at = ?4
			WHERE id = ?1 AND lines = ?2 AND finished_at IS NULL`, id, lines, sync.Missing, micros(at))
		if err == nil && n == 0 {
			return ErrSync
		}
		return err
	})
	if err != nil {
		return Sync{}, failed("finish synchronisation "+id, err)
	}
	return s.Sync(ctx, id)
}

// syncColumns are the columns that a synchronisation is read from, in scanSync's order.
const syncColumns = `id, source, hash, total, lines, created, updated, unchanged, refused, missing, started_at, changed_at, finished_at`

func scanSync(row scanner) (Sync, error) {
	var y Sync
	var started, changed, finished sql.NullInt64
	err := row.Scan(&y.ID, &y.Source, &y.Hash, &y.Total, &y.Lines, &y.Created, &y.Updated, &y.Unchanged, &y.Refused, &y.Missing, &started, &changed, &finished)
	y.StartedAt, y.ChangedAt, y.FinishedAt = fromMicros(started), fromMicros(changed), fromMicros(finished)
	return y, err
}

// Sync finds a synchronisation, or gives card.ErrNotFound.
func (s *Store) Sync(ctx context.Context, id string) (Sync, error) {
	y, err := scanSync(s.readers.QueryRowContext(ctx, `SELECT `+syncColumns+` FROM card_syncs WHERE id = ?1`, id))
	return y, s.unread("find synchronisation "+id, err)
}

// Syncs gives a page of the synchronisations, the newest first, and the cursor of
// the page after, empty on the last. The limit is from 1 to MaxSyncs. It gives
// ErrQuery for a cursor that did not come from here.
func (s *Store) Syncs(ctx context.Context, limit int, after string) (list []Sync, next string, err error) {
	last, lastID := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), ""
	if after != "" {
		id, err := base64.RawURLEncoding.DecodeString(after)
		if err != nil {
			return nil, "", errCursor
		}
		y, err := s.Sync(ctx, string(id))
		switch {
		case errors.Is(err, card.ErrNotFound):
			return nil, "", errCursor
		case err != nil:
			return nil, "", err
		}
		last, lastID = y.StartedAt, y.ID
	}
	limit = max(1, min(limit, MaxSyncs))
	rows, err := s.readers.QueryContext(ctx, `SELECT `+syncColumns+` FROM card_syncs WHERE (started_at, id) < (?1, ?2)
		ORDER BY started_at DESC, id DESC LIMIT ?3`, micros(last), lastID, limit+1)
	if err != nil {
		return nil, "", s.unread("list synchronisations", err)
	}
	if list, err = collect(rows, scanSync); err != nil {
		return nil, "", s.unread("list synchronisations", fmt.Errorf("read: %w", err))
	}
	if len(list) > limit {
		list = list[:limit]
		next = base64.RawURLEncoding.EncodeToString([]byte(list[limit-1].ID))
	}
	return list, next, nil
}

// asKept is a time as the store gives it back.
func asKept(t time.Time) time.Time { return fromMicros(micros(t)) }
