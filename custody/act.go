package custody

import (
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"regexp"
	"slices"

	"latchkey/card"
	"latchkey/hsm"
)

// Act is one thing that can be proposed.
type Act string

// The acts.
const (
	Generate           Act = "generate"             // a key from the token's own randomness
	GenerateWithBackup Act = "generate-with-backup" // the same, wrapped for another token as it is made
	ImportWrapped      Act = "import-wrapped"       // a key wrapped under the token's transport key
	ImportUnder        Act = "import-under"         // a key wrapped under a wrapping key in the token
	Activate           Act = "activate"
	Suspend            Act = "suspend"
	Resume             Act = "resume"
	Deactivate         Act = "deactivate"
	MarkCompromised    Act = "mark-compromised"
	Destroy            Act = "destroy"
	MakeCurrent        Act = "make-current" // the version that new cards get
)

// Acts lists all acts.
func Acts() []Act {
	return []Act{
		Generate, GenerateWithBackup, ImportWrapped, ImportUnder,
		Activate, Suspend, Resume, Deactivate, MarkCompromised, Destroy, MakeCurrent,
	}
}

// Alone tells whether one officer may do it at once. Only suspending is: it can
// do nothing but stop answers, it is wanted in a hurry, and it can be taken back.
func (a Act) Alone() bool { return a == Suspend }

// makes tells whether the act makes a key.
func (a Act) makes() bool { return a.To() == PreActive }

// touchesToken tells whether the act changes what is in the token.
func (a Act) touchesToken() bool { return a.makes() || a == Destroy }

// maxWrapped is the most bytes of a wrapped key or an encoded public key.
const maxWrapped = 2048

// Parameters are what an act is done with. Those that its act has no use for are
// empty.
type Parameters struct {
	Key     string `json:"key"` // label
	Version int    `json:"version"`
	Reason  string `json:"reason,omitempty"`

	// Of acts that make a key.
	Type card.KeyType `json:"type,omitempty"`
	Use  hsm.Use      `json:"use,omitempty"`
	// KCV is the check value that an imported key must have: 6 hex digits, by the
	// convention des-ecb-zero for TDES and aes-cmac-zero for AES keys. One with
	// another is not kept.
	KCV string `json:"kcv,omitempty"`
	// Wrapped is the key to import, wrapped.
	Wrapped []byte `json:"wrapped,omitempty"`
	// Under, UnderVersion and Wrapping say what it is wrapped with, of
	// ImportUnder.
	Under        string        `json:"under,omitempty"`
	UnderVersion int           `json:"under_version,omitempty"`
	Wrapping     card.Wrapping `json:"wrapping,omitempty"`
	// BackupKey is the other token's transport key as a DER SubjectPublicKeyInfo,
	// of GenerateWithBackup.
	BackupKey []byte `json:"backup_key,omitempty"`
}

// Draft is an act that is to be proposed.
type Draft struct {
	Act        Act
	Parameters Parameters
}

var kcvText = regexp.MustCompile(`^[0-9A-F]{6}$`)

// Faults lists everything that is wrong with the draft in itself.
func (d Draft) Faults() []card.Fault {
	var faults []card.Fault
	add := func(field, format string, args ...any) {
		faults = append(faults, card.Fault{Field: field, Detail: fmt.Sprintf(format, args...)})
	}
	version := func(field string, v int) {
		if v < 1 || v > card.MaxKeyVersion {
			add(field, "must be from 1 to %d", card.MaxKeyVersion)
		}
	}
	text := func(field, s string, limit int, required bool) {
		if fault := card.TextFault(s, limit, required); fault != "" {
			add(field, "%s", fault)
		}
	}
	if !slices.Contains(Acts(), d.Act) {
		add("act", "is not one of %s", card.Join(Acts()))
		return faults
	}
	p := d.Parameters
	text("parameters.key", p.Key, card.MaxID, true)
	version("parameters.version", p.Version)
	text("parameters.reason", p.Reason, card.MaxText, false)
	imports := d.Act == ImportWrapped || d.Act == ImportUnder
	for _, f := range []struct {
		field        string
		given, takes bool
	}{
		{"type", p.Type != "", d.Act.makes()},
		{"use", p.Use != "", d.Act.makes()},
		{"wrapped", len(p.Wrapped) != 0, imports},
		{"under", p.Under != "", d.Act == ImportUnder},
		{"under_version", p.UnderVersion != 0, d.Act == ImportUnder},
		{"wrapping", p.Wrapping != "", d.Act == ImportUnder},
		{"backup_key", len(p.BackupKey) != 0, d.Act == GenerateWithBackup},
	} {
		switch {
		case f.given && !f.takes:
			add("parameters."+f.field, "act %s has no use for it; leave it out", d.Act)
		case !f.given && f.takes:
			add("parameters."+f.field, "is required with act %s", d.Act)
		}
	}
	if p.KCV != "" && !imports {
		add("parameters.kcv", "act %s has no use for it; leave it out", d.Act)
	} else if p.KCV != "" && !kcvText.MatchString(p.KCV) {
		add("parameters.kcv", "must be 6 hex digits in upper case")
	}
	if len(faults) != 0 {
		return faults
	}
	if d.Act.makes() {
		if !slices.Contains(card.KeyTypes(), p.Type) {
			add("parameters.type", "is not one of %s", card.Join(card.KeyTypes()))
		}
		if !slices.Contains(hsm.Uses(), p.Use) {
			add("parameters.use", "is not one of %s", card.Join(hsm.Uses()))
		} else if p.Use == hsm.ForUnwrapping && p.Type.Len() != 0 && !p.Type.AES() {
			add("parameters.use", "a key for use %s must be an AES key", p.Use)
		}
	}
	if d.Act == ImportUnder {
		text("parameters.under", p.Under, card.MaxID, true)
		version("parameters.under_version", p.UnderVersion)
		// The third wrapping there is has no check of its own.
		if sound := []card.Wrapping{card.KeyWrap, card.KeyWrapPad}; !slices.Contains(sound, p.Wrapping) {
			add("parameters.wrapping", "must be one of %s for a master key", card.Join(sound))
		}
	}
	if len(p.Wrapped) > maxWrapped {
		add("parameters.wrapped", "longer than %d bytes", maxWrapped)
	}
	if d.Act == GenerateWithBackup {
		if _, err := backupKey(p.BackupKey); err != nil {
			add("parameters.backup_key", "%v", err)
		}
	}
	return faults
}

// expected is the check value that the key must have, the zero KCV where that is
// not said.
func (p Parameters) expected() hsm.KCV {
	switch {
	case p.KCV == "":
		return hsm.KCV{}
	case p.Type.AES():
		return hsm.KCV{Convention: hsm.AESCMACZero, Value: p.KCV}
	}
	return hsm.KCV{Convention: hsm.DESZero, Value: p.KCV}
}

// backupKey reads another token's transport key.
func backupKey(der []byte) (hsm.TransportKey, error) {
	if len(der) > maxWrapped {
		return hsm.TransportKey{}, fmt.Errorf("longer than %d bytes", maxWrapped)
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return hsm.TransportKey{}, fmt.Errorf("is no public key (DER SubjectPublicKeyInfo): %w", err)
	}
	key, ok := public.(*rsa.PublicKey)
	if !ok {
		return hsm.TransportKey{}, fmt.Errorf("is no RSA key")
	}
	return hsm.NewTransportKey(key)
}
