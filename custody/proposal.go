package custody

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"latchkey/dualcontrol"
	"latchkey/hsm"
)

// Statement is everything about a proposal that officers approve.
type Statement struct {
	dualcontrol.Header
	Act        Act        `json:"act"`
	Parameters Parameters `json:"parameters"`
	Token      string     `json:"token"` // serial number
}

// Canonical is the statement as JSON in the one form that RFC 8785 allows.
func (s Statement) Canonical() string {
	s.CreatedAt, s.ExpiresAt = s.CreatedAt.UTC(), s.ExpiresAt.UTC()
	return dualcontrol.Canonical(s)
}

// Hash is SHA-256 over the UTF-8 text of Canonical, in lower-case hex.
func (s Statement) Hash() string { return dualcontrol.Hash(s.Canonical()) }

// ParseStatement reads the text of Canonical and refuses any other form of it.
func ParseStatement(text string) (Statement, error) { return dualcontrol.Parse[Statement](text) }

// Words says in one sentence what will be done.
func (s Statement) Words() string {
	p := s.Parameters
	key := fmt.Sprintf("master key %s version %d", p.Key, p.Version)
	made := fmt.Sprintf("%s (%s, to %s)", key, p.Type, purpose(p.Use))
	checked := "whatever its check value is"
	if p.KCV != "" {
		checked = "if its check value is " + p.expected().String()
	}
	var words string
	switch s.Act {
	case Generate:
		words = "Generate " + made
	case GenerateWithBackup:
		fingerprint := "that cannot be read"
		if to, err := backupKey(p.BackupKey); err == nil {
			fingerprint = to.Fingerprint
		}
		words = fmt.Sprintf("Generate %s and give it out wrapped for the token whose transport key is %s", made, fingerprint)
	case ImportWrapped:
		words = fmt.Sprintf("Import %s, wrapped under this token's transport key (SHA-256 of what is imported: %s), %s", made, digest(p.Wrapped), checked)
	case ImportUnder:
		words = fmt.Sprintf("Import %s, wrapped under %s version %d by %s (SHA-256 of what is imported: %s), %s",
			made, p.Under, p.UnderVersion, p.Wrapping, digest(p.Wrapped), checked)
	case Activate:
		words = "Activate " + key + ", so that its cards can be unblocked"
	case Suspend:
		words = "Suspend " + key + ": none of its cards can be unblocked until it is resumed"
	case Resume:
		words = "Resume " + key + ", so that its cards can be unblocked again"
	case Deactivate:
		words = "Deactivate " + key + ": it gets no new cards and goes on answering for its own"
	case MarkCompromised:
		words = "Mark " + key + " as compromised: none of its cards can ever be unblocked again"
	case Destroy:
		words = "Destroy " + key + ", for ever: its cards can never be unblocked again, and its bytes are gone from the token"
	case MakeCurrent:
		words = fmt.Sprintf("Make version %d of master key %s the one that new cards get", p.Version, p.Key)
	}
	return words + fmt.Sprintf(". Token %s.", s.Token)
}

func purpose(u hsm.Use) string {
	switch u {
	case hsm.ForDeriving:
		return "derive card keys"
	case hsm.ForMACs:
		return "derive card keys by MACs, which is the weaker use"
	case hsm.ForUnwrapping:
		return "unwrap card keys"
	case hsm.ForEncrypting:
		return "be the card key of a whole fleet"
	case hsm.ForNothing:
	}
	return "an unknown end"
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Result is what came of an act.
type Result struct {
	KCV []hsm.KCV `json:"kcv,omitempty"` // of the key that was made
	// Backup is the key wrapped under the other token's transport key, whose
	// fingerprint is BackupUnder.
	Backup      []byte `json:"backup,omitempty"`
	BackupUnder string `json:"backup_under,omitempty"`
	// Failure says why it failed, or why nobody knows.
	dualcontrol.Failure
}

// Proposal is an act on its way from being wanted to being done.
type Proposal struct {
	Statement
	dualcontrol.Progress
	Result Result
}

// read makes what it is here of a proposal that package dualcontrol gives.
func read(p dualcontrol.Proposal, err error) (Proposal, error) {
	if err != nil {
		return Proposal{}, err
	}
	s, err := ParseStatement(p.Text)
	read := Proposal{Statement: s, Progress: p.Progress}
	if err == nil && len(p.Result) != 0 {
		err = json.Unmarshal(p.Result, &read.Result)
	}
	if err != nil {
		return Proposal{}, dualcontrol.Fail(dualcontrol.StoreUnavailable, "The proposal cannot be read. Tell an administrator.", fmt.Errorf("proposal %s: %w", p.ID, err))
	}
	return read, nil
}

// write is the way back from read.
func (p Proposal) write() dualcontrol.Proposal {
	return dualcontrol.Proposal{
		Kind: dualcontrol.Keys, Header: p.Header, Text: p.Canonical(), Progress: p.Progress, Result: []byte(dualcontrol.Canonical(p.Result)),
	}
}

// name is the key, to begin a sentence with.
func (s Statement) name() string {
	return fmt.Sprintf("Master key %s version %d", s.Parameters.Key, s.Parameters.Version)
}
