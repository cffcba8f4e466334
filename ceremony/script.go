package ceremony

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"latchkey/card"
	"latchkey/config/strictyaml"
	"latchkey/hsm"
)

// Bounds of a script.
const (
	maxScript = 256 << 10 // bytes
	maxSteps  = 200
	maxShares = 9 // components of one key
)

// Script is a ceremony without faults.
type Script struct {
	Title      string
	Token      hsm.Selector
	SigningKey SigningKey
	Officers   []Officer
	RunBy      string // the officer at the keyboard
	Approval   Approval
	Steps      []Step
	// SHA256 is of the file's bytes, in hex: what is approved.
	SHA256 string
	// Files that the steps name are relative to the script's folder.
	folder string
}

// SigningKey is the key pair in the token that signs the record.
type SigningKey struct {
	Label  string
	Create bool // make it where it is not there
}

// Officer is somebody who has to be there.
type Officer struct {
	Name string `json:"name"`
	Role string `json:"role"`
	// Certificate is the SHA-256 fingerprint of the officer's certificate in hex,
	// where the script says it.
	Certificate string `json:"certificate_sha256,omitempty"`
}

// Approval says how many of which officers have to approve. Where one is enough,
// it is not the one who runs the ceremony.
type Approval struct {
	Required int
	Officers []string
}

// Step is one thing that is done.
type Step interface {
	// Kind is the step's key in the script, as in "generate".
	Kind() string
	// Words say what the step does, one sentence or item a line.
	Words() []string
	// check reports the step's faults.
	check(*checker)
	// do carries the step out, and says in the record what came of it.
	do(context.Context, *walk, *StepRecord) error
}

// Load reads a script and checks it without a token. A script with faults gives
// *strictyaml.Faults, which lists all of them with their places.
func Load(path string) (*Script, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read ceremony: %w", err)
	}
	defer func() { _ = f.Close() }() // only read from
	text, err := io.ReadAll(io.LimitReader(f, maxScript+1))
	if err != nil {
		return nil, fmt.Errorf("read ceremony: %w", err)
	}
	return Parse(path, text)
}

// Parse is Load for the text of the file at path.
func Parse(path string, text []byte) (*Script, error) {
	if len(text) > maxScript {
		return nil, &strictyaml.Faults{File: path, Faults: []string{fmt.Sprintf("longer than %d bytes", maxScript)}}
	}
	f, faults, ok := strictyaml.Decode[file](text)
	if !ok {
		return nil, &strictyaml.Faults{File: path, Faults: faults}
	}
	sum := sha256.Sum256(text)
	s := &Script{
		Title: f.Title, Token: hsm.Selector{Label: f.Token.Label, Serial: f.Token.Serial},
		SigningKey: SigningKey{f.SigningKey.Label, f.SigningKey.Create},
		RunBy:      f.RunBy, Approval: Approval{f.Approval.Required.Or(0), f.Approval.Officers},
		SHA256: hex.EncodeToString(sum[:]), folder: filepath.Dir(path),
	}
	c := &checker{script: s, report: func(place, format string, args ...any) {
		faults = append(faults, place+": "+fmt.Sprintf(format, args...))
	}}
	c.check(f)
	if len(faults) != 0 {
		return nil, &strictyaml.Faults{File: path, Faults: faults}
	}
	return s, nil
}

// at is the path of a file that a step names.
func (s *Script) at(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(s.folder, path)
}

// file is the YAML file as it stands.
type file struct {
	Title string `yaml:"title"`
	Token struct {
		Label  string `yaml:"label"`
		Serial string `yaml:"serial"`
	} `yaml:"token"`
	SigningKey struct {
		Label  string `yaml:"label"`
		Create bool   `yaml:"create"`
	} `yaml:"signing_key"`
	Officers []struct {
		Name        string `yaml:"name"`
		Role        string `yaml:"role"`
		Certificate string `yaml:"certificate"`
	} `yaml:"officers"`
	RunBy    string `yaml:"run_by"`
	Approval struct {
		Required strictyaml.Whole `yaml:"required"`
		Officers []string         `yaml:"officers"`
	} `yaml:"approval"`
	Steps []struct {
		Note               *note               `yaml:"note"`
		Generate           *generate           `yaml:"generate"`
		GenerateWithBackup *generateWithBackup `yaml:"generate-with-backup"`
		ImportComponents   *importComponents   `yaml:"import-components"`
		ImportWrapped      *importWrapped      `yaml:"import-wrapped"`
		ImportUnder        *importUnder        `yaml:"import-under"`
		TransportKey       *transportKey       `yaml:"transport-key"`
		Destroy            *destroy            `yaml:"destroy"`
		Check              *checkKey           `yaml:"check"`
	} `yaml:"steps"`
}

