// Package doctor examines a token, and the configuration of a server that is to
// use it, and says of each thing whether it is fit and what to do where it is not.
//
// Nothing is changed, and no key of the token's is used: what has to be tried is
// tried with throw-away keys. docs/doctor.md says what each finding means.
package doctor

import (
	"cmp"
	_ "embed"
	"slices"
	"strings"
	"time"

	"latchkey/card"
	"latchkey/hsm"
)

// Grade is how grave a finding is.
type Grade string

// The grades, from the best to the gravest.
const (
	Pass    Grade = "pass"
	Note    Grade = "note"    // so it is, and nothing that is known here suffers from it
	Warning Grade = "warning" // answers are given, and something should be done
	Fail    Grade = "fail"    // some card or other is not answered, or keys are not safe
)

func (g Grade) weight() int { return slices.Index([]Grade{Pass, Note, Warning, Fail}, g) }

// Check is what a finding is about.
type Check string

// The checks, in the order in which they are made.
const (
	Configuration Check = "configuration"
	TLS           Check = "tls"
	PINFile       Check = "pin-file"
	Store         Check = "store"
	Clock         Check = "clock"
	Module        Check = "module"
	Token         Check = "token"
	PIN           Check = "pin"
	Sessions      Check = "sessions"
	Memory        Check = "memory"
	Answers       Check = "known-answers"
	Scheme        Check = "scheme"
	Response      Check = "response"
	TripleDES     Check = "3des"
	Refusal       Check = "refusal"
	MasterKey     Check = "master-key"
	Profile       Check = "profile"
	Pool          Check = "pool"
)

// Checks lists all checks.
func Checks() []Check {
	return []Check{
		Configuration, TLS, PINFile, Store, Clock, Module, Token, PIN, Sessions, Memory,
		Answers, Scheme, Response, TripleDES, Refusal, MasterKey, Profile, Pool,
	}
}

// Finding is one thing that was found out.
type Finding struct {
	Check   Check  `json:"check"`
	Token   string `json:"token,omitempty"`   // its label, where there are fallbacks
	Subject string `json:"subject,omitempty"` // a key, a scheme, a file
	Grade   Grade  `json:"grade"`
	Text    string `json:"finding"`
	Do      string `json:"do,omitempty"`
	// Profiles are those whose cards are not answered because of it.
	Profiles []string `json:"profiles,omitempty"`
}

// Result is what a token's examination comes to in numbers.
type Result struct {
	Token string `json:"token"` // its label
	// Answers is nil where no known answer was tried.
	Answers *Tally `json:"known_answers,omitempty"`
	// Measured is empty where nothing was measured.
	Measured []hsm.Measurement `json:"measured,omitempty"`
}

// Tally counts the known answers.
type Tally struct {
	Passed      int `json:"passed"`
	Failed      int `json:"failed"`
	Unsupported int `json:"unsupported"`
}

// Options say how to examine.
type Options struct {
	// Quick leaves out the measurement.
	Quick bool
	// Now is the machine's time, and Built that of the program, the zero time where
	// it is not known.
	Now, Built time.Time
	// Synchronised tells whether something keeps the machine's clock right, as far
	// as that is known.
	Synchronised func() (yes, known bool)
}

// Exam is an examination under way, with what it has found so far.
type Exam struct {
	Findings []Finding
	Results  []*Result // one for each token that was opened

	options Options
	// configured tells that profiles are those of a configuration; without one
	// nobody knows what the token is to be good for.
	configured bool
	profiles   []card.Profile
	allowed    []string // labels of extractable keys
	sessions   int

	// fallbacks is how many tokens stand in for the first; kcvs are the check values
	// of the first's keys, by name and convention.
	fallbacks int
	kcvs      map[string]string

	// What a token's examination leaves for later parts of it.
	label    string
	fallback bool // this token is not the first
	tried    map[hsm.Way]trial
	answers  map[hsm.Way]answer
	stopped  map[string]error // profiles that the token does not carry out, by ID
}

// New begins an examination.
func New(o Options) *Exam {
	return &Exam{
		options: o, sessions: hsm.DefaultSessions, kcvs: make(map[string]string),
	}
}

// Turn turns to a token. The one after the first that could be opened is there to
// stand in for it.
func (e *Exam) Turn(to hsm.Selector) {
	e.label, e.fallback = cmp.Or(to.Label, to.Serial), len(e.Results) > 0
	e.tried, e.answers, e.stopped = make(map[hsm.Way]trial), make(map[hsm.Way]answer), make(map[string]error)
}

// Unopened adds the finding that the token cannot be used at all.
func (e *Exam) Unopened(c Check, why error, do string) {
	e.Add(Finding{Check: c, Grade: e.stops(), Text: why.Error(), Do: do})
}

// result is that of the token under examination.
func (e *Exam) result() *Result { return e.Results[len(e.Results)-1] }

// Grade is that of the gravest finding.
func (e *Exam) Grade() Grade {
	worst := Pass
	for _, f := range e.Findings {
		if f.Grade.weight() > worst.weight() {
			worst = f.Grade
		}
	}
	return worst
}

// Count counts the findings of a grade.
func (e *Exam) Count(g Grade) (n int) {
	for _, f := range e.Findings {
		if f.Grade == g {
			n++
		}
	}
	return n
}

// Add adds a finding.
func (e *Exam) Add(f Finding) {
	if e.fallbacks > 0 {
		f.Token = e.label
	}
	e.Findings = append(e.Findings, f)
}

// find adds a finding that nothing is to be done about.
func (e *Exam) find(c Check, subject string, g Grade, text string) {
	e.Add(Finding{Check: c, Subject: subject, Grade: g, Text: text})
}

// using lists the profiles that satisfy is.
func (e *Exam) using(is func(card.Profile) bool) (ids []string) {
	for _, p := range e.profiles {
		if is(p) {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

// needed is the grade of something that does not work: grave where a profile
// needs it.
func (e *Exam) needed(profiles []string) Grade {
	if len(profiles) != 0 {
		return e.stops()
	}
	return Note
}

// stops is the grade of what keeps a token from answering. Where a fallback does
// not answer another token may.
func (e *Exam) stops() Grade {
	if e.fallback {
		return Warning
	}
	return Fail
}

func list[T ~string](items []T) string {
	texts := make([]string, len(items))
	for i, item := range items {
		texts[i] = string(item)
	}
	return strings.Join(texts, ", ")
}

//go:embed answers.json
var knownAnswers []byte
