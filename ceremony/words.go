package ceremony

import (
	"fmt"
	"strings"

	"latchkey/hsm"
)

// opening says what the ceremony is, and who is there.
func (s *Script) opening() []string {
	lines := []string{s.Title, strings.Repeat("=", min(len([]rune(s.Title)), 78)), "Token: " + tokenName(s.Token.Label, s.Token.Serial)}
	lines = append(lines, "Script, SHA-256:", "  "+grouped(s.SHA256), "Officers:")
	for _, o := range s.Officers {
		lines = append(lines, fmt.Sprintf("  %s, %s", o.Name, o.Role))
		if o.Certificate != "" {
			lines = append(lines, "    certificate "+grouped(o.Certificate))
		}
	}
	lines = append(lines,
		fmt.Sprintf("Run by: %s", s.RunBy),
		fmt.Sprintf("Approved by: %d of: %s", s.Approval.Required, strings.Join(s.Approval.Officers, ", ")))
	signing := "Record signed by: " + s.SigningKey.Label
	if s.SigningKey.Create {
		signing += ", which is made in the token if it is not there"
	}
	return append(lines, signing)
}

func tokenName(label, serial string) string {
	switch {
	case serial == "":
		return label
	case label == "":
		return "serial " + serial
	}
	return label + ", serial " + serial
}

// Lines is the whole script in words, as it will be walked.
func (s *Script) Lines() []string {
	lines := s.opening()
	for i, step := range s.Steps {
		lines = append(lines, "", fmt.Sprintf("Step %d of %d: %s", i+1, len(s.Steps), step.Kind()))
		for _, line := range step.Words() {
			lines = append(lines, "  "+line)
		}
	}
	return lines
}

// keyLines is what the token says of a key.
func keyLines(k hsm.Key) []string {
	lines := []string{
		fmt.Sprintf("%s version %d: %s, to %s", k.Label, k.Version, k.Type, k.Use),
		"key check value " + join(k.KCV),
		fmt.Sprintf("extractable %t, never_extractable %t, sensitive %t, always_sensitive %t, generated_in_token %t",
			k.Extractable, k.NeverExtractable, k.Sensitive, k.AlwaysSensitive, k.Local),
	}
	if k.Fault != "" {
		lines = append(lines, "UNFIT: "+k.Fault)
	}
	if k.Weakness != "" {
		lines = append(lines, "weakness: "+k.Weakness)
	}
	return lines
}
