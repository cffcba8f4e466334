package card_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/card"
)

// profile is one without faults.
func profile() card.Profile {
	return card.Profile{
		ID: "gids", Name: "GIDS", Algorithm: card.TDESECB, ChallengeLen: 8, CardKeyType: card.TDES3,
		Scheme: card.LatchkeyV1, MasterKey: "cards", MasterKeyVersion: 1, KeyNumber: 1,
	}
}

func input(t *testing.T, text string) card.Template {
	t.Helper()
	template, err := card.ParseTemplate(text)
	if err != nil {
		t.Fatal(err)
	}
	return template
}

func TestProfileFaults(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*card.Profile)
		want   []string // fields, and how their details begin
	}{
		"none": {func(*card.Profile) {}, nil},
		"everything": {
			func(p *card.Profile) {
				*p = card.Profile{Retry: -2, Counter: card.Counter{After: true}, Wrapping: "zip"}
			},
			[]string{
				"id: is required", "name: is required", "master_key: is required", "master_key_version: must be from 1 to 9999",
				`card_key_type: "" is not one of tdes2, tdes3, aes128, aes192, aes256`,
				`response_algorithm: "" is not one of tdes-ecb, tdes-cbc, aes-ecb`,
				"wrong_responses_survived: must be 2 or more", `scheme: "" is not one of latchkey-v1, `,
				"counter_bits: only scheme sp800-108-counter counts", "wrapping: only scheme wrapped unwraps",
			},
		},
		"text that is no line": {
			func(p *card.Profile) {
				p.ID, p.Name, p.MasterKey = strings.Repeat("x", 65), "two\nlines", " cards"
			},
			[]string{"id: longer than 64 bytes", "name: has a control character", "master_key: begins or ends with white space"},
		},
		"version too high":          {func(p *card.Profile) { p.MasterKeyVersion = 10000 }, []string{"master_key_version: must be from 1 to 9999"}},
		"AES key, TDES response":    {func(p *card.Profile) { p.CardKeyType = card.AES192 }, []string{"response_algorithm: tdes-ecb does not work with a card key of type aes192"}},
		"TDES key, AES response":    {func(p *card.Profile) { p.Algorithm = card.AESECB }, []string{"response_algorithm: aes-ecb does not work with a card key of type tdes3"}},
		"challenge of no length":    {func(p *card.Profile) { p.ChallengeLen = 0 }, []string{"challenge_length: must be a multiple of 8 bytes, up to 64, for tdes-ecb"}},
		"challenge of half a block": {func(p *card.Profile) { p.ChallengeLen = 12 }, []string{"challenge_length: must be a multiple of 8 bytes"}},
		"challenge too long":        {func(p *card.Profile) { p.ChallengeLen = 72 }, []string{"challenge_length: must be a multiple of 8 bytes"}},
		"longest challenge":         {func(p *card.Profile) { p.Algorithm, p.ChallengeLen = card.TDESCBC, 64 }, nil},
		"AES challenge of 8 bytes":  {func(p *card.Profile) { p.Algorithm, p.CardKeyType = card.AESECB, card.AES128 }, []string{"challenge_length: must be a multiple of 16 bytes"}},
		"survives one":              {func(p *card.Profile) { p.Retry = 1 }, []string{"wrong_responses_survived: must be 2 or more"}},
		"survives two":              {func(p *card.Profile) { p.Retry = 2 }, nil},
		"survives any number":       {func(p *card.Profile) { p.Retry = card.RetryUnlimited }, nil},
		"scheme in other letters":   {func(p *card.Profile) { p.Scheme = "Latchkey-v1" }, []string{`scheme: "Latchkey-v1" is not one of latchkey-v1, `}},
		"scheme that is refused":    {func(p *card.Profile) { p.Scheme = card.AN10922AES192 }, []string{"scheme: scheme an10922-aes192 makes its key of two CMACs"}},
		"template missing":          {func(p *card.Profile) { p.Scheme = card.AESCBCKey }, []string{"input: is required with scheme aes-cbc"}},
		"template too many":         {func(p *card.Profile) { p.Input = input(t, "serial") }, []string{"input: scheme latchkey-v1 takes no template"}},
		"template given":            {func(p *card.Profile) { p.Scheme, p.Input = card.TDESECBKey, input(t, "cuid[0:24]") }, nil},
		"VISA2 makes no such key":   {func(p *card.Profile) { p.Scheme = card.VISA2 }, []string{"card_key_type: scheme visa2 makes keys of type tdes2"}},
		"VISA2":                     {func(p *card.Profile) { p.Scheme, p.CardKeyType = card.VISA2, card.TDES2 }, nil},
		"counter of 24 bits":        {func(p *card.Profile) { p.Scheme, p.Input, p.Counter.Bits = card.SP800108, input(t, "cuid"), 24 }, []string{"counter_bits: must be 8, 16 or 32"}},
		"counter of no bits":        {func(p *card.Profile) { p.Scheme, p.Input, p.Counter.After = card.SP800108, input(t, "cuid"), true }, []string{"counter_bits: must be 8, 16 or 32"}},
		"counter": {func(p *card.Profile) {
			p.Scheme, p.Input, p.Counter = card.SP800108, input(t, "cuid"), card.Counter{Bits: 16, After: true}
		}, nil},
		"wrapped, nobody knows how":   {func(p *card.Profile) { p.Scheme = card.Wrapped }, []string{`wrapping: "" is not one of aes-key-wrap, aes-key-wrap-pad, aes-cbc-pad`}},
		"wrapped":                     {func(p *card.Profile) { p.Scheme, p.Wrapping = card.Wrapped, card.KeyWrap }, nil},
		"one fault does not hide two": {func(p *card.Profile) { p.ID, p.Scheme = "", card.VISA2 }, []string{"id: is required", "card_key_type: scheme visa2"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := profile()
			test.change(&p)
			begins(t, p.Faults(), test.want)
		})
	}
}

