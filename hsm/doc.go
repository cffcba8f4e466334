// Package hsm is the PKCS#11 room: it loads a module, logs in to one token,
// keeps a bounded pool of sessions and a keyring of master keys, and answers
// challenges. It is the only package that knows PKCS#11.
//
// The life of one answer, in [Token.Respond]: a worker with a session of its own
// takes it from the queue; the card admin key is derived from a master key as a
// session object that is sensitive, not extractable and may only encrypt; the
// challenge is encrypted under it; the key is destroyed, whatever happened; a
// session that can no longer be trusted is closed. Master and card admin keys
// never leave the token: nothing here reads a CKA_VALUE. What is done when a call
// fails or hangs is in run.go and recover.go.
//
// The order of calls is Load, [Module.Open], [Token.Respond] as often as wanted
// from any number of goroutines, [Token.Close], [Module.Close]. [OpenGroup] does
// the same for several tokens that stand in for each other.
package hsm
