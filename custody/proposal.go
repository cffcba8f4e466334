package custody

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"latchkey/hsm"
)

// Statement is everything about a proposal that officers approve.
type Statement struct {
	ID         string     `json:"id"`
	Act        Act        `json:"act"`
	Parameters Parameters `json:"parameters"`
	Token      string     `json:"token"` // serial number
	Proposer   string     `json:"proposer"`
	// Approvals is how many officers besides the proposer have to approve.
	Approvals int       `json:"approvals"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Canonical is the statement as JSON in the one form that RFC 8785 allows.
func (s Statement) Canonical() string {
	s.CreatedAt, s.ExpiresAt = s.CreatedAt.UTC(), s.ExpiresAt.UTC()
	text, err := json.Marshal(s)
	canonical := jsontext.Value(text)
	if err == nil {
		err = canonical.Canonicalize()
	}
	if err != nil {
		panic(fmt.Sprintf("custody: a statement is always JSON: %v", err)) // strings, whole numbers and times of four-digit years
	}
	return string(canonical)
}

// Hash is SHA-256 over the UTF-8 text of Canonical, in lower-case hex.
func (s Statement) Hash() string {
	sum := sha256.Sum256([]byte(s.Canonical()))
	return hex.EncodeToString(sum[:])
}

// ParseStatement reads the text of Canonical and refuses any other form of it.
func ParseStatement(text string) (Statement, error) {
	var s Statement
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return Statement{}, fmt.Errorf("statement of a proposal: %w", err)
	}
	if s.Canonical() != text {
		return Statement{}, fmt.Errorf("statement of a proposal: not in its canonical form")
	}
	return s, nil
}

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

// ProposalState is where a proposal stands.
type ProposalState string

// The states of a proposal.
const (
	Open      ProposalState = "open"      // waits for approvals
	Executing ProposalState = "executing" // approved; the token is at work
	Executed  ProposalState = "executed"
	Failed    ProposalState = "failed"   // approved, and could not be done: nothing was changed
	Unknown   ProposalState = "unknown"  // approved, and cut off on the way: look at the token
	Rejected  ProposalState = "rejected" // by an officer
	Withdrawn ProposalState = "withdrawn"
	Expired   ProposalState = "expired" // too few approvals in time
)

// ProposalStates lists the states of a proposal, in the order of its life.
func ProposalStates() []ProposalState {
	return []ProposalState{Open, Executing, Executed, Failed, Unknown, Rejected, Withdrawn, Expired}
}

// Approval is one officer's yes.
type Approval struct {
	Officer string // client name
	Hash    string // of the statement that the officer saw
	At      time.Time
}

// Result is what came of an act.
type Result struct {
	KCV []hsm.KCV `json:"kcv,omitempty"` // of the key that was made
	// Backup is the key wrapped under the other token's transport key, whose
	// fingerprint is BackupUnder.
	Backup      []byte `json:"backup,omitempty"`
	BackupUnder string `json:"backup_under,omitempty"`
	Error       string `json:"error,omitempty"` // why it failed, or why nobody knows
}

// Proposal is an act on its way from being wanted to being done.
type Proposal struct {
	Statement
	State     ProposalState
	Approved  []Approval // in order
	EndedBy   string     // who rejected or withdrew it
	EndReason string
	EndedAt   time.Time // zero while open or executing
	Result    Result

	// Revision counts the writes, from 1: a write names the revision it was made
	// from, and is refused if another came in between.
	Revision int64
}

// at is the state at a moment: a proposal that waited too long has expired,
// whether or not that was written down.
func (p Proposal) at(now time.Time) ProposalState {
	if p.State == Open && !now.Before(p.ExpiresAt) {
		return Expired
	}
	return p.State
}

// hasApproved tells whether the officer approved already.
func (p Proposal) hasApproved(officer string) bool {
	for _, a := range p.Approved {
		if a.Officer == officer {
			return true
		}
	}
	return false
}

// name is the key, to begin a sentence with.
func (p Proposal) name() string {
	return fmt.Sprintf("Master key %s version %d", p.Parameters.Key, p.Parameters.Version)
}