// begins checks that faults begin with what is wanted, one for one.
func begins(t *testing.T, faults []card.Fault, want []string) {
	t.Helper()
	same := slices.EqualFunc(faults, want, func(f card.Fault, w string) bool { return strings.HasPrefix(f.String(), w) })
	if !same {
		t.Errorf("faults %q\nwant %q", faults, want)
	}
}

// What a card's admin key is called: by the scheme, from the card's own data, with
// the card's own version of the master key before the profile's.
func TestAdminKey(t *testing.T) {
	kdd := []byte("0123456789")
	full := card.Card{Serial: "4711", CUID: []byte{1, 2}, KDD: kdd, WrappedKey: []byte("wrapped"), MasterKeyVersion: 3}
	bare := card.Card{Serial: "4711"}
	with := func(s card.Scheme) card.Profile {
		p := profile()
		p.Scheme = s
		return p
	}
	templated := with(card.AESECBKey)
	templated.Input = input(t, "0x00 + cuid")
	counted := with(card.SP800108)
	counted.Input, counted.Counter = input(t, "serial"), card.Counter{Bits: 8, After: true}
	wrapped := with(card.Wrapped)
	wrapped.Wrapping = card.CBCPad
	key := func(scheme card.Scheme, version int, data []byte) card.AdminKey {
		return card.AdminKey{Master: "cards", Version: version, Scheme: scheme, Type: card.TDES3, Data: data, KeyNumber: 1}
	}
	countedKey := key(card.SP800108, 3, []byte("4711"))
	countedKey.Counter = counted.Counter
	wrappedKey := key(card.Wrapped, 3, []byte("wrapped"))
	wrappedKey.Wrapping = card.CBCPad

	for name, test := range map[string]struct {
		profile card.Profile
		card    card.Card
		want    card.AdminKey
		fault   string
	}{
		"serial":             {with(card.LatchkeyV1), full, key(card.LatchkeyV1, 3, []byte("4711")), ""},
		"profile's version":  {with(card.LatchkeyV1), bare, key(card.LatchkeyV1, 1, []byte("4711")), ""},
		"static":             {with(card.Static), bare, key(card.Static, 1, nil), ""},
		"VISA2":              {with(card.VISA2), full, key(card.VISA2, 3, kdd), ""},
		"EMV":                {with(card.EMV), full, key(card.EMV, 3, kdd), ""},
		"KDF3":               {with(card.KDF3), full, key(card.KDF3, 3, kdd), ""},
		"no KDD":             {with(card.VISA2), bare, card.AdminKey{}, "scheme visa2 needs the card's 10-byte KDD"},
		"KDD of nine bytes":  {with(card.EMV), card.Card{KDD: kdd[:9]}, card.AdminKey{}, "scheme emv needs the card's 10-byte KDD"},
		"template":           {templated, full, key(card.AESECBKey, 3, []byte{0, 1, 2}), ""},
		"template, no CUID":  {templated, bare, card.AdminKey{}, "template: the card has no cuid"},
		"counter":            {counted, full, countedKey, ""},
		"wrapped":            {wrapped, full, wrappedKey, ""},
		"no key was wrapped": {wrapped, bare, card.AdminKey{}, "scheme wrapped needs the card's wrapped key"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := test.profile.AdminKey(test.card)
			if test.fault != "" {
				if err == nil || err.Error() != test.fault {
					t.Errorf("error %v, want %s", err, test.fault)
				}
			} else if err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("key (-want +got):\n%s", diff)
			}
		})
	}
}