// checker reports the faults of a script.
type checker struct {
	script *Script
	report func(place, format string, args ...any)
	place  string // of the step that is checked
	// makes are the keys, writes the files, that steps before this one make.
	makes  map[keyName]bool
	writes map[string]bool
}

type keyName struct {
	label   string
	version int
}

func (c *checker) check(f file) {
	c.line("title", f.Title, card.MaxText)
	if c.script.Token == (hsm.Selector{}) {
		c.report("token", "name the token by label, by serial, or by both")
	}
	c.line("signing_key.label", f.SigningKey.Label, card.MaxID)
	c.officers(f)
	c.approval()
	if len(f.Steps) == 0 || len(f.Steps) > maxSteps {
		c.report("steps", "there must be 1 to %d", maxSteps)
	}
	c.makes, c.writes = make(map[keyName]bool), make(map[string]bool)
	for i, l := range f.Steps {
		c.place = fmt.Sprintf("step %d", i+1)
		var named []Step
		add := func(there bool, s Step) {
			if there {
				named = append(named, s)
			}
		}
		add(l.Note != nil, l.Note)
		add(l.Generate != nil, l.Generate)
		add(l.GenerateWithBackup != nil, l.GenerateWithBackup)
		add(l.ImportComponents != nil, l.ImportComponents)
		add(l.ImportWrapped != nil, l.ImportWrapped)
		add(l.ImportUnder != nil, l.ImportUnder)
		add(l.TransportKey != nil, l.TransportKey)
		add(l.Destroy != nil, l.Destroy)
		add(l.Check != nil, l.Check)
		if len(named) != 1 {
			c.report(c.place, "must be exactly one of %s, with what belongs to it", card.Join(kinds()))
			continue
		}
		c.place += ", " + named[0].Kind()
		named[0].check(c)
		c.script.Steps = append(c.script.Steps, named[0])
	}
}

// kinds lists the kinds of steps.
func kinds() []string {
	var list []string
	for _, s := range []Step{
		new(note), &generate{}, &generateWithBackup{}, &importComponents{}, &importWrapped{}, &importUnder{}, &transportKey{}, &destroy{}, &checkKey{},
	} {
		list = append(list, s.Kind())
	}
	return list
}

func (c *checker) officers(f file) {
	if len(f.Officers) < 2 {
		c.report("officers", "name at least two: nobody holds a ceremony alone")
	}
	for i, o := range f.Officers {
		place := fmt.Sprintf("officers[%d]", i)
		c.line(place+".name", o.Name, card.MaxText)
		c.line(place+".role", o.Role, card.MaxText)
		if o.Name != "" && c.script.officer(o.Name) != nil {
			c.report(place+".name", "%q is there twice; names that differ only in case or spaces are the same", o.Name)
		}
		if o.Name != "" && isStop(o.Name) {
			c.report(place+".name", "%q is the word that breaks a ceremony off", o.Name)
		}
		officer := Officer{Name: o.Name, Role: o.Role}
		if o.Certificate != "" {
			officer.Certificate = c.sha256(place+".certificate", o.Certificate)
		}
		c.script.Officers = append(c.script.Officers, officer)
	}
	if f.RunBy == "" || c.script.officer(f.RunBy) == nil {
		c.report("run_by", "%q is not one of officers", f.RunBy)
	}
}

func (c *checker) approval() {
	a := c.script.Approval
	var seen []string
	for i, name := range a.Officers {
		place := fmt.Sprintf("approval.officers[%d]", i)
		if c.script.officer(name) == nil {
			c.report(place, "%q is not one of officers", name)
		}
		if slices.ContainsFunc(seen, func(other string) bool { return sameName(name, other) }) {
			c.report(place, "%q is there twice", name)
		}
		seen = append(seen, name)
	}
	if a.Required < 1 || a.Required > len(a.Officers) {
		c.report("approval.required", "must be from 1 to the number of approval.officers, %d", len(a.Officers))
	}
	if a.Required == 1 && slices.ContainsFunc(a.Officers, func(name string) bool { return sameName(name, c.script.RunBy) }) {
		c.report("approval", "run_by, %q, could approve alone: require two, or leave them out", c.script.RunBy)
	}
}

// officer finds an officer by name, nil where there is none.
func (s *Script) officer(name string) *Officer {
	for i, o := range s.Officers {
		if sameName(o.Name, name) {
			return &s.Officers[i]
		}
	}
	return nil
}

// line reports what is no line of text.
func (c *checker) line(place, text string, limit int) {
	if wrong := card.TextFault(text, limit, true); wrong != "" {
		c.report(place, "%s", wrong)
	}
}

// sha256 reads a SHA-256 in hex.
func (c *checker) sha256(place, text string) string {
	var sum [sha256.Size]byte
	if err := card.ParseHex(sum[:], []byte(text)); err != nil {
		c.report(place, "is not a SHA-256 in hex: %v", err)
	}
	return hex.EncodeToString(sum[:])
}
