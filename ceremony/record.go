package ceremony

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"time"

	"latchkey/card"
	"latchkey/hsm"
)

// Format names the record's form. A record of another is not read.
const Format = "latchkey-ceremony-record-1"

// Outcome is how a ceremony, or a step of it, came out.
type Outcome string

// The outcomes.
const (
	Done       Outcome = "done"
	Failed     Outcome = "failed"      // something was refused or did not work
	BrokenOff  Outcome = "broken-off"  // by an officer, or by Ctrl-C
	NotReached Outcome = "not-reached" // of a step: the ceremony ended before it
)

// Record is what happened. It holds no secret: components only by their check
// values, and nothing that was typed.
type Record struct {
	Format string `json:"format"`
	Title  string `json:"title"`
	// Script is the SHA-256 of the ceremony file, in hex.
	Script            string           `json:"script_sha256"`
	Tool              string           `json:"tool"`
	Started           time.Time        `json:"started"`
	Ended             time.Time        `json:"ended"`
	Outcome           Outcome          `json:"outcome"`
	Error             string           `json:"error,omitempty"`
	Token             TokenRecord      `json:"token"`
	SigningKey        KeyRecord        `json:"signing_key"`
	RunBy             string           `json:"run_by"`
	Officers          []OfficerRecord  `json:"officers"`
	ApprovalsRequired int              `json:"approvals_required"`
	Approvals         []ApprovalRecord `json:"approvals"`
	Steps             []StepRecord     `json:"steps"`
	// Events are refusals and retries before the first step.
	Events []Event `json:"events,omitempty"`
}

// TokenRecord is the token as it describes itself.
type TokenRecord struct {
	Label        string `json:"label"`
	Serial       string `json:"serial"`
	Manufacturer string `json:"manufacturer"`
	Model        string `json:"model"`
	Hardware     string `json:"hardware_version"`
	Firmware     string `json:"firmware_version"`
}

// KeyRecord is a key pair.
type KeyRecord struct {
	Label string `json:"label"`
	// Fingerprint is SHA-256 over the public key's DER SubjectPublicKeyInfo, in hex.
	Fingerprint string `json:"fingerprint"`
}

// OfficerRecord is an officer, and when they said that they were there; nil where
// they did not.
type OfficerRecord struct {
	Officer
	Present *time.Time `json:"present,omitempty"`
}

// ApprovalRecord is one approval of the script.
type ApprovalRecord struct {
	Name string    `json:"name"`
	At   time.Time `json:"at"`
}

// Event is a refusal or a retry.
type Event struct {
	At   time.Time `json:"at"`
	What string    `json:"what"`
}

// FileRecord is a file that was read or written.
type FileRecord struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
}

// ComponentRecord is one component of a key.
type ComponentRecord struct {
	Officer string   `json:"officer"`
	Tries   int      `json:"tries"`
	KCV     *hsm.KCV `json:"kcv,omitempty"` // nil where none was taken
}

// StepRecord is one step.
type StepRecord struct {
	Number  int        `json:"number"`
	Kind    string     `json:"kind"`
	Words   []string   `json:"words"`
	Outcome Outcome    `json:"outcome"`
	Error   string     `json:"error,omitempty"`
	Started *time.Time `json:"started,omitempty"`
	Ended   *time.Time `json:"ended,omitempty"`
	// Key is the key that was made, checked or destroyed, as the token reports it.
	Key *hsm.Key `json:"key,omitempty"`
	// TransportKey is a transport key's fingerprint.
	TransportKey string            `json:"transport_key,omitempty"`
	Files        []FileRecord      `json:"files,omitempty"`
	Components   []ComponentRecord `json:"components,omitempty"`
	Events       []Event           `json:"events,omitempty"`
}

// newRecord is the record of a ceremony that is about to begin.
func newRecord(s *Script, o Options, public *ecdsa.PublicKey) (*Record, error) {
	fingerprint, err := hsm.Fingerprint(public)
	if err != nil {
		return nil, err
	}
	t := o.HSM.Info()
	r := &Record{
		Format: Format, Title: s.Title, Script: s.SHA256, Tool: o.Tool, Started: o.Now().UTC().Truncate(time.Second),
		Token:      TokenRecord{t.Label, t.Serial, t.Manufacturer, t.Model, t.Hardware, t.Firmware},
		SigningKey: KeyRecord{s.SigningKey.Label, fingerprint},
		RunBy:      s.RunBy, ApprovalsRequired: s.Approval.Required, Approvals: []ApprovalRecord{},
	}
	for _, o := range s.Officers {
		r.Officers = append(r.Officers, OfficerRecord{Officer: o})
	}
	for i, step := range s.Steps {
		r.Steps = append(r.Steps, StepRecord{Number: i + 1, Kind: step.Kind(), Words: step.Words(), Outcome: NotReached})
	}
	return r, nil
}

