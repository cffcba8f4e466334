// Package proof proves a profile with a card whose challenge and right response
// are known: the token answers the challenge as the profile says, and the two
// responses are compared. Where they differ, what else could have been meant is
// tried, one change at a time: another mode, another key, another way to write
// the serial number.
//
// The right response never leaves this package. Nothing is counted and no audit
// entry is written: this is for the bench, and the card is not asked.
package proof
