// Package family knows families of cards: how each is answered and what became of
// wrong responses, with the document that says so. The families are YAML files in
// this folder, a file each, built into the program; docs/profiles shows them and
// says how to add one.
//
// What no document says is left open or unknown, never guessed: a wrong number
// here costs somebody a card.
package family
