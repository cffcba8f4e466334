package policy

import (
	"cmp"
	_ "embed" // the built-in policies
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"latchkey/card"
	"latchkey/identity"
)

//go:embed default.cedar
var defaultPolicies string

// Limits on a set of policies. They bound what a decision costs, since every policy is
// evaluated and Cedar has no loops, and what loading costs: Cedar's parser recurses
// without a limit, and its validator takes time that grows faster than the nesting.
const (
	MaxFile     = 64 << 10 // bytes of a file
	MaxFiles    = 64
	MaxPolicies = 500
	MaxNesting  = 64  // brackets within each other
	maxFaults   = 100 // that are listed
)

// Source is the text of one file of policies.
type Source struct {
	// Name is the file's name, as in "own-unit.cedar".
	Name string `json:"name"`
	Text string `json:"text"`
}

// BuiltIn is the source of the policies that hold unless others are configured.
func BuiltIn() Source { return Source{"default.cedar", defaultPolicies} }

// Default makes an Engine of the built-in policies.
func Default() (*Engine, error) { return Load([]Source{BuiltIn()}) }

// LoadDir makes an Engine of all files in a folder whose names end in .cedar; the
// built-in policies then hold no longer. What is wrong comes back as Faults, those of
// ReadDir and of Load together.
func LoadDir(dir string) (*Engine, error) {
	sources, err := ReadDir(dir)
	var faults Faults
	if err != nil && !errors.As(err, &faults) {
		return nil, err
	}
	return load(sources, faults)
}

// ReadDir reads all files in a folder whose names end in .cedar, in the order of
// their names. It gives what it could read together with the Faults of what it could
// not.
func ReadDir(dir string) ([]Source, error) {
	listing, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read policies: %w", err)
	}
	var sources []Source
	var faults Faults
	for _, file := range listing {
		if filepath.Ext(file.Name()) != ".cedar" {
			continue
		}
		text, err := read(filepath.Join(dir, file.Name()))
		if err != nil {
			faults = append(faults, Fault{File: file.Name(), What: err.Error()})
			continue
		}
		sources = append(sources, Source{file.Name(), text})
	}
	if len(sources) == 0 && len(faults) == 0 {
		faults = append(faults, Fault{File: dir, What: "no file here ends in .cedar, so nothing could ever be unblocked"})
	}
	if len(faults) != 0 {
		return sources, faults
	}
	return sources, nil
}

func read(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("is not a file")
	}
	if info.Size() > MaxFile {
		return "", tooLong()
	}
	text, err := os.ReadFile(path)
	return string(text), err
}

func tooLong() error {
	return fmt.Errorf("has more than %d bytes; spread the policies over several files", MaxFile)
}

// Load makes an Engine of the sources. What is wrong comes back as Faults, all of it
// at once: text that cannot be parsed, policies without @id or @reason, an @id that is
// there twice, an @approval that nothing could satisfy, whatever the schema does not
// know, and a set by which nobody could ever do anything.
func Load(sources []Source) (*Engine, error) { return load(sources, nil) }

// named is a policy with what its annotations say.
type named struct {
	id       cedar.PolicyID
	reason   string
	approval identity.Role
	policy   *cedar.Policy
}

func (n named) permits() bool { return n.policy.Effect() == cedar.Permit }

func (n named) applies(action cedar.EntityUID) bool {
	return applies((*ast.Policy)(n.policy.AST()), action)
}

// load parses and checks the sources. Faults found before join those found here.
func load(sources []Source, faults Faults) (*Engine, error) {
	rules, err := newRules()
	if err != nil {
		return nil, err
	}
	l := loader{rules: rules, faults: faults, seen: make(map[cedar.PolicyID]string), budget: budget}
	if len(sources) > MaxFiles {
		l.add(Fault{File: sources[MaxFiles].Name, What: fmt.Sprintf("there are more than %d files", MaxFiles)})
		sources = sources[:MaxFiles]
	}
	for _, s := range sources {
		l.source(s)
	}
	if len(l.policies) > MaxPolicies {
		l.add(Fault{File: sources[0].Name, What: fmt.Sprintf("there are more than %d policies", MaxPolicies)})
	}
	if len(l.faults) == 0 {
		l.complete(sources)
	}
	if len(l.faults) != 0 {
		// By files in the order of their names, whatever found the fault.
		slices.SortStableFunc(l.faults, func(a, b Fault) int {
			return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
		})
		return nil, l.faults[:min(len(l.faults), maxFaults)]
	}
	return newEngine(l.policies), nil
}

// loader gathers the policies of all sources, and their faults.
type loader struct {
	rules    *rules
	policies []named
	faults   Faults
	seen     map[cedar.PolicyID]string // where an @id was first
	budget   int
}

func (l *loader) add(f Fault) { l.faults = append(l.faults, f) }

// complete adds what is missing from a set whose policies have no faults.
func (l *loader) complete(sources []Source) {
	name := "policies"
	if len(sources) != 0 {
		name = sources[0].Name
	}
	for _, missing := range []struct {
		action cedar.EntityUID
		what   string
	}{
		{unblockAction(), "no policy permits action unblock, so nothing could ever be unblocked"},
		{viewAction(), "no policy permits action view, so no card could ever be found; take over every-card-is-seen from the built-in policies"},
	} {
		permitted := slices.ContainsFunc(l.policies, func(n named) bool { return n.permits() && n.applies(missing.action) })
		if !permitted {
			l.add(Fault{File: name, What: missing.what})
		}
	}
}

