// Package dualcontrol has what one officer alone may not do done by several: an
// officer proposes it, others approve it, and only then is it carried out.
//
// What is proposed stands in a statement, a text that never changes and has only one
// form. An approval names the statement's hash, so that nobody approves anything
// else than what they saw. The proposer's own approval is refused, and so is a second
// one of the same officer: officers are told apart by the name of their client, and
// by the person behind it where that is known.
//
// The rooms above use it for what is theirs: custody for master keys, rulebook for
// operator policies. What a proposal says and does is theirs to know; how it comes to
// be done, or not, is written here, once, in [Control]. Every step is an entry in the
// audit log, written together with it.
package dualcontrol
