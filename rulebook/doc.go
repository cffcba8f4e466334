// Package rulebook keeps the operator policies: which hold, which held before, and
// how others come to hold.
//
// They are in one of two places. Without a folder configured they are in versions: 0 is
// what is built in, and each later one was proposed by a security officer and approved
// by others, see package dualcontrol. The version with the highest number is active; the
// way back is to propose an older one's texts again. With a folder configured its files
// hold, and nothing is changed here.
//
// [Rulebook] decides by what it holds in memory, and looks every few seconds whether
// there is something newer: a version that another node activated, a file that was
// changed. What is broken never takes the place of what works: the policies before
// stay, an alarm is logged, and [Rulebook.Active] tells. A node that starts and finds
// what it is to decide by broken does not start, since what it would fall back to could
// permit more.
//
// The last decisions are kept with what they were made from, so that [Rulebook.DryRun]
// can tell what other policies would have decided.
package rulebook
