package server

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"latchkey/card"
	"latchkey/server/api"
	"latchkey/store"
)

// maxSyncLines bounds the lines of a synchronisation.
const maxSyncLines = 100_000_000

// beginSync begins a synchronisation, or finds the one to go on with.
func (s *Server) beginSync(c echo.Context) error {
	var body api.BeginCardSync
	if err := read(c, &body); err != nil {
		return err
	}
	var faults []card.Fault
	if sum, err := hex.DecodeString(body.SHA256); err != nil || len(sum) != 32 {
		faults = append(faults, card.Fault{Field: "sha256", Detail: "is not 64 hex digits"})
	} else {
		body.SHA256 = hex.EncodeToString(sum)
	}
	if body.Lines < 1 || body.Lines > maxSyncLines {
		faults = append(faults, card.Fault{Field: "lines", Detail: fmt.Sprintf("must be from 1 to %d", maxSyncLines)})
	}
	if err := invalid(faults); err != nil {
		return err
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	id := uuid.NewString()
	sync, before, err := s.Directory.BeginSync(ctx, store.Sync{
		ID: id, Source: who(c).Client, Hash: body.SHA256, Total: body.Lines, StartedAt: s.Now(),
	})
	if err != nil {
		return storeFailed(err)
	}
	status := http.StatusOK
	if sync.ID == id {
		status = http.StatusCreated
	}
	answer := syncBody(sync)
	answer.SameAs = before
	return reply(c, status, answer)
}

func (s *Server) getSync(c echo.Context) error {
	id, err := parameter(c, "id")
	if err != nil {
		return err
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	sync, err := s.Directory.Sync(ctx, id)
	if err != nil {
		return syncFailed(err)
	}
	return reply(c, http.StatusOK, syncBody(sync))
}

func (s *Server) listSyncs(c echo.Context) error {
	values, limit, faults := pageOf(c.Request().URL.RawQuery, store.MaxSyncs, "limit", "after")
	if err := invalid(faults); err != nil {
		return err
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	list, next, err := s.Directory.Syncs(ctx, limit, values.Get("after"))
	switch {
	case errors.Is(err, store.ErrQuery):
		return noSuchPage()
	case err != nil:
		return storeFailed(err)
	}
	page := api.CardSyncs{CardSyncs: make([]api.CardSync, len(list)), Next: next}
	for i, y := range list {
		page.CardSyncs[i] = syncBody(y)
	}
	return reply(c, http.StatusOK, page)
}

func syncBody(y store.Sync) api.CardSync {
	body := api.CardSync{
		ID: y.ID, Source: y.Source, SHA256: y.Hash, Lines: y.Total, Done: y.Lines,
		Created: y.Created, Updated: y.Updated, Unchanged: y.Unchanged, Refused: y.Refused,
		StartedAt: y.StartedAt, ChangedAt: y.ChangedAt, NotInSync: y.Missing,
	}
	if !y.FinishedAt.IsZero() {
		body.FinishedAt = &y.FinishedAt
	}
	return body
}

// syncing is a synchronisation that an import is a part of.
type syncing struct {
	id    string
	lines int // done
}

// from is how many lines are done before the import's first.
func (y *syncing) from() int {
	if y == nil {
		return 0
	}
	return y.lines
}

// step is how far a batch brings the synchronisation, whose last line has a number.
func (y *syncing) step(last, refused int, now time.Time) *store.SyncStep {
	if y == nil {
		return nil
	}
	return &store.SyncStep{ID: y.id, From: y.lines, To: last, Refused: refused, At: now}
}

// syncOf is the synchronisation that the query of an import names, if it does, and
// refuses it unless it stands where the import goes on.
func (s *Server) syncOf(c echo.Context) (*syncing, error) {
	values, err := url.ParseQuery(c.Request().URL.RawQuery)
	id, after := values.Get("sync"), values.Get("after")
	for name, list := range values {
		if name != "sync" && name != "after" || len(list) != 1 {
			err = errors.New("another parameter")
		}
	}
	line, malformed := strconv.Atoi(after)
	switch {
	case err == nil && len(values) == 0:
		return nil, nil
	case err != nil, id == "", malformed != nil:
		return nil, invalid([]card.Fault{{Field: "query", Detail: "takes sync, the ID of a synchronisation, and after, how many of its lines are done, or nothing"}})
	}
	ctx, cancel := s.inTime(c)
	defer cancel()
	sync, err := s.Directory.Sync(ctx, id)
	switch {
	case err != nil:
		return nil, syncFailed(err)
	case sync.Source != who(c).Client:
		return nil, syncFailed(card.ErrNotFound)
	case !sync.FinishedAt.IsZero(), sync.Lines != line:
		return nil, syncFailed(store.ErrSync)
	}
	return &syncing{id, line}, nil
}

// endSync finishes a synchronisation once all its lines have come.
func (s *Server) endSync(ctx context.Context, sync *syncing, read int) (api.CardSync, error) {
	ctx, cancel := context.WithTimeout(ctx, s.times.answer)
	defer cancel()
	found, err := s.Directory.Sync(ctx, sync.id)
	if err == nil && read != found.Total {
		return api.CardSync{}, refuse(codeSyncConflict, fmt.Sprintf("The synchronisation is of %d lines, and %d came. It is not finished; send the lines after %d of the same file.", found.Total, read, sync.lines))
	}
	if err == nil {
		found, err = s.Directory.EndSync(ctx, sync.id, sync.lines, s.Now())
	}
	if err != nil {
		return api.CardSync{}, syncFailed(err)
	}
	return syncBody(found), nil
}

// syncFailed tells why a synchronisation does not go on.
func syncFailed(err error) error {
	switch {
	case errors.Is(err, card.ErrNotFound):
		return refuse(codeSyncUnknown, "No synchronisation of yours has this ID.")
	case errors.Is(err, store.ErrSync):
		return refuse(codeSyncConflict, "The synchronisation stands at another line, or is finished. Somebody may be going on with it at the same time: look it up, and go on behind the lines that are done.")
	}
	return storeFailed(err)
}
