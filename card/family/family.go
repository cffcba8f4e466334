package family

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"latchkey/card"
)

//go:embed *.yaml
var files embed.FS

// Unblocking is how a family's blocked PIN is unblocked.
type Unblocking string

// The ways.
const (
	ChallengeResponse Unblocking = "challenge-response" // by the card admin key: what Latchkey does
	PUKOnly           Unblocking = "puk-only"           // by the card's PUK: Latchkey cannot help
)

// Family is what is known of a family of cards.
type Family struct {
	ID      string     `json:"id" yaml:"id"` // the file's name, too
	Name    string     `json:"name" yaml:"name"`
	Sources []Source   `json:"sources" yaml:"sources"`
	Unblock Unblocking `json:"unblock" yaml:"unblock"`
	// Why says of a family that is unblocked by PUK only what a profile cannot do.
	Why string `json:"why,omitempty" yaml:"why"`
	// Algorithm, ChallengeLength in bytes and CardKeyType are empty or 0 where the
	// family leaves them to the profile.
	Algorithm       card.Algorithm `json:"response_algorithm,omitempty" yaml:"response_algorithm"`
	ChallengeLength int            `json:"challenge_length,omitempty" yaml:"challenge_length"`
	CardKeyType     card.KeyType   `json:"card_key_type,omitempty" yaml:"card_key_type"`
	// WrongResponses is how many wrong responses the card survives.
	WrongResponses Limit `json:"wrong_responses_survived" yaml:"wrong_responses_survived"`
	// FactoryKey is what is publicly known of the admin key that cards leave the
	// factory with.
	FactoryKey string `json:"factory_key,omitempty" yaml:"factory_key"`
	// Notes are for operators and for whoever writes a profile.
	Notes string `json:"notes,omitempty" yaml:"notes"`
}

// Source is a document, with what is taken from it.
type Source struct {
	Title string `json:"title" yaml:"title"`
	URL   string `json:"url,omitempty" yaml:"url"`
	Says  string `json:"says" yaml:"says"`
}

// Limit is a card.RetryLimit in YAML and JSON: a number, unlimited or unknown.
type Limit card.RetryLimit

// UnmarshalYAML implements yaml.Unmarshaler.
func (l *Limit) UnmarshalYAML(node *yaml.Node) error {
	switch node.Value {
	case "unlimited":
		*l = Limit(card.RetryUnlimited)
	case "unknown":
		*l = Limit(card.RetryUnknown)
	default:
		n, err := strconv.Atoi(node.Value)
		if err != nil || n < 2 {
			return fmt.Errorf("line %d: must be 2 or more, unlimited or unknown", node.Line)
		}
		*l = Limit(n)
	}
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (l Limit) MarshalText() ([]byte, error) { return []byte(card.RetryLimit(l).String()), nil }

// All gives every family, by ID.
func All() ([]Family, error) {
	names, err := fs.Glob(files, "*.yaml")
	if err != nil {
		return nil, fmt.Errorf("list card families: %w", err)
	}
	list := make([]Family, len(names)) // fs.Glob sorts them
	for i, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read card family: %w", err)
		}
		d := yaml.NewDecoder(bytes.NewReader(text))
		d.KnownFields(true)
		if err := d.Decode(&list[i]); err != nil {
			return nil, fmt.Errorf("read card family %s: %w", name, err)
		}
	}
	return list, nil
}

// Find gives the family of the ID, or card.ErrNotFound.
func Find(id string) (Family, error) {
	all, err := All()
	if err != nil {
		return Family{}, err
	}
	names := make([]string, len(all))
	for i, f := range all {
		if f.ID == id {
			return f, nil
		}
		names[i] = f.ID
	}
	return Family{}, fmt.Errorf("family %q: %w; there are %s", id, card.ErrNotFound, strings.Join(names, ", "))
}

// Own tells which of the fields that have no empty value a profile says itself.
type Own struct{ ChallengeLength, Retry bool }

// Complete fills in what the profile leaves to its family, and lists where the
// two contradict each other. A family's retry limit may be made stricter, never
// looser.
func (f Family) Complete(p *card.Profile, own Own) []card.Fault {
	p.Family = f.ID
	if f.Unblock == PUKOnly {
		return []card.Fault{{Field: "family", Detail: f.Name + " is unblocked by PUK only: " + f.Why}}
	}
	var faults []card.Fault
	contradicts := func(field string, own, ours any) {
		faults = append(faults, card.Fault{Field: field, Detail: fmt.Sprintf("%v contradicts family %s, which has %v; leave it out", own, f.ID, ours)})
	}
	if f.Algorithm != "" {
		if p.Algorithm != "" && p.Algorithm != f.Algorithm {
			contradicts("response_algorithm", p.Algorithm, f.Algorithm)
		}
		p.Algorithm = f.Algorithm
	}
	if f.CardKeyType != "" {
		if p.CardKeyType != "" && p.CardKeyType != f.CardKeyType {
			contradicts("card_key_type", p.CardKeyType, f.CardKeyType)
		}
		p.CardKeyType = f.CardKeyType
	}
	if f.ChallengeLength != 0 {
		if own.ChallengeLength && p.ChallengeLen != f.ChallengeLength {
			contradicts("challenge_length", p.ChallengeLen, f.ChallengeLength)
		}
		p.ChallengeLen = f.ChallengeLength
	}
	switch limit := card.RetryLimit(f.WrongResponses); {
	case !own.Retry:
		p.Retry = limit
	case p.Retry.Looser(limit):
		faults = append(faults, card.Fault{Field: "wrong_responses_survived", Detail: fmt.Sprintf(
			"%s is looser than family %s, which has %s; it may be made stricter only", p.Retry, f.ID, limit)})
	}
	return faults
}

// Open lists the fields that the family leaves to the profile.
func (f Family) Open() []string {
	var open []string
	for field, is := range map[string]bool{
		"response_algorithm": f.Algorithm == "", "challenge_length": f.ChallengeLength == 0, "card_key_type": f.CardKeyType == "",
	} {
		if is && f.Unblock == ChallengeResponse {
			open = append(open, field)
		}
	}
	slices.Sort(open)
	return open
}
