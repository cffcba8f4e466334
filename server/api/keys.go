package api

import "time"

// Keys is the inventory of master keys.
type Keys struct {
	Keys []Key `json:"keys"`
}

// Key is one version of a master key: what the token and the ledger say of it.
type Key struct {
	Label   string `json:"label"`
	Version int    `json:"version"`
	State   string `json:"state"`
	// Registered tells that the state is in the ledger; a key that is in the token
	// alone has the state that the configuration gives to those.
	Registered bool       `json:"registered"`
	Current    bool       `json:"current"` // new cards get it
	InToken    bool       `json:"in_token"`
	Type       string     `json:"type,omitempty"`
	Use        string     `json:"use,omitempty"`
	KCV        []KCV      `json:"kcv"`
	Attributes []string   `json:"attributes"` // what the token says of how the key is kept
	Grade      string     `json:"grade"`      // good, weaker, unfit or missing
	Remarks    []string   `json:"remarks"`    // why it is no better
	Cards      int        `json:"cards"`      // registered on it
	Proposal   string     `json:"proposal,omitempty"`
	ChangedAt  *time.Time `json:"changed_at,omitempty"`
}

// KCV is a key check value with its convention.
type KCV struct {
	Convention string `json:"convention"`
	Value      string `json:"value"` // upper-case hex
}

// KeyPlan is how far the rotation of a master key has come.
type KeyPlan struct {
	Label    string           `json:"label"`
	Left     int              `json:"left"` // cards that are not on a current version
	Versions []KeyPlanVersion `json:"versions"`
}

// KeyPlanVersion is one version of the key with its cards.
type KeyPlanVersion struct {
	Version int            `json:"version"`
	State   string         `json:"state"`
	Current bool           `json:"current"`
	Cards   int            `json:"cards"`
	ByType  map[string]int `json:"by_type"` // card type to number of cards
}

// Propose is the body of POST /v1/key-proposals.
type Propose struct {
	Act        string        `json:"act"`
	Parameters KeyParameters `json:"parameters"`
}

// KeyParameters are what an act is done with; each act has its own. Binary values
// are base64.
type KeyParameters struct {
	Key          string `json:"key"`
	Version      int    `json:"version"`
	Reason       string `json:"reason,omitempty"`
	Type         string `json:"type,omitempty"`
	Use          string `json:"use,omitempty"`
	KCV          string `json:"kcv,omitempty"`
	Wrapped      []byte `json:"wrapped,omitempty"`
	Under        string `json:"under,omitempty"`
	UnderVersion int    `json:"under_version,omitempty"`
	Wrapping     string `json:"wrapping,omitempty"`
	BackupKey    []byte `json:"backup_key,omitempty"` // DER SubjectPublicKeyInfo
}

// Proposal is what every proposal has, of whatever it is.
type Proposal struct {
	ID string `json:"id"`
	// Statement is everything that is approved, as JSON in its canonical form (RFC
	// 8785); Hash is SHA-256 over its UTF-8 text, Words says it in a sentence.
	Statement string     `json:"statement"`
	Hash      string     `json:"hash"`
	Words     string     `json:"words"`
	State     string     `json:"state"`
	Proposer  string     `json:"proposer"`         // client name
	Person    string     `json:"person,omitempty"` // behind it, where that is known
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt time.Time  `json:"expires_at"`
	Wanted    int        `json:"approvals_wanted"` // besides the proposer
	Approvals []Approval `json:"approvals"`
	EndedBy   string     `json:"ended_by,omitempty"` // who rejected or withdrew it
	Reason    string     `json:"reason,omitempty"`   // why it was rejected
	EndedAt   *time.Time `json:"ended_at,omitempty"`
}

// Approval is one officer's yes.
type Approval struct {
	Officer string    `json:"officer"`          // client name
	Person  string    `json:"person,omitempty"` // behind it, where that is known
	Hash    string    `json:"hash"`
	At      time.Time `json:"at"`
}

// KeyProposal is an act on a master key on its way from being wanted to being
// done.
type KeyProposal struct {
	Proposal
	Act     string     `json:"act"`
	Key     string     `json:"key"`
	Version int        `json:"version"`
	Result  *KeyResult `json:"result,omitempty"` // once it was approved and tried
}

// KeyResult is what came of an approved act.
type KeyResult struct {
	KCV []KCV `json:"kcv,omitempty"`
	// Backup is the key wrapped under the other token's transport key, in base64,
	// told to security officers alone; BackupUnder is that key's fingerprint.
	Backup      []byte `json:"backup,omitempty"`
	BackupUnder string `json:"backup_under,omitempty"`
	Error       string `json:"error,omitempty"`
}

// KeyProposals is a page of proposals, the newest first. Next is the cursor of the
// page after, empty on the last.
type KeyProposals struct {
	Proposals []KeyProposal `json:"proposals"`
	Next      string        `json:"next,omitempty"`
}

// ApproveProposal is the body of POST /v1/key-proposals/{id}/approve.
type ApproveProposal struct {
	Hash string `json:"hash"` // of the statement that the officer saw
}

// RejectProposal is the body of POST /v1/key-proposals/{id}/reject.
type RejectProposal struct {
	Reason string `json:"reason,omitempty"`
}

// TransportKey is the public half of the token's transport key pair.
type TransportKey struct {
	PublicKey   string `json:"public_key"`  // PEM
	Fingerprint string `json:"fingerprint"` // SHA-256 of the DER SubjectPublicKeyInfo, hex
}
