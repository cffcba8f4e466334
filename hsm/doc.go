// Package hsm is the PKCS#11 room: it loads a module, logs in to one token,
// keeps a bounded pool of sessions and a keyring of master keys, and answers
// challenges. It is the only package that knows PKCS#11.
//
// The life of one answer, in [Token.Respond]: a session is taken from the pool;
// the card admin key is derived from a master key as a session object that is
// sensitive, not extractable and may only encrypt; the challenge is encrypted
// under it; the key is destroyed, whatever happened; the session goes back, or
// is closed where it can no longer be trusted. Master and card admin keys never
// leave the token: nothing here reads a CKA_VALUE.
//
// The order of calls is Load, [Module.Open], [Token.Respond] as often as wanted
// from any number of goroutines, [Token.Close], [Module.Close].
package hsm
