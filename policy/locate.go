package policy

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Cedar tells where a policy begins and not where in it a fault is. So the fault is
// looked for: ever smaller pieces of the policy are validated on their own, down to
// the smallest that still has it.

// document is the text of one source, whose places can be told.
type document struct{ name, text string }

// at is the line and the column, in characters, of an offset in bytes.
func (d document) at(offset int) (line, column int) {
	before := d.text[:offset]
	start := strings.LastIndexByte(before, '\n') + 1
	return strings.Count(before, "\n") + 1, utf8.RuneCountInString(before[start:]) + 1
}

// token is one word of a policy's text.
type token struct {
	text  string
	start int // offset in the document, in bytes
}

func (t token) end() int { return t.start + len(t.text) }

// comments and white space match whole and are passed over; then come strings, words
// and operators.
var tokenPattern = regexp.MustCompile(`(?s)\s+|//[^\n]*|("(?:[^"\\]|\\.)*"|[\pL_][\pL\d_]*|\d+|==|!=|<=|>=|&&|\|\||::|.)`)

// tokens takes the text that Cedar parsed, from one offset up to another, apart.
func (d document) tokens(from, to int) []token {
	var list []token
	for _, m := range tokenPattern.FindAllStringSubmatchIndex(d.text[from:to], -1) {
		if m[2] >= 0 {
			list = append(list, token{d.text[from+m[2] : from+m[3]], from + m[2]})
		}
	}
	return list
}

// budget bounds how much text is validated in search of faults, in bytes.
const budget = 1 << 20

// search looks for the faults of one policy.
type search struct {
	document
	rules  *rules
	budget *int

	annotations map[string]token // by name
	effect      token
	scope       []token   // with its brackets
	conditions  [][]token // what is between the braces of each when and unless
	tokens      []token
}

// newSearch reads the outline of the policy between two offsets.
func newSearch(d document, from, to int, r *rules, budget *int) *search {
	s := &search{document: d, rules: r, budget: budget, annotations: make(map[string]token), tokens: d.tokens(from, to)}
	rest := s.tokens
	for len(rest) > 1 && rest[0].text == "@" {
		if _, twice := s.annotations[rest[1].text]; !twice {
			s.annotations[rest[1].text] = rest[0]
		}
		if rest = rest[2:]; len(rest) != 0 && rest[0].text == "(" {
			rest = rest[group(rest):]
		}
	}
	if len(rest) < 2 {
		return s
	}
	s.effect, rest = rest[0], rest[1:]
	n := group(rest)
	s.scope, rest = rest[:n], rest[n:]
	for len(rest) > 1 && (rest[0].text == "when" || rest[0].text == "unless") {
		n := 1 + group(rest[1:])
		if n < 3 {
			break
		}
		s.conditions = append(s.conditions, rest[2:n-1])
		rest = rest[n:]
	}
	return s
}

// group is the number of tokens up to the bracket that closes the first, which
// opens one; all of them where none does.
func group(tokens []token) int {
	depth := 0
	for i, t := range tokens {
		if depth += nesting(t.text); depth == 0 {
			return i + 1
		}
	}
	return len(tokens)
}

func nesting(text string) int {
	switch text {
	case "(", "[", "{":
		return 1
	case ")", "]", "}":
		return -1
	}
	return 0
}

// find is the offset of what a fault of the policy is about.
func (s *search) find(what string) int {
	if s.yields(what, "") {
		return pinpoint(what, s.scope, s.effect.start)
	}
	// Cedar validates each condition by itself.
	for _, c := range s.conditions {
		if s.yields(what, s.between(c)) {
			span := s.narrow(what, "", c)
			if *s.budget < 0 {
				return span[0].start
			}
			return pinpoint(what, span, span[0].start)
		}
	}
	return s.effect.start
}

// yields tells whether the policy's scope, with the condition given, has the fault.
func (s *search) yields(what, condition string) bool {
	text := "permit " + s.between(s.scope)
	if condition != "" {
		text += " when { " + condition + " }"
	}
	text += ";"
	if *s.budget -= len(text); *s.budget < 0 {
		return false
	}
	list, err := parse("", text)
	return err == nil && len(list) == 1 && slices.Contains(s.rules.faults(list[0]), what)
}

