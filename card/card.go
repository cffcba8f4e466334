package card

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// ErrNotFound says that there is no such card, card type or profile.
var ErrNotFound = errors.New("not found")

// Limits on text that comes from outside, in bytes.
const (
	MaxSerial = 128
	MaxID     = 64
	MaxText   = 256
)

// Card is one smart card as the card management system knows it.
type Card struct {
	// Serial is the card serial number, UTF-8, kept exactly as registered: it
	// goes into the diversification of most schemes, so "AB 1" and "ab1" are
	// different cards.
	Serial string
	// Type is the ID of the card's Type.
	Type string
	// State is the card's life-cycle state, a key of the configured States.
	State string
	// CUID is the card unique identifier from the chip's production data, KDD the 10 key
	// diversification bytes of GlobalPlatform's INITIALIZE UPDATE. Both may be
	// empty where the diversification scheme does not use them.
	CUID, KDD []byte
	// WrappedKey is the card's admin key, wrapped under the profile's master key:
	// of use to nobody outside the HSM. Empty but with scheme "wrapped".
	WrappedKey []byte
	// MasterKeyVersion is the version of the master key that this card's admin
	// key was derived from when the card was issued. 0 means "not said": the
	// profile's version is then written down at the card's first registration.
	MasterKeyVersion int
	// Unit is the organisational unit that the card belongs to, and Assurance how
	// sure its issuer was of the holder, in the card management system's own words.
	// Both may be empty; they are there for operator policies.
	Unit, Assurance string
	Holder          Holder
	// Source is which source of card data confirmed the card last: the name of the
	// client that sent it, or of the configured source that was asked. SyncedAt is when.
	Source   string
	SyncedAt time.Time
}

// Holder is the person whom the card was issued to.
type Holder struct {
	ID             string
	Name           string
	Email          string
	EmployeeNumber string
	Unit           string
	Groups         []string
	// Privileged tells that the holder's accounts can do more harm than others'.
	Privileged bool
	// State is a key of the configured holder States.
	State string
}

// Type is a kind of card, as in an Identity Manager's card type: which profile
// its cards follow and in which card states the use case is switched on.
type Type struct {
	ID      string
	Name    string
	Profile string
	// UnblockRemote holds, for each card state, whether *Unblock card remote*
	// (CardsProcUnblockRemote) is switched on. A state that is not there is off.
	UnblockRemote map[string]bool
	// UnblockSelf holds, in the same way, whether *Unblock PIN offline* is: by it the
	// holder unblocks the card himself.
	UnblockSelf map[string]bool
	UpdatedBy   string
	UpdatedAt   time.Time
}

// UnblockRemoteIn tells whether the use case is on for cards in the given state.
func (t Type) UnblockRemoteIn(state string) bool { return t.UnblockRemote[state] }

// UnblockSelfIn tells whether holders may unblock cards in the given state themselves.
func (t Type) UnblockSelfIn(state string) bool { return t.UnblockSelf[state] }

// On lists the states in which a use case is on, of those that switches are for, in
// the order of their names.
func On(switches map[string]bool) []string {
	var on []string
	for state, is := range switches {
		if is {
			on = append(on, state)
		}
	}
	slices.Sort(on)
	return on
}

// Changes says what of the type differs from how it was before, for people: "name",
// and each switch that was turned. A switch that is not there is off.
func (t Type) Changes(before Type) []string {
	var list []string
	for _, f := range []struct{ name, was, is string }{{"name", before.Name, t.Name}, {"profile", before.Profile, t.Profile}} {
		if f.was != f.is {
			list = append(list, fmt.Sprintf("%s was %s, is %s", f.name, f.was, f.is))
		}
	}
	for _, s := range []struct {
		name    string
		was, is map[string]bool
	}{{"unblock card remote", before.UnblockRemote, t.UnblockRemote}, {"unblock PIN offline", before.UnblockSelf, t.UnblockSelf}} {
		states := make(map[string]bool, len(s.was)+len(s.is))
		maps.Copy(states, s.was)
		maps.Copy(states, s.is)
		for _, state := range slices.Sorted(maps.Keys(states)) {
			if was, is := s.was[state], s.is[state]; was != is {
				list = append(list, fmt.Sprintf("%s for %s was %s, is %s", s.name, state, onOff(was), onOff(is)))
			}
		}
	}
	return list
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// States maps each known state to whether it counts as active. A state that is
// not in the map is unknown, and unknown is never active.
type States map[string]bool

// DefaultCardStates returns the life-cycle states of cards that hold unless
// configured. "blocked" is a card in use whose PIN is known to be blocked: the
// very card that this product exists for. A card put out of use is "suspended".
func DefaultCardStates() States {
	return States{
		"active": true, "blocked": true,
		"requested": false, "produced": false, "inactive": false, "suspended": false,
		"revoked": false, "expired": false, "lost": false, "ended": false,
	}
}

// DefaultHolderStates returns the holder states that hold unless configured.
func DefaultHolderStates() States {
	return States{"active": true, "inactive": false, "suspended": false, "left": false}
}

// Active tells whether the state is known and counts as active.
func (s States) Active(state string) bool { return s[state] }

// Known tells whether the state is one of the map's.
func (s States) Known(state string) bool { _, ok := s[state]; return ok }

// Names lists the states in alphabetical order.
func (s States) Names() []string { return slices.Sorted(maps.Keys(s)) }

// Fault is one thing wrong with data from outside: which field, and what to do.
type Fault struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

func (f Fault) String() string { return f.Field + ": " + f.Detail }

// Faults lists every fault of a card's data, judged by the given states.
func (c Card) Faults(cards, holders States) []Fault {
	var faults []Fault
	add := func(field, format string, args ...any) {
		faults = append(faults, Fault{field, fmt.Sprintf(format, args...)})
	}
	text := func(field, s string, limit int, required bool) {
		if fault := TextFault(s, limit, required); fault != "" {
			add(field, "%s", fault)
		}
	}
	text("serial", c.Serial, MaxSerial, true)
	text("type", c.Type, MaxID, true)
	if !cards.Known(c.State) {
		add("state", "%q is not a card state; known: %s", c.State, strings.Join(cards.Names(), ", "))
	}
	if len(c.CUID) > MaxText {
		add("cuid", "longer than %d bytes", MaxText)
	}
	if len(c.KDD) != 0 && len(c.KDD) != KDDLen {
		add("kdd", "%d bytes; GlobalPlatform key diversification data is %d", len(c.KDD), KDDLen)
	}
	if len(c.WrappedKey) > MaxWrapped {
		add("wrapped_key", "longer than %d bytes", MaxWrapped)
	}
	if c.MasterKeyVersion < 0 || c.MasterKeyVersion > MaxKeyVersion {
		add("master_key_version", "must be from 1 to %d, or left out", MaxKeyVersion)
	}
	if strings.ContainsAny(c.Serial, "\u200c\u200d") {
		add("serial", "has a character that is not seen")
	}
	text("unit", c.Unit, MaxText, false)
	text("assurance", c.Assurance, MaxID, false)
	text("holder.id", c.Holder.ID, MaxID, true)
	text("holder.name", c.Holder.Name, MaxText, true)
	text("holder.email", c.Holder.Email, MaxText, false)
	text("holder.employee_number", c.Holder.EmployeeNumber, MaxID, false)
	text("holder.unit", c.Holder.Unit, MaxText, false)
	if len(c.Holder.Groups) > MaxID {
		add("holder.groups", "more than %d groups", MaxID)
	}
	for i, g := range c.Holder.Groups {
		text(fmt.Sprintf("holder.groups[%d]", i), g, MaxID, true)
	}
	if !holders.Known(c.Holder.State) {
		add("holder.state", "%q is not a holder state; known: %s", c.Holder.State, strings.Join(holders.Names(), ", "))
	}
	return faults
}

// Faults lists every fault of a card type's data.
func (t Type) Faults(cards States) []Fault {
	var faults []Fault
	for _, f := range []struct {
		field, value string
		limit        int
	}{{"id", t.ID, MaxID}, {"name", t.Name, MaxText}, {"profile", t.Profile, MaxID}} {
		if fault := TextFault(f.value, f.limit, true); fault != "" {
			faults = append(faults, Fault{f.field, fault})
		}
	}
	for _, s := range []struct {
		field    string
		switches map[string]bool
	}{{"unblock_remote", t.UnblockRemote}, {"unblock_self", t.UnblockSelf}} {
		for _, state := range slices.Sorted(maps.Keys(s.switches)) {
			if !cards.Known(state) {
				faults = append(faults, Fault{
					s.field + "." + state,
					"is not a card state; known: " + strings.Join(cards.Names(), ", "),
				})
			}
		}
	}
	return faults
}

// TextFault says what is wrong with a line of text from outside, limit being in
// bytes, or "" where nothing is.
func TextFault(s string, limit int, required bool) string {
	switch {
	case s == "" && required:
		return "is required"
	case len(s) > limit:
		return fmt.Sprintf("longer than %d bytes", limit)
	case !utf8.ValidString(s):
		return "is not valid UTF-8"
	case strings.ContainsFunc(s, isControl):
		return "has a control character"
	case s != strings.TrimSpace(s):
		return "begins or ends with white space"
	}
	return ""
}

// isControl tells whether a character does something to the text around it
// instead of being seen, by which one text can be made to look like another: the
// control characters, the separators of lines and paragraphs, and the format
// characters, which turn the direction of writing or show nothing at all. The two
// joiners are letters' business in some scripts, between letters.
func isControl(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Cf) && r != '\u200c' && r != '\u200d'
}
