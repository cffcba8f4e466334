// Package cases tries policies out on cases that somebody wrote down: a request, and
// what is to become of it. A security officer keeps them beside the policies and runs
// them before a change (latchkey policy test).
package cases

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"latchkey/card"
	"latchkey/config/strictyaml"
	"latchkey/identity"
	"latchkey/policy"
)

// MaxFile is the limit on a file of cases, in bytes.
const MaxFile = 1 << 20

// Expectation is what is to become of a request.
type Expectation string

// What may be expected.
const (
	Allow    Expectation = "allow"
	Deny     Expectation = "deny"
	Approval Expectation = "approval" // denied, but for somebody's approval
)

// Case is one request and what is expected of it.
type Case struct {
	Name string
	Line int // in its file
	// View tells that the case is about seeing the card, which takes the operator,
	// the client and the card from the Request.
	View    bool
	Request policy.Request

	Want Expectation
	// Approval is the role that is to approve, where that matters.
	Approval identity.Role
	// Policies are the IDs of those that are to decide; nil where that does not
	// matter.
	Policies []string
}

// Suite is a file of cases.
type Suite struct {
	File  string
	Cases []Case
}

// The file's mapping. Everything is optional but name and expect.
type (
	file struct {
		Given request  `yaml:"given"`
		Cases []single `yaml:"cases"`
	}
	single struct {
		request `yaml:",inline"`

		Name     string   `yaml:"name"`
		Expect   string   `yaml:"expect"`
		Approval string   `yaml:"approval"`
		Policies []string `yaml:"policies"`
	}
	request struct {
		Action       string           `yaml:"action"`
		Operator     person           `yaml:"operator"`
		Approver     *person          `yaml:"approver"`
		Means        string           `yaml:"means"`
		Client       string           `yaml:"client"`
		Address      string           `yaml:"address"`
		Time         string           `yaml:"time"`
		Card         cardData         `yaml:"card"`
		Reason       string           `yaml:"reason"`
		Ticket       string           `yaml:"ticket"`
		Verification string           `yaml:"verification"`
		Unconfirmed  strictyaml.Whole `yaml:"unconfirmed"`
		Override     bool             `yaml:"override"`
	}
	person struct {
		ID             string   `yaml:"id"`
		Name           string   `yaml:"name"`
		Roles          []string `yaml:"roles"`
		Groups         []string `yaml:"groups"`
		Unit           string   `yaml:"unit"`
		Email          string   `yaml:"email"`
		EmployeeNumber string   `yaml:"employee_number"`
		MFA            bool     `yaml:"mfa"`
		MFAAge         string   `yaml:"mfa_age"`
	}
	cardData struct {
		Serial    string   `yaml:"serial"`
		Type      cardType `yaml:"type"`
		State     string   `yaml:"state"`
		Unit      string   `yaml:"unit"`
		Assurance string   `yaml:"assurance"`
		Source    string   `yaml:"source"`
		Holder    holder   `yaml:"holder"`
	}
	cardType struct {
		ID      string `yaml:"id"`
		Name    string `yaml:"name"`
		Profile string `yaml:"profile"`
	}
	holder struct {
		ID             string   `yaml:"id"`
		Email          string   `yaml:"email"`
		EmployeeNumber string   `yaml:"employee_number"`
		Unit           string   `yaml:"unit"`
		Groups         []string `yaml:"groups"`
		State          string   `yaml:"state"`
		Privileged     bool     `yaml:"privileged"`
	}
)

// Load reads a file of cases. What is wrong with it comes back as *strictyaml.Faults.
func Load(path string) (Suite, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Suite{}, fmt.Errorf("read cases: %w", err)
	}
	if info.Size() > MaxFile {
		return Suite{}, &strictyaml.Faults{File: path, Faults: []string{fmt.Sprintf("has more than %d bytes", MaxFile)}}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Suite{}, fmt.Errorf("read cases: %w", err)
	}
	return Parse(path, text)
}