// narrow gives the smallest piece of an expression that has the fault by itself.
// guards are what was asked before it, each followed by "&&".
func (s *search) narrow(what, guards string, span []token) []token {
	for _, p := range pieces(span) {
		if len(p.span) == 0 {
			continue
		}
		guards := guards
		for _, g := range p.guards {
			guards += "(" + s.between(g) + ") && "
		}
		text := s.between(p.span)
		// An expression of any type becomes a condition by being compared with itself.
		if s.yields(what, guards+"(("+text+") == ("+text+"))") {
			return s.narrow(what, guards, p.span)
		}
	}
	return span
}

// between is the text of the tokens, with what stands between them.
func (s *search) between(tokens []token) string {
	if len(tokens) == 0 {
		return ""
	}
	return s.text[tokens[0].start:tokens[len(tokens)-1].end()]
}

// piece is a part of an expression, with the parts that hold where it is looked at.
type piece struct {
	guards [][]token
	span   []token
}

// pieces takes an expression apart at the operator that binds least. Where that is
// wrong, a piece does not parse, and the fault is said to be in the whole.
func pieces(span []token) []piece {
	if len(span) < 2 {
		return nil
	}
	if span[0].text == "(" && group(span) == len(span) {
		return []piece{{span: span[1 : len(span)-1]}}
	}
	if span[0].text == "if" {
		parts := split(span[1:], "then", "else")
		list := []piece{{span: parts[0]}}
		for i, p := range parts[1:] {
			var guards [][]token
			if i == 0 {
				guards = [][]token{parts[0]}
			}
			list = append(list, piece{guards, p})
		}
		return list
	}
	for _, operators := range [][]string{
		{"||"}, {"&&"}, {"==", "!=", "<", "<=", ">", ">=", "in", "has", "like", "is"}, {"+", "-"}, {"*"},
	} {
		parts := split(span, operators...)
		if len(parts) == 1 {
			continue
		}
		var list []piece
		for i, p := range parts {
			var guards [][]token
			if operators[0] == "&&" {
				guards = parts[:i]
			}
			list = append(list, piece{guards, p})
		}
		return list
	}
	if span[0].text == "!" || span[0].text == "-" {
		return []piece{{span: span[1:]}}
	}
	return accesses(span)
}

// accesses takes a.b, a.f(b, c), [a, b], {k: a} and f(a) apart.
func accesses(span []token) []piece {
	var list []piece
	depth, opened, dot := 0, 0, 0
	for i, t := range span {
		switch n := nesting(t.text); {
		case n > 0:
			if depth == 0 {
				opened = i + 1
			}
			depth++
		case n < 0:
			if depth--; depth == 0 {
				for _, p := range split(span[opened:i], ",") {
					if parts := split(p, ":"); len(parts) == 2 {
						p = parts[1]
					}
					list = append(list, piece{span: p})
				}
			}
		case depth == 0 && t.text == ".":
			dot = i
		}
	}
	if dot > 0 {
		list = append([]piece{{span: span[:dot]}}, list...)
	}
	return list
}

// split cuts the tokens at those named that are in no bracket.
func split(tokens []token, at ...string) [][]token {
	var parts [][]token
	depth, start := 0, 0
	for i, t := range tokens {
		depth += nesting(t.text)
		if depth == 0 && slices.Contains(at, t.text) {
			parts = append(parts, tokens[start:i])
			start = i + 1
		}
	}
	return append(parts, tokens[start:])
}

// pinpoint is where in the tokens the name is that a fault speaks of, or otherwise.
func pinpoint(what string, tokens []token, otherwise int) int {
	_, rest, _ := strings.Cut(what, "`")
	name, _, ok := strings.Cut(rest, "`")
	if !ok || name == "" {
		return otherwise
	}
	words := document{text: name}.tokens(0, len(name))
	if slices.ContainsFunc(words, func(t token) bool { return t.text == "." }) {
		words = words[len(words)-1:] // the last attribute of a path
	}
	for i := len(tokens) - len(words); i >= 0; i-- {
		same := slices.EqualFunc(tokens[i:i+len(words)], words, func(a, b token) bool {
			return a.text == b.text || a.text == `"`+b.text+`"`
		})
		if same {
			return tokens[i].start
		}
	}
	return otherwise
}
