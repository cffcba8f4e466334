package api

import "time"

// AuditState is how the audit log stands.
type AuditState struct {
	Origin string `json:"origin"` // what the log is called in its checkpoints
	Size   int64  `json:"size"`   // entries
	Signed int64  `json:"signed"` // entries that the newest checkpoint is over
	Pruned int64  `json:"pruned"` // the entry up to which bodies are pruned
	// Checkpoint is the newest signed checkpoint. Keep it where the server cannot write.
	Checkpoint string      `json:"checkpoint,omitempty"`
	Sinks      []AuditSink `json:"sinks"`
}

// AuditSink is how far a sink of the audit log has come.
type AuditSink struct {
	Name  string    `json:"name"`
	Sent  int64     `json:"sent"` // the last entry that it took
	Lag   int64     `json:"lag"`  // entries that it has not taken
	Error string    `json:"error,omitempty"`
	Since time.Time `json:"since,omitzero"` // it fails
}

// AuditProof proves that an entry is in the audit log.
type AuditProof struct {
	Proof string `json:"proof"` // C2SP tlog-proof
}