// Parse reads the text of a file of cases. Its faults are *strictyaml.Faults.
func Parse(name string, text []byte) (Suite, error) {
	f, faults, ok := strictyaml.Decode[file](text)
	if !ok || len(faults) != 0 {
		return Suite{}, &strictyaml.Faults{File: name, Faults: faults}
	}
	// Read once more, each case on top of what is given for all of them.
	var nodes struct {
		Given yaml.Node   `yaml:"given"`
		Cases []yaml.Node `yaml:"cases"`
	}
	if err := yaml.Unmarshal(text, &nodes); err != nil {
		return Suite{}, &strictyaml.Faults{File: name, Faults: []string{err.Error()}}
	}
	s := Suite{File: name}
	seen := make(map[string]bool)
	for i := range f.Cases {
		var one single
		err := errors.Join(decode(nodes.Given, &one.request), decode(nodes.Cases[i], &one))
		if err != nil {
			return Suite{}, &strictyaml.Faults{File: name, Faults: []string{err.Error()}}
		}
		c, wrong := one.read(nodes.Cases[i].Line)
		if seen[c.Name] {
			wrong = append(wrong, "this name is there twice")
		}
		seen[c.Name] = true
		for _, w := range wrong {
			faults = append(faults, fmt.Sprintf("line %d: %s", c.Line, w))
		}
		s.Cases = append(s.Cases, c)
	}
	if len(s.Cases) == 0 {
		faults = append(faults, "there are no cases in it")
	}
	if len(faults) != 0 {
		return Suite{}, &strictyaml.Faults{File: name, Faults: faults}
	}
	return s, nil
}

// decode reads a node that may be absent.
func decode(n yaml.Node, into any) error {
	if n.IsZero() {
		return nil
	}
	return n.Decode(into)
}

// ordinary is the time of cases that name none: a Wednesday morning.
var ordinary = time.Date(2026, time.January, 14, 10, 0, 0, 0, time.UTC)

// read makes a Case of what was written, and lists what is wrong with it.
func (s single) read(line int) (Case, []string) {
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	oneOf := func(key, value string, known ...string) {
		if value != "" && !slices.Contains(known, value) {
			fault("%s must be one of: %s", key, strings.Join(known, "; "))
		}
	}
	required := func(key, value string) {
		if value == "" {
			fault("%s is required", key)
		}
	}
	required("name", s.Name)
	required("expect", s.Expect)
	required("operator.id", s.Operator.ID)
	required("card.serial", s.Card.Serial)
	required("card.holder.id", s.Card.Holder.ID)
	oneOf("action", s.Action, "unblock", "unblock-self", "view")
	oneOf("expect", s.Expect, string(Allow), string(Deny), string(Approval))
	oneOf("approval", s.Approval, texts(identity.Roles())...)
	oneOf("verification", s.Verification, texts(policy.Verifications())...)
	oneOf("means", s.Means, texts([]identity.Means{
		identity.ByCertificate, identity.ByToken, identity.BySession, identity.ByPassedToken, identity.ByName, identity.AsHolder,
	})...)
	if s.Approval != "" && s.Expect != string(Approval) {
		fault("approval is only for a case that expects approval")
	}
	now := ordinary
	if s.Time != "" {
		var err error
		if now, err = time.Parse("2006-01-02T15:04", s.Time); err != nil {
			fault("time must be a date and a time of day, as in 2026-01-14T10:00")
		}
	}
	var address netip.Addr
	if s.Address != "" {
		var err error
		if address, err = netip.ParseAddr(s.Address); err != nil {
			fault("address must be an IP address")
		}
	}
	c := Case{
		Name: s.Name, Line: line, View: s.Action == "view",
		Request: policy.Request{
			Operator: s.Operator.read(now, "operator", fault), Means: identity.Means(s.Means), Client: s.Client,
			Address: address, Now: now, Card: s.Card.read(), Reason: s.Reason, Ticket: s.Ticket,
			Verification: policy.Verification(s.Verification), Unconfirmed: s.Unconfirmed.Or(0), Override: s.Override,
			Self: s.Action == "unblock-self",
			Type: card.Type{ID: s.Card.Type.ID, Name: s.Card.Type.Name, Profile: s.Card.Type.Profile},
		},
		Want: Expectation(s.Expect), Approval: identity.Role(s.Approval), Policies: s.Policies,
	}
	if s.Approver != nil {
		required("approver.id", s.Approver.ID)
		approver := s.Approver.read(now, "approver", fault)
		c.Request.Approver = &approver
	}
	return c, faults
}

func (p person) read(now time.Time, key string, fault func(string, ...any)) identity.Person {
	who := identity.Person{
		ID: p.ID, Name: p.Name, Groups: p.Groups, Unit: p.Unit,
		Email: p.Email, EmployeeNumber: p.EmployeeNumber, MFA: p.MFA,
	}
	for _, r := range p.Roles {
		who.Roles = append(who.Roles, identity.Role(r))
	}
	if p.MFAAge != "" {
		age, err := time.ParseDuration(p.MFAAge)
		if err != nil || age < 0 {
			fault("%s.mfa_age must be a duration, as in 15m", key)
		}
		who.AuthenticatedAt = now.Add(-age)
	}
	return who
}

func (c cardData) read() card.Card {
	return card.Card{
		Serial: c.Serial, Type: c.Type.ID, State: c.State, Unit: c.Unit, Assurance: c.Assurance, Source: c.Source,
		Holder: card.Holder{
			ID: c.Holder.ID, Email: c.Holder.Email, EmployeeNumber: c.Holder.EmployeeNumber, Unit: c.Holder.Unit,
			Groups: c.Holder.Groups, State: c.Holder.State, Privileged: c.Holder.Privileged,
		},
	}
}

func texts[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, t := range list {
		out[i] = string(t)
	}
	return out
}

// Outcome is what became of a case.
type Outcome struct {
	Name string `json:"name"`
	File string `json:"file"`
	Line int    `json:"line"`
	// Wrong says in what the decision is not as expected, "" where it is.
	Wrong string `json:"wrong,omitempty"`
	// Got is what was decided: by which policies, and what the operator reads.
	Got      Expectation   `json:"got,omitempty"`
	Approval identity.Role `json:"approval,omitempty"`
	Policies []string      `json:"policies,omitempty"`
	Why      string        `json:"why,omitempty"`
}

// Run tries the policies out on every case.
func (s Suite) Run(ctx context.Context, e *policy.Engine) ([]Outcome, error) {
	outcomes := make([]Outcome, 0, len(s.Cases))
	for _, c := range s.Cases {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("try policies out: %w", err)
		}
		o := c.run(ctx, e)
		o.File = s.File
		outcomes = append(outcomes, o)
	}
	return outcomes, nil
}

func (c Case) run(ctx context.Context, e *policy.Engine) Outcome {
	o := Outcome{Name: c.Name, Line: c.Line}
	var d policy.Decision
	var err error
	if r := c.Request; c.View {
		d, err = e.View(ctx, policy.ViewRequest{Operator: r.Operator, Client: r.Client, Card: r.Card, Type: r.Type})
	} else {
		d, err = e.Decide(ctx, r)
	}
	if err != nil {
		o.Wrong = fmt.Sprintf("there is no decision, so it is a no: %v", err)
		return o
	}
	o.Approval, o.Policies, o.Why = d.Approval, d.Policies, d.Why
	switch {
	case d.Allow:
		o.Got = Allow
	case d.Approval != "":
		o.Got = Approval
	default:
		o.Got = Deny
	}
	wanted := slices.Sorted(slices.Values(c.Policies))
	switch {
	case o.Got != c.Want:
		o.Wrong = fmt.Sprintf("got %s, want %s", o.Got, c.Want)
	case c.Approval != "" && o.Approval != c.Approval:
		o.Wrong = fmt.Sprintf("got approval by %s, want %s", o.Approval, c.Approval)
	case c.Policies != nil && !slices.Equal(wanted, d.Policies):
		o.Wrong = fmt.Sprintf("decided by %s, want %s", list(d.Policies), list(wanted))
	}
	return o
}

func list(ids []string) string {
	if len(ids) == 0 {
		return "no policy"
	}
	return strings.Join(ids, ", ")
}

// Untried lists the policies of the set that decided none of the cases.
func Untried(e *policy.Engine, outcomes []Outcome) []string {
	tried := make(map[string]bool)
	for _, o := range outcomes {
		for _, id := range o.Policies {
			tried[id] = true
		}
	}
	var untried []string
	for _, p := range e.Policies() {
		if !tried[p.ID] {
			untried = append(untried, p.ID)
		}
	}
	return untried
}
