// Package registry lets card data in, whoever brings it: a client one card at a
// time, a synchronisation, or a look-up at the Identity Manager. It checks the
// data, tells every fault at once, and makes of it what the store is to write,
// with the audit entry that tells of it.
//
// What must hold when several nodes register cards at the same time (which master
// key version a new card gets, that a wrapped key stays) the store decides when it
// writes; see store.CardPut.
package registry

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"latchkey/audit"
	"latchkey/card"
	"latchkey/store"
)

// Cards finds cards and card types, or gives card.ErrNotFound.
type Cards interface {
	Card(ctx context.Context, serial string) (card.Card, error)
	CardType(ctx context.Context, id string) (card.Type, error)
}

// Profiles finds card profiles, or gives card.ErrNotFound.
type Profiles interface {
	Profile(id string) (card.Profile, error)
}

// Keys knows which master key version new cards get. Its error says why one takes
// none.
type Keys interface {
	NewCardVersion(ctx context.Context, p card.Profile) (int, error)
}

// Registry lets cards in. All fields are required. It is safe for concurrent use.
type Registry struct {
	Cards                    Cards
	Profiles                 Profiles
	Keys                     Keys
	CardStates, HolderStates card.States
	Now                      func() time.Time
}

// Code names a reason for not letting a card in.
type Code string

// The codes.
const (
	Invalid        Code = "invalid-request"
	CardUnknown    Code = "card-unknown"
	TypeUnknown    Code = "card-type-unknown"
	ProfileUnknown Code = "profile-unknown"
	Unavailable    Code = "store-unavailable"
)

// Refusal says why a card is not let in. Beside it there are the errors of Keys.
type Refusal struct {
	Code   Code
	Detail string // a sentence that says what to do
	Faults []card.Fault
	cause  error
}

func (r *Refusal) Error() string {
	if r.cause != nil {
		return string(r.Code) + ": " + r.cause.Error()
	}
	return string(r.Code) // what is wrong with the data is for its sender, not for logs
}

// Unwrap gives the internal cause.
func (r *Refusal) Unwrap() error { return r.cause }

func refuse(code Code, format string, args ...any) error {
	return &Refusal{Code: code, Detail: fmt.Sprintf(format, args...)}
}

func unavailable(err error) error {
	return &Refusal{Code: Unavailable, Detail: "The store does not work. Nothing was changed; try again later.", cause: err}
}

// Faulty refuses data for its faults, if there are any.
func Faulty(faults []card.Fault) error {
	switch len(faults) {
	case 0:
		return nil
	case 1:
		return &Refusal{Code: Invalid, Detail: "The request has 1 fault.", Faults: faults}
	}
	return &Refusal{Code: Invalid, Detail: fmt.Sprintf("The request has %d faults.", len(faults)), Faults: faults}
}

// Batch prepares cards that are written in one transaction, looking nothing up
// twice. It is for one goroutine.
type Batch struct {
	*Registry
	source   string
	by       audit.Entry
	profiles map[string]string // of the card types met
	versions map[string]version
	met      map[string]bool // serial numbers of the cards that are in it
}

// version is the master key version of a new card of a profile, or why there is
// none.
type version struct {
	store.NewVersion
	refusal error
}

// Batch begins a batch of a source's cards. By is what the audit entries say of
// who brings them.
func (r *Registry) Batch(source string, by audit.Entry) *Batch {
	return &Batch{r, source, by, map[string]string{}, map[string]version{}, map[string]bool{}}
}

// Card makes of a card as its source has it what is to be written, or refuses it
// with all its faults, among them those that are known already.
func (b *Batch) Card(ctx context.Context, c card.Card, faults ...card.Fault) (store.CardPut, error) {
	c.Source, c.SyncedAt = b.source, b.Now()
	faults = append(faults, c.Faults(b.CardStates, b.HolderStates)...)
	profile, err := b.profileOf(ctx, c.Type)
	switch {
	case card.TextFault(c.Type, card.MaxID, true) != "": // is among the faults already
	case errors.Is(err, card.ErrNotFound):
		faults = append(faults, card.Fault{Field: "type", Detail: "is not a registered card type; register it with PUT /v1/card-types/{id}"})
	case err != nil:
		return store.CardPut{}, unavailable(err)
	}
	if err := Faulty(faults); err != nil {
		return store.CardPut{}, err
	}
	detail := fmt.Sprintf("card %s, holder %s", c.State, c.Holder.State)
	if len(c.WrappedKey) != 0 {
		if err := b.takesKey(profile, c.WrappedKey); err != nil {
			return store.CardPut{}, err
		}
		detail += ", " + fingerprint(c.WrappedKey)
	}
	put := store.CardPut{Card: c, Entry: b.entry(c, profile, audit.CardPut, detail)}
	if c.MasterKeyVersion == 0 {
		if put.New, err = b.newVersion(ctx, c.Serial, profile); err != nil {
			return store.CardPut{}, err
		}
	}
	b.met[c.Serial] = true
	return put, nil
}

