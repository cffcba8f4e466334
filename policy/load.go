package policy

import (
	_ "embed" // the built-in policies
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"

	"latchkey/card"
)

//go:embed default.cedar
var defaultPolicies string

// maxFile is the limit on a file's length in bytes. It also bounds how deep
// expressions can nest, which Cedar's parser does not: it recurses, and no program
// survives the end of its stack.
const maxFile = 64 << 10

// Faults is everything that is wrong with a set of policies, one line for each
// that begins with its place.
type Faults []string

func (f Faults) Error() string { return strings.Join(f, "\n") }

func (f *Faults) add(place, format string, args ...any) {
	*f = append(*f, place+": "+fmt.Sprintf(format, args...))
}

// Default makes an Engine of the built-in policies.
func Default() (*Engine, error) {
	return load([]source{{"default.cedar", defaultPolicies}}, nil)
}

// LoadDir makes an Engine of all files in a folder whose names end in .cedar; the
// built-in policies then hold no longer. What is wrong comes back as Faults, all of
// it at once: files that cannot be read or parsed, policies without @id or @reason,
// an @id that is there twice, and whatever the schema does not know.
func LoadDir(dir string) (*Engine, error) {
	listing, err := os.ReadDir(dir) // in the order of their names
	if err != nil {
		return nil, fmt.Errorf("read policies: %w", err)
	}
	var sources []source
	var faults Faults
	for _, file := range listing {
		if filepath.Ext(file.Name()) != ".cedar" {
			continue
		}
		text, err := read(filepath.Join(dir, file.Name()))
		if err != nil {
			faults.add(file.Name(), "%v", err)
			continue
		}
		sources = append(sources, source{file.Name(), text})
	}
	if len(sources) == 0 && len(faults) == 0 {
		faults.add(dir, "no file here ends in .cedar, so nothing could ever be unblocked")
	}
	return load(sources, faults)
}

func read(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("is not a file")
	}
	if info.Size() > maxFile {
		return "", fmt.Errorf("has more than %d bytes; spread the policies over several files", maxFile)
	}
	text, err := os.ReadFile(path)
	return string(text), err
}

// source is the text of one file.
type source struct{ name, text string }

// named is a policy with what its annotations say.
type named struct {
	id     cedar.PolicyID
	reason string
	policy *cedar.Policy
}

func (n named) permits() bool { return n.policy.Effect() == cedar.Permit }

// load parses and checks the sources. Faults found before join those found here.
func load(sources []source, faults Faults) (*Engine, error) {
	rules, err := newRules()
	if err != nil {
		return nil, err
	}
	var policies []named
	seen := make(map[cedar.PolicyID]string)
	for _, s := range sources {
		list, err := cedar.NewPolicyListFromBytes(s.name, []byte(s.text))
		if err != nil {
			faults = append(faults, plain(s.name, err))
			continue
		}
		for _, p := range list {
			where := place(p.Position())
			annotations := p.Annotations()
			n := named{cedar.PolicyID(annotations["id"]), string(annotations["reason"]), p}
			if fault := card.TextFault(string(n.id), card.MaxID, true); fault != "" {
				faults.add(where, "@id %s", fault)
			} else if first, twice := seen[n.id]; twice {
				faults.add(where, "@id %q is taken by the policy at %s", n.id, first)
			} else {
				seen[n.id] = where
			}
			if fault := card.TextFault(n.reason, card.MaxText, true); fault != "" {
				faults.add(where, "@reason %s: it tells the operator why", fault)
			}
			for _, fault := range rules.faults(p) {
				faults.add(where, "%s", fault)
			}
			policies = append(policies, n)
		}
	}
	if len(faults) == 0 && !slices.ContainsFunc(policies, named.permits) {
		faults.add(sources[0].name, "no policy permits anything, so nothing could ever be unblocked")
	}
	if len(faults) != 0 {
		return nil, faults
	}
	return newEngine(policies), nil
}

// plain puts the place in front of what Cedar's parser says, which does not know
// the file: "parser error: parse error at <input>:LINE:COLUMN WHAT".
func plain(file string, err error) string {
	text := strings.TrimPrefix(err.Error(), "parser error: ")
	before, after, ok := strings.Cut(text, "<input>:")
	if !ok {
		return file + ": " + text
	}
	return file + ":" + strings.TrimPrefix(before, "parse error at ") + after
}

func place(p cedar.Position) string { return fmt.Sprintf("%s:%d", p.Filename, p.Line) }