// source parses and checks one source.
func (l *loader) source(s Source) {
	if len(s.Text) > MaxFile {
		l.add(Fault{File: s.Name, What: tooLong().Error()})
		return
	}
	d := document{s.Name, s.Text}
	if offset, what := unseen(s.Text); what != "" {
		line, column := d.at(offset)
		l.add(Fault{File: s.Name, Line: line, Column: column, What: what})
		return
	}
	if t := deepest(d.tokens(0, len(s.Text))); t != nil {
		line, column := d.at(t.start)
		l.add(Fault{File: s.Name, Line: line, Column: column, What: fmt.Sprintf("there are more than %d brackets within each other", MaxNesting)})
		return
	}
	list, err := parse(s.Name, s.Text)
	if err != nil {
		l.add(syntax(s.Name, err))
		return
	}
	for i, p := range list {
		end := len(s.Text)
		if i+1 < len(list) {
			end = list[i+1].Position().Offset
		}
		l.policy(newSearch(d, p.Position().Offset, end, l.rules, &l.budget), p)
	}
}

// unseen finds what a reviewer of the text would not see: bytes that are no characters,
// and characters that do something to the text around them instead of being seen, by
// which one policy can be made to look like another.
func unseen(text string) (offset int, what string) {
	for i, r := range text {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], "\uFFFD"):
			return i, "is not valid UTF-8"
		case strings.ContainsRune("\t\r\n", r):
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp):
			return i, fmt.Sprintf("has a character that is not seen, %U; take it out", r)
		}
	}
	return 0, ""
}

// deepest is the first token beyond the limit of nesting, or nil.
func deepest(tokens []token) *token {
	depth := 0
	for i, t := range tokens {
		if depth += nesting(t.text); depth > MaxNesting {
			return &tokens[i]
		}
	}
	return nil
}

// policy checks one policy, whose places the search finds.
func (l *loader) policy(s *search, p *cedar.Policy) {
	annotations := p.Annotations()
	n := named{cedar.PolicyID(annotations["id"]), string(annotations["reason"]), identity.Role(annotations["approval"]), p}
	fault := func(offset int, format string, args ...any) {
		line, column := s.at(offset)
		l.add(Fault{s.name, line, column, string(n.id), fmt.Sprintf(format, args...)})
	}
	annotation := func(name string) int {
		if t, ok := s.annotations[name]; ok {
			return t.start
		}
		return p.Position().Offset
	}
	if f := card.TextFault(string(n.id), card.MaxID, true); f != "" {
		fault(annotation("id"), "@id %s", f)
	} else if first, twice := l.seen[n.id]; twice {
		fault(annotation("id"), "@id %q is taken by the policy at %s", n.id, first)
	} else {
		line, column := s.at(annotation("id"))
		l.seen[n.id] = fmt.Sprintf("%s:%d:%d", s.name, line, column)
	}
	if f := card.TextFault(n.reason, card.MaxText, true); f != "" {
		fault(annotation("reason"), "@reason %s: it tells the operator why", f)
	}
	for name := range annotations {
		switch name {
		case "id", "reason":
		case "approval":
			if f := n.approvalFault(); f != "" {
				fault(annotation("approval"), "@approval %s", f)
			}
		default:
			fault(annotation(string(name)), "annotation @%s is not known; there are @id, @reason and @approval", name)
		}
	}
	for _, f := range l.rules.faults(p) {
		fault(s.find(f), "%s", f)
	}
	l.policies = append(l.policies, n)
}

// approvalFault says why nobody's approval could satisfy the policy, or "".
func (n named) approvalFault() string {
	roles := slices.DeleteFunc(identity.Roles(), func(r identity.Role) bool { return r == identity.Backend })
	switch {
	case n.permits():
		return "is for a forbid only: it says whose approval satisfies it"
	case !slices.Contains(roles, n.approval):
		return fmt.Sprintf("%q is not a role of a person; there are %s", n.approval, join(roles))
	case !asks((*ast.Policy)(n.policy.AST()), "approver"):
		return "has no effect, since the policy does not look at context.approver; see privileged-holder of the built-in policies"
	}
	return ""
}

func join(roles []identity.Role) string {
	texts := make([]string, len(roles))
	for i, r := range roles {
		texts[i] = string(r)
	}
	return strings.Join(texts, ", ")
}

func parse(name, text string) (cedar.PolicyList, error) {
	return cedar.NewPolicyListFromBytes(name, []byte(text))
}

// parserPlace is how Cedar's parser, which does not know the file, says where it was.
var parserPlace = regexp.MustCompile(`(?s)^(?:parser error: )?(?:parse error at )?<input>:(\d+):(\d+):? ?(.*)$`)

// syntax is the fault that the parser found.
func syntax(file string, err error) Fault {
	m := parserPlace.FindStringSubmatch(err.Error())
	if m == nil {
		return Fault{File: file, What: strings.TrimPrefix(err.Error(), "parser error: ")}
	}
	line, _ := strconv.Atoi(m[1]) // digits, and short ones
	column, _ := strconv.Atoi(m[2])
	return Fault{File: file, Line: line, Column: column, What: m[3]}
}