// Key gives a card that is registered a new wrapped key, of the version unless that
// is 0, or refuses it.
func (b *Batch) Key(ctx context.Context, serial string, wrapped []byte, version int, faults ...card.Fault) (store.CardPut, error) {
	if len(wrapped) == 0 && len(faults) == 0 {
		faults = append(faults, card.Fault{Field: "wrapped_key", Detail: "is required"})
	}
	if version < 0 || version > card.MaxKeyVersion {
		faults = append(faults, card.Fault{Field: "master_key_version", Detail: fmt.Sprintf("must be from 1 to %d, or left out", card.MaxKeyVersion)})
	}
	if err := Faulty(faults); err != nil {
		return store.CardPut{}, err
	}
	c, err := b.Cards.Card(ctx, serial)
	switch {
	case errors.Is(err, card.ErrNotFound):
		return store.CardPut{}, refuse(CardUnknown, "No card has this serial number. Register the card first.")
	case err != nil:
		return store.CardPut{}, unavailable(err)
	}
	profile, err := b.profileOf(ctx, c.Type)
	switch {
	case errors.Is(err, card.ErrNotFound):
		return store.CardPut{}, refuse(TypeUnknown, "The card's type %s is not registered, so its profile is not known.", c.Type)
	case err != nil:
		return store.CardPut{}, unavailable(err)
	}
	if err := b.takesKey(profile, wrapped); err != nil {
		return store.CardPut{}, err
	}
	c.WrappedKey, c.MasterKeyVersion = wrapped, version
	return store.CardPut{Card: c, KeyOnly: true, Entry: b.entry(c, profile, audit.CardKeyPut, fingerprint(wrapped))}, nil
}

func (b *Batch) entry(c card.Card, profile string, action audit.Action, detail string) audit.Entry {
	e := b.by
	e.Time, e.Action, e.Outcome = b.Now(), action, audit.Permit
	e.Card, e.CardType, e.Profile, e.Detail = c.Serial, c.Type, profile, detail
	return e
}

// fingerprint tells wrapped keys apart in the audit log.
func fingerprint(wrapped []byte) string {
	sum := sha256.Sum256(wrapped)
	return fmt.Sprintf("wrapped key with SHA-256 %X...", sum[:8])
}

// takesKey refuses a wrapped key that cards of the profile cannot have.
func (b *Batch) takesKey(profile string, wrapped []byte) error {
	p, err := b.Profiles.Profile(profile)
	if err != nil {
		return refuse(ProfileUnknown, "The card type's profile %s is not configured, so it is not known whether its cards have wrapped keys. Mend the card type.", profile)
	}
	if fault := p.WrappedKeyFault(wrapped); fault != "" {
		return Faulty([]card.Fault{{Field: "wrapped_key", Detail: fault}})
	}
	return nil
}

// profileOf is the profile of a card type, looked up once.
func (b *Batch) profileOf(ctx context.Context, id string) (string, error) {
	if profile, met := b.profiles[id]; met {
		return profile, nil
	}
	t, err := b.Cards.CardType(ctx, id)
	if err != nil {
		return "", err
	}
	b.profiles[id] = t.Profile
	return t.Profile, nil
}

// newVersion is the master key version that the card gets where it is new. Where
// there is none, that is no matter to a card which is known.
func (b *Batch) newVersion(ctx context.Context, serial, profile string) (store.NewVersion, error) {
	v, met := b.versions[profile]
	if !met {
		p, err := b.Profiles.Profile(profile)
		if err != nil {
			v.refusal = refuse(ProfileUnknown, "The card type's profile %s is not configured. Name the card's master_key_version, or mend the card type.", profile)
		} else if v.Otherwise, v.refusal = b.Keys.NewCardVersion(ctx, p); v.refusal == nil {
			v.Key = p.MasterKey
		}
		b.versions[profile] = v
	}
	if v.refusal == nil || b.met[serial] {
		return v.NewVersion, nil
	}
	_, err := b.Cards.Card(ctx, serial)
	switch {
	case errors.Is(err, card.ErrNotFound):
		return store.NewVersion{}, v.refusal
	case err != nil:
		return store.NewVersion{}, unavailable(err)
	}
	return store.NewVersion{}, nil
}
