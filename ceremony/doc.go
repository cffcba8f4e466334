// Package ceremony walks officers through a key ceremony at the HSM: a script in
// YAML, which was reviewed beforehand and is approved by its SHA-256 on the day,
// says who has to be there and what is done, step by step. What was done, and
// what was refused on the way, goes into a record that a key in the HSM signs.
//
// The order of calls is [Load], which lists every fault of a script; [Run], which
// walks it and writes the record; and, anywhere and any time later, [Verify].
//
// The package knows no PKCS#11 and no terminal, only the interfaces [HSM] and
// [Console]. Key components are the one place in Latchkey where clear key bytes
// touch the host: see components.go and docs/decisions/0012-components.md.
package ceremony