func (r *Record) end(at time.Time, err error) {
	r.Ended, r.Outcome = at, outcomeOf(err)
	if err != nil {
		r.Error = said(err)
	}
}

func outcomeOf(err error) Outcome {
	switch {
	case err == nil:
		return Done
	case errors.Is(err, ErrStopped), errors.Is(err, context.Canceled):
		return BrokenOff
	}
	return Failed
}

// said is an error in the record's words.
func said(err error) string {
	if errors.Is(err, context.Canceled) {
		return "interrupted by Ctrl-C or another signal"
	}
	return err.Error()
}

// Lines is the record in words.
func (r *Record) Lines() []string {
	lines := []string{
		"Record of the ceremony: " + r.Title,
		fmt.Sprintf("Outcome: %s", r.Outcome),
	}
	if r.Error != "" {
		lines = append(lines, "  "+r.Error)
	}
	lines = append(lines,
		"From "+clock(r.Started)+" to "+clock(r.Ended),
		"Script, SHA-256:", "  "+grouped(r.Script),
		"Run with latchkey "+r.Tool,
		fmt.Sprintf("Token: %s; %s %s, hardware %s, firmware %s",
			tokenName(r.Token.Label, r.Token.Serial), r.Token.Manufacturer, r.Token.Model, r.Token.Hardware, r.Token.Firmware),
		fmt.Sprintf("Signing key %s, fingerprint", r.SigningKey.Label), "  "+grouped(r.SigningKey.Fingerprint),
		"Run by "+r.RunBy)
	for _, o := range r.Officers {
		there := "DID NOT SAY THAT THEY WERE THERE"
		if o.Present != nil {
			there = "there since " + clock(*o.Present)
		}
		lines = append(lines, fmt.Sprintf("Officer %s, %s: %s", o.Name, o.Role, there))
		if o.Certificate != "" {
			lines = append(lines, "  certificate "+grouped(o.Certificate))
		}
	}
	for _, a := range r.Approvals {
		lines = append(lines, fmt.Sprintf("Approved by %s at %s", a.Name, clock(a.At)))
	}
	lines = append(lines, fmt.Sprintf("%d of %d approvals", len(r.Approvals), r.ApprovalsRequired))
	lines = append(lines, eventLines(r.Events)...)
	for _, s := range r.Steps {
		lines = append(lines, s.lines()...)
	}
	for i, line := range lines {
		lines[i] = card.Visible(line)
	}
	return lines
}

func (s *StepRecord) lines() []string {
	lines := []string{"", fmt.Sprintf("Step %d of kind %s: %s", s.Number, s.Kind, s.Outcome)}
	add := func(format string, args ...any) { lines = append(lines, "  "+fmt.Sprintf(format, args...)) }
	for _, line := range s.Words {
		add("%s", line)
	}
	if s.Started != nil && s.Ended != nil {
		add("from %s to %s", clock(*s.Started), clock(*s.Ended))
	}
	for i, c := range s.Components {
		value := "none was taken"
		if c.KCV != nil {
			value = "key check value " + c.KCV.String()
		}
		add("component %d by %s: %s, tries %d", i+1, c.Officer, value, c.Tries)
	}
	if s.Key != nil {
		for _, line := range keyLines(*s.Key) {
			add("%s", line)
		}
	}
	if s.TransportKey != "" {
		add("transport key %s", grouped(s.TransportKey))
	}
	for _, f := range s.Files {
		add("file %s, SHA-256 %s", f.Path, grouped(f.SHA256))
	}
	lines = append(lines, eventLines(s.Events)...)
	if s.Error != "" {
		add("%s: %s", s.Outcome, s.Error)
	}
	return lines
}

func eventLines(events []Event) []string {
	var lines []string
	for _, e := range events {
		lines = append(lines, "  "+clock(e.At)+" "+e.What)
	}
	return lines
}

func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }
