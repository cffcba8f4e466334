package custody

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"latchkey/card"
	"latchkey/dualcontrol"
	"latchkey/hsm"
)

// Usable says why cards of this master key version cannot be unblocked, or "" where
// they can. It does not ask the token.
func (o *Office) Usable(ctx context.Context, key string, version int) (why string, err error) {
	state, known, err := o.state(ctx, key, version)
	switch {
	case err != nil:
		return "", err
	case state.Answers():
		return "", nil
	case !known:
		return "is not registered", nil
	}
	return "is " + string(state), nil
}

// state is a key's state by the ledger, and whether the ledger knows the key.
func (o *Office) state(ctx context.Context, key string, version int) (_ State, known bool, err error) {
	r, err := o.Ledger.Record(ctx, key, version)
	switch {
	case errors.Is(err, card.ErrNotFound):
		return o.unregistered(), false, nil
	case err != nil:
		return "", false, fmt.Errorf("find record of %s version %d: %w", key, version, err)
	}
	return r.State, true, nil
}

// NewCardVersion is the master key version of a card with this profile that is
// registered for the first time: the current one, or the profile's where none was
// named. It refuses one that takes no new cards.
func (o *Office) NewCardVersion(ctx context.Context, p card.Profile) (int, error) {
	current, err := o.Ledger.Current(ctx, p.MasterKey)
	var state State
	version := cmp.Or(current, p.MasterKeyVersion)
	if err == nil {
		state, _, err = o.state(ctx, p.MasterKey, version)
	}
	switch {
	case err != nil:
		return 0, dualcontrol.Fail(dualcontrol.StoreUnavailable, "The master key's current version could not be looked up. Try again later.", err)
	case !state.TakesCards():
		return 0, dualcontrol.Refuse(KeyNotUsable, fmt.Sprintf("Master key %s version %d is %s and takes no new cards. Name the card's master_key_version, or have another version made current.", p.MasterKey, version, state))
	}
	return version, nil
}

// Grade is how well a key in the token is kept.
type Grade string

// The grades.
const (
	Good    Grade = "good"
	Weaker  Grade = "weaker"  // it may be used; the remarks say what speaks against it
	Unfit   Grade = "unfit"   // it is not used
	Missing Grade = "missing" // it is in the ledger and not in the token
)

// Item is one master key version in the inventory: what the token and the ledger
// say of it, and how many cards hang on it.
type Item struct {
	Key        string
	Version    int
	State      State
	Registered bool // the ledger has a record of it
	Current    bool // cards that are registered for the first time get it
	Record     Record
	InToken    []hsm.Key // most often one; none where it is not there
	Grade      Grade
	Remarks    []string
	Cards      int
}

// KCV lists the key's check values, by the token where it is there.
func (i Item) KCV() []hsm.KCV {
	if len(i.InToken) == 1 {
		return i.InToken[0].KCV
	}
	return i.Record.KCV
}

type keyVersion struct {
	key     string
	version int
}

// Inventory lists the master keys of token, ledger and cards, by name and version.
func (o *Office) Inventory(ctx context.Context) ([]Item, error) {
	keys, err := o.Token.Keys(ctx)
	if err != nil {
		return nil, tokenFailed(err)
	}
	l, err := o.ledger(ctx)
	if err != nil {
		return nil, dualcontrol.Fail(dualcontrol.StoreUnavailable, "The keys' records could not be looked up. Try again later.", err)
	}
	items := make(map[keyVersion]*Item)
	at := func(key string, version int) *Item {
		name := keyVersion{key, version}
		if items[name] == nil {
			items[name] = &Item{Key: key, Version: version, State: o.unregistered(), Current: l.current[name]}
		}
		return items[name]
	}
	for _, k := range keys {
		i := at(k.Label, k.Version)
		i.InToken = append(i.InToken, k)
	}
	for _, r := range l.records {
		i := at(r.Key, r.Version)
		i.Record, i.Registered, i.State = r, true, r.State
	}
	for name, groups := range l.groups {
		for _, g := range groups {
			at(name.key, name.version).Cards += g.Cards
		}
	}
	list := make([]Item, 0, len(items))
	for _, i := range items {
		i.grade()
		list = append(list, *i)
	}
	slices.SortFunc(list, func(a, b Item) int { return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Version, b.Version)) })
	return list, nil
}

