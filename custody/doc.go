// Package custody is the life of master keys under dual control: who may make,
// use, replace and end one, and which cards hang on it.
//
// Three things are kept in its ledger, and nothing of them is a secret:
//
// A [Record] says in which [State] a master key version is. The states are those
// of NIST SP 800-57 part 1 revision 5, section 7; what leads from one to another
// is one table, see [Act.From] and [Act.To]. [State.Answers] decides whether a
// card whose admin key comes from that version can be unblocked.
//
// A [Proposal] is one act that an officer wants to be done: making a key, moving
// it to another state, destroying it, naming it the version for new cards. Other
// officers approve it, each naming the hash of the [Statement] that they saw; the
// proposer's own approval does not count, and is refused. With the last approval
// that is wanted the act is carried out, once: the approval and the state
// "executing" are on disk before the token is touched, and a proposal that is
// found executing after a restart becomes "unknown" and is never tried again.
//
// The current version of a master key is the one that cards get which are
// registered for the first time.
//
// [Office] carries all of it out. It knows no HTTP, no SQL and no PKCS#11: what
// it needs is in ports.go. Of package hsm it uses the plain types that describe
// keys. There is no act that brings a key out of the token in the clear, and none
// that takes clear key bytes in.
package custody
