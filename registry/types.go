package registry

import (
	"context"
	"errors"
	"maps"
	"strings"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/store"
)

// TypeStore keeps card types. CardType gives card.ErrNotFound for what is not there.
type TypeStore interface {
	CardType(ctx context.Context, id string) (card.Type, error)
	PutCardType(ctx context.Context, t card.Type, e audit.Entry) (store.Result, error)
}

// Types lets card types in, whoever brings them. All fields are required. It is safe
// for concurrent use.
type Types struct {
	Store      TypeStore
	Profiles   Profiles
	CardStates card.States
}

// UseCase is one that is switched for each card type and state.
type UseCase string

// The use cases.
const (
	UnblockRemote UseCase = "unblock-remote" // Unblock card remote: operators unblock cards
	UnblockSelf   UseCase = "unblock-self"   // Unblock PIN offline: holders unblock their own
)

// UseCases lists the use cases.
func UseCases() []UseCase { return []UseCase{UnblockRemote, UnblockSelf} }

// switches are those of the use case, of a card type.
func (u UseCase) switches(t *card.Type) *map[string]bool {
	if u == UnblockSelf {
		return &t.UnblockSelf
	}
	return &t.UnblockRemote
}

// On tells whether the use case is on for cards of a type in a state.
func (u UseCase) On(t card.Type, state string) bool { return (*u.switches(&t))[state] }

// ErrTurned says that a use case is as it was to be turned: somebody else was there
// first.
var ErrTurned = errors.New("the use case is turned so already")

// Put registers a card type as it is to be, or refuses it: with all its faults, those
// that are known already among them. The entry says who wants it, and when.
func (r Types) Put(ctx context.Context, t card.Type, by audit.Entry, known ...card.Fault) (store.Result, error) {
	if err := Faulty(append(t.Faults(r.CardStates), known...)); err != nil {
		return "", err
	}
	switch _, err := r.Profiles.Profile(t.Profile); {
	case errors.Is(err, card.ErrNotFound):
		return "", refuse(ProfileUnknown, "No profile %s is configured.", t.Profile)
	case err != nil:
		return "", unavailable(err)
	}
	by.Action, by.Outcome = audit.CardTypePut, audit.Permit
	by.CardType, by.Profile, by.Detail = t.ID, t.Profile, switches(t)
	t.UpdatedAt = by.Time
	result, err := r.Store.PutCardType(ctx, t, by)
	switch {
	case errors.Is(err, store.ErrUncertain):
		return "", &Refusal{Code: Unavailable, Detail: "The store did not answer in time. It is not known whether the change was made; read it again.", cause: err}
	case err != nil:
		return "", unavailable(err)
	}
	return result, nil
}

// Turn turns a use case on or off for the cards of a type in a state. It gives
// ErrTurned where it is so already: whoever wants to turn it saw it otherwise.
func (r Types) Turn(ctx context.Context, id string, u UseCase, state string, on bool, by audit.Entry) (card.Type, error) {
	t, err := r.Store.CardType(ctx, id)
	switch {
	case errors.Is(err, card.ErrNotFound):
		return t, refuse(TypeUnknown, "No card type has this ID.")
	case err != nil:
		return t, unavailable(err)
	}
	if u.On(t, state) == on {
		return t, ErrTurned
	}
	list := u.switches(&t)
	turned := maps.Clone(*list)
	if turned == nil {
		turned = map[string]bool{}
	}
	turned[state] = on
	*list, t.UpdatedBy = turned, by.Client
	_, err = r.Put(ctx, t, by)
	return t, err
}

// switches tells the audit log where the use case is on, and self-service.
func switches(t card.Type) string {
	text := "unblock card remote is " + onFor(t.UnblockRemote)
	if self := onFor(t.UnblockSelf); self != "off" {
		text += "; unblock PIN offline is " + self
	}
	return text
}

func onFor(switches map[string]bool) string {
	on := card.On(switches)
	if len(on) == 0 {
		return "off"
	}
	return "on for " + strings.Join(on, ", ")
}