// grade says how well the key is kept, and what is to be said of it.
func (i *Item) grade() {
	remark := func(g Grade, text string) {
		if i.Grade == Good || g == Unfit {
			i.Grade = g
		}
		i.Remarks = append(i.Remarks, text)
	}
	i.Grade = Good
	if len(i.InToken) == 0 && i.State != Destroyed {
		remark(Missing, "it is not in the token")
	} else if len(i.InToken) != 0 && i.State == Destroyed {
		remark(Unfit, "it is in the token although it counts as destroyed")
	}
	if len(i.InToken) > 1 {
		remark(Unfit, fmt.Sprintf("%d keys have this name; which is meant cannot be told", len(i.InToken)))
	}
	for _, k := range i.InToken {
		if k.Fault != "" {
			remark(Unfit, k.Fault)
		}
		if differ(k.KCV, i.Record.KCV) {
			remark(Unfit, "its check value is not that of the key that was registered, "+texts(i.Record.KCV))
		}
		if k.Weakness != "" {
			remark(Weaker, k.Weakness)
		}
		switch {
		case !k.Local:
			remark(Weaker, "it was not generated in this token: copies may exist elsewhere")
		case !k.NeverExtractable:
			remark(Weaker, "it could be wrapped once, when it was made: a backup may exist in another token")
		case !k.AlwaysSensitive:
			remark(Weaker, "it was not always sensitive")
		}
	}
	if i.Registered && i.State == PreActive && len(i.Record.KCV) == 0 {
		remark(Weaker, "nobody knows whether its making was completed: compare the token's keys, then activate or destroy it")
	}
	if len(i.InToken) == 0 && i.State == Destroyed {
		i.Grade = Missing
	}
}

// Plan is how far a rotation has come: what is left on each version of a master
// key.
type Plan struct {
	Key      string
	Versions []PlanVersion
	// Left counts the cards that are not on a version that new cards get.
	Left int
}

// PlanVersion is one version in a Plan.
type PlanVersion struct {
	Version int
	State   State
	Current bool
	Cards   int
	ByType  []Group // with Version as above
}

// Plan tells how many cards are on each version of a master key. It refuses a key
// that neither ledger nor token nor any card knows.
func (o *Office) Plan(ctx context.Context, key string) (Plan, error) {
	items, err := o.Inventory(ctx)
	if err != nil {
		return Plan{}, err
	}
	l, err := o.ledger(ctx)
	if err != nil {
		return Plan{}, dualcontrol.Fail(dualcontrol.StoreUnavailable, "The cards could not be counted. Try again later.", err)
	}
	plan := Plan{Key: key}
	for _, i := range items {
		if i.Key != key {
			continue
		}
		v := PlanVersion{Version: i.Version, State: i.State, Current: i.Current, Cards: i.Cards}
		for _, g := range l.groups[keyVersion{key, i.Version}] {
			// A type's cards with the profile's version are counted with those that name it.
			if n := len(v.ByType); n != 0 && v.ByType[n-1].Type == g.Type {
				v.ByType[n-1].Cards += g.Cards
				continue
			}
			v.ByType = append(v.ByType, Group{Type: g.Type, Version: i.Version, Cards: g.Cards})
		}
		if !i.Current {
			plan.Left += i.Cards
		}
		plan.Versions = append(plan.Versions, v)
	}
	if len(plan.Versions) == 0 {
		return Plan{}, dualcontrol.Refuse(KeyUnknown, fmt.Sprintf("There is no master key %s, and no card needs one.", key))
	}
	return plan, nil
}