// One response less than the card survives is given out, and what nobody knows
// counts as the strictest card there is.
func TestRetryLimit(t *testing.T) {
	for limit, want := range map[card.RetryLimit]int{card.RetryUnknown: 4, card.RetryUnlimited: 0, 2: 1, 5: 4, 10: 9} {
		if got := limit.MaxUnconfirmed(); got != want {
			t.Errorf("limit %d: %d responses, want %d", limit, got, want)
		}
	}
}

// What is known of key types and algorithms fits together.
func TestKeyTypes(t *testing.T) {
	type facts struct {
		length, block int
		aes           bool
		algorithm     card.Algorithm
	}
	want := map[card.KeyType]facts{
		card.TDES2: {16, 8, false, card.TDESECB}, card.TDES3: {24, 8, false, card.TDESECB},
		card.AES128: {16, 16, true, card.AESECB}, card.AES192: {24, 16, true, card.AESECB}, card.AES256: {32, 16, true, card.AESECB},
	}
	got := make(map[card.KeyType]facts)
	for _, k := range card.KeyTypes() {
		a := card.AlgorithmFor(k)
		got[k] = facts{k.Len(), k.Block(), k.AES(), a}
		if a.Block() != k.Block() {
			t.Errorf("%s has blocks of %d, its algorithm %s of %d", k, k.Block(), a, a.Block())
		}
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(facts{})); diff != "" {
		t.Errorf("key types (-want +got):\n%s", diff)
	}
	if unknown := card.KeyType("des"); unknown.Len() != 0 || unknown.Block() != 0 || unknown.AES() {
		t.Error("an unknown key type has a length")
	}
}

// Each scheme that a profile can have can be had: there is a profile without faults
// for each, with every key type that it makes, and with no other.
func TestEverySchemeHasProfiles(t *testing.T) {
	for _, scheme := range card.Schemes() {
		for _, kind := range card.KeyTypes() {
			p := profile()
			p.Scheme, p.CardKeyType, p.Algorithm = scheme, kind, card.AlgorithmFor(kind)
			p.ChallengeLen = p.Algorithm.Block()
			if scheme.Templated() {
				p.Input = input(t, "serial")
			}
			if scheme == card.SP800108 {
				p.Counter.Bits = 32
			}
			if scheme == card.Wrapped {
				p.Wrapping = card.KeyWrapPad
			}
			if makes := slices.Contains(scheme.CardKeyTypes(), kind); makes != (len(p.Faults()) == 0) {
				t.Errorf("scheme %s makes keys of type %s: %v, faults %v", scheme, kind, makes, p.Faults())
			}
		}
	}
}
