package family

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"latchkey/card"
)

var update = flag.Bool("update", false, "write docs/profiles/families.md anew")

func families(t *testing.T) []Family {
	t.Helper()
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// profile is one that says nothing that a family may say.
func profile() card.Profile {
	return card.Profile{ID: "p", Name: "p", Scheme: card.LatchkeyV1, MasterKey: "cards", MasterKeyVersion: 1}
}

// Each file is one family, named as the file, with its sources, and makes a
// profile without faults or says why not.
func TestFamilies(t *testing.T) {
	names, err := fs.Glob(files, "*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range families(t) {
		t.Run(f.ID, func(t *testing.T) {
			if f.ID+".yaml" != names[i] {
				t.Errorf("the file is %s", names[i])
			}
			for field, text := range map[string]string{"name": f.Name, "factory_key": f.FactoryKey, "why": f.Why} {
				if wrong := card.TextFault(text, card.MaxText, field == "name"); wrong != "" {
					t.Errorf("%s %s", field, wrong)
				}
				if strings.HasSuffix(text, ".") {
					t.Errorf("%s ends with a full stop, which is set where it is shown", field)
				}
			}
			if len(f.Sources) == 0 {
				t.Error("no sources")
			}
			for _, s := range f.Sources {
				if s.Title == "" || s.Says == "" || s.URL != "" && !strings.HasPrefix(s.URL, "https://") {
					t.Errorf("source %+v: it needs a title and what it says, and its address is https", s)
				}
			}
			p := profile()
			faults := f.Complete(&p, Own{})
			switch f.Unblock {
			case PUKOnly:
				if f.Why == "" || len(faults) != 1 || faults[0].Field != "family" || !strings.Contains(faults[0].Detail, f.Why) {
					t.Errorf("faults %v; want that it is unblocked by PUK only, with the reason %q", faults, f.Why)
				}
				return
			case ChallengeResponse:
			default:
				t.Fatalf("unblock is %q", f.Unblock)
			}
			if p.Algorithm == "" {
				p.Algorithm = card.AlgorithmFor(p.CardKeyType)
			}
			if p.ChallengeLen == 0 {
				p.ChallengeLen = p.Algorithm.Block()
			}
			if faults = append(faults, p.Faults()...); len(faults) != 0 || p.Family != f.ID {
				t.Errorf("profile %+v has faults %v", p, faults)
			}
		})
	}
}

func TestFind(t *testing.T) {
	if f, err := Find("gids"); err != nil || f.ID != "gids" {
		t.Errorf("family %q, error %v", f.ID, err)
	}
	if _, err := Find("GIDS"); !errors.Is(err, card.ErrNotFound) || !strings.Contains(err.Error(), "there are crescendo-3des, ") {
		t.Errorf("error %v, want card.ErrNotFound with the families there are", err)
	}
}

// A profile may say what its family says, or a stricter limit; nothing else.
func TestComplete(t *testing.T) {
	for name, test := range map[string]struct {
		family string
		change func(*card.Profile)
		own    Own
		want   []string
		limit  card.RetryLimit
	}{
		"nothing said":             {"gids", func(*card.Profile) {}, Own{}, nil, card.RetryUnlimited},
		"the same said":            {"gids", func(p *card.Profile) { p.Algorithm, p.CardKeyType, p.ChallengeLen = card.TDESECB, card.TDES3, 8 }, Own{ChallengeLength: true}, nil, card.RetryUnlimited},
		"stricter than unlimited":  {"gids", func(p *card.Profile) { p.Retry = 10 }, Own{Retry: true}, nil, 10},
		"unknown than unlimited":   {"gids", func(p *card.Profile) { p.Retry = card.RetryUnknown }, Own{Retry: true}, nil, card.RetryUnknown},
		"stricter than a number":   {"pivkey", func(p *card.Profile) { p.Retry = 3 }, Own{Retry: true}, nil, 3},
		"looser than a number":     {"pivkey", func(p *card.Profile) { p.Retry = 6 }, Own{Retry: true}, []string{"wrong_responses_survived: 6 is looser than family pivkey, which has 5; it may be made stricter only"}, 6},
		"unlimited than a number":  {"pivkey", func(p *card.Profile) { p.Retry = card.RetryUnlimited }, Own{Retry: true}, []string{"wrong_responses_survived: unlimited is looser than family pivkey, which has 5; it may be made stricter only"}, card.RetryUnlimited},
		"a number than unknown":    {"crescendo-aes", func(p *card.Profile) { p.Retry = 10 }, Own{Retry: true}, []string{"wrong_responses_survived: 10 is looser than family crescendo-aes, which has unknown; it may be made stricter only"}, 10},
		"unknown than that number": {"pivkey", func(p *card.Profile) { p.Retry = card.RetryUnknown }, Own{Retry: true}, nil, card.RetryUnknown},
		"all contradicted": {"gids", func(p *card.Profile) { p.Algorithm, p.CardKeyType, p.ChallengeLen = card.AESECB, card.AES128, 16 }, Own{ChallengeLength: true}, []string{
			"response_algorithm: aes-ecb contradicts family gids, which has tdes-ecb; leave it out",
			"card_key_type: aes128 contradicts family gids, which has tdes3; leave it out",
			"challenge_length: 16 contradicts family gids, which has 8; leave it out",
		}, card.RetryUnlimited},
		"no length at all": {"gids", func(p *card.Profile) { p.ChallengeLen = 0 }, Own{ChallengeLength: true}, []string{
			"challenge_length: 0 contradicts family gids, which has 8; leave it out",
		}, card.RetryUnlimited},
		"what is open": {"minidriver", func(p *card.Profile) { p.Algorithm, p.ChallengeLen = card.TDESCBC, 16 }, Own{ChallengeLength: true}, nil, card.RetryUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := Find(test.family)
			if err != nil {
				t.Fatal(err)
			}
			p := profile()
			test.change(&p)
			var got []string
			for _, fault := range f.Complete(&p, test.own) {
				got = append(got, fault.String())
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
			if p.Retry != test.limit {
				t.Errorf("limit %s, want %s", p.Retry, test.limit)
			}
		})
	}
}

// docs/profiles/families.md is the data, for people.
func TestPage(t *testing.T) {
	const page = "../../docs/profiles/families.md"
	want := markdown(families(t))
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(page); err != nil || string(got) != want {
		t.Errorf("docs/profiles/families.md is not what the files say, %v; run: go test ./card/family -update", err)
	}
}