// MaxAffected is how many cards Affected gives at most in one call.
const MaxAffected = 500

// Affected gives a page of the cards whose admin key comes from a master key
// version, by card type and serial number, and the cursor of the page after, "" on
// the last. It gives dualcontrol.ErrQuery for a cursor that did not come with a page.
func (o *Office) Affected(ctx context.Context, key string, version int, after string, limit int) (cards []card.Card, next string, err error) {
	var from struct {
		Type    string `json:"t"`
		Version int    `json:"v"`
		Serial  string `json:"s"`
	}
	if after != "" {
		text, err := base64.RawURLEncoding.DecodeString(after)
		if err == nil {
			err = json.Unmarshal(text, &from)
		}
		if err != nil {
			return nil, "", dualcontrol.ErrQuery
		}
	}
	limit = min(limit, MaxAffected)
	l, err := o.ledger(ctx)
	if err != nil {
		return nil, "", dualcontrol.Fail(dualcontrol.StoreUnavailable, "The cards could not be looked up. Try again later.", err)
	}
	for _, g := range l.groups[keyVersion{key, version}] {
		serial := ""
		switch cmp.Or(cmp.Compare(g.Type, from.Type), cmp.Compare(g.Version, from.Version)) {
		case -1:
			continue
		case 0:
			serial = from.Serial
		}
		// One more is asked for, to know whether there is one.
		page, err := o.Cards.CardsOf(ctx, g, serial, limit+1-len(cards))
		if err != nil {
			return nil, "", dualcontrol.Fail(dualcontrol.StoreUnavailable, "The cards could not be looked up. Try again later.", err)
		}
		for _, c := range page {
			if len(cards) == limit {
				text, err := json.Marshal(from)
				return cards, base64.RawURLEncoding.EncodeToString(text), err
			}
			cards = append(cards, c)
			from.Type, from.Version, from.Serial = g.Type, g.Version, c.Serial
		}
	}
	return cards, "", nil
}

// ledger is what ledger and cards say of all keys.
type ledger struct {
	records []Record
	groups  map[keyVersion][]Group // by card type and version, as stored
	current map[keyVersion]bool    // versions that new cards of some profile get
}

func (o *Office) ledger(ctx context.Context) (ledger, error) {
	l := ledger{groups: make(map[keyVersion][]Group), current: make(map[keyVersion]bool)}
	var err error
	if l.records, err = o.Ledger.Records(ctx); err != nil {
		return ledger{}, err
	}
	types, err := o.Cards.CardTypes(ctx)
	if err != nil {
		return ledger{}, err
	}
	profiles := make(map[string]card.Profile, len(types))
	for _, t := range types {
		p, err := o.Profiles.Profile(t.Profile)
		if errors.Is(err, card.ErrNotFound) {
			continue // its cards can be unblocked with no key at all
		}
		if err != nil {
			return ledger{}, err
		}
		profiles[t.ID] = p
		current, err := o.Ledger.Current(ctx, p.MasterKey)
		if err != nil {
			return ledger{}, err
		}
		l.current[keyVersion{p.MasterKey, cmp.Or(current, p.MasterKeyVersion)}] = true
	}
	for _, r := range l.records { // of keys that no card type uses yet
		current, err := o.Ledger.Current(ctx, r.Key)
		if err != nil {
			return ledger{}, err
		}
		if current == r.Version {
			l.current[keyVersion{r.Key, r.Version}] = true
		}
	}
	groups, err := o.Cards.CardGroups(ctx)
	if err != nil {
		return ledger{}, err
	}
	for _, g := range groups {
		if p, ok := profiles[g.Type]; ok {
			name := keyVersion{p.MasterKey, cmp.Or(g.Version, p.MasterKeyVersion)}
			l.groups[name] = append(l.groups[name], g)
		}
	}
	return l, nil
}
