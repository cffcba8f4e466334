package custody

import (
	"context"

	"latchkey/card"
	"latchkey/dualcontrol"
	"latchkey/hsm"
)

// What package hsm describes keys with, for those who stand above this room and
// need not know that one.
type (
	// KCV is a key check value with its convention.
	KCV = hsm.KCV
	// Use is the one thing that a master key may do.
	Use = hsm.Use
	// TransportKey is the public half of a token's transport key pair.
	TransportKey = hsm.TransportKey
)

// Token is the HSM token that the keys are in, as *hsm.Token is.
type Token interface {
	Info() hsm.TokenInfo
	Keys(ctx context.Context) ([]hsm.Key, error)
	Generate(ctx context.Context, n hsm.NewKey) (hsm.Key, error)
	GenerateWithBackup(ctx context.Context, n hsm.NewKey, to hsm.TransportKey) (hsm.Backup, error)
	ImportWrapped(ctx context.Context, n hsm.NewKey, transport string, wrapped []byte) (hsm.Key, error)
	ImportUnder(ctx context.Context, n hsm.NewKey, label string, version int, w card.Wrapping, wrapped []byte) (hsm.Key, error)
	MakeTransportKey(ctx context.Context, label string) (hsm.TransportKey, error)
	Destroy(ctx context.Context, label string, version int) error
}

// Effect is what carrying out an act comes to in the ledger.
type Effect struct {
	// Key as it is to be, made from revision From, 0 for a new one. Forget takes the
	// record away instead.
	Key    Record
	From   int64
	Forget bool
	// Current makes the key's version the current one.
	Current bool
}

// Change is one durable write, as dualcontrol has it.
type Change = dualcontrol.Change[Effect]

// Ledger keeps proposals and records.
type Ledger interface {
	dualcontrol.Book
	// Keep makes the change durable, or gives dualcontrol.ErrConflict with nothing
	// changed.
	Keep(ctx context.Context, c Change) error
	// Record finds a key's record, or gives card.ErrNotFound.
	Record(ctx context.Context, key string, version int) (Record, error)
	// Records lists all records, by key and version.
	Records(ctx context.Context) ([]Record, error)
	// Current is a key's current version, 0 where none was named.
	Current(ctx context.Context, key string) (int, error)
}

// Group is the cards of one type that have the same master key version: one row
// of a count, and what a page of cards is asked for by.
type Group struct {
	Type    string
	Version int // as it is stored; 0 is the profile's
	Cards   int
}

// Cards knows which cards there are.
type Cards interface {
	CardTypes(ctx context.Context) ([]card.Type, error)
	// CardGroups counts the cards of each type and version, in that order.
	CardGroups(ctx context.Context) ([]Group, error)
	// CardsOf gives the cards of a group whose serial number is after the given
	// one, in their order, limit of them at most.
	CardsOf(ctx context.Context, g Group, after string, limit int) ([]card.Card, error)
}

// Profiles finds card profiles. It gives card.ErrNotFound for what is not there.
type Profiles interface {
	Profile(id string) (card.Profile, error)
}
