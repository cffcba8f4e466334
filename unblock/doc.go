// Package unblock is the use case *Unblock card remote* (CardsProcUnblockRemote):
// start a process, answer the card's challenge, complete or cancel it.
//
// It is the one place where the order of checks is written: see [Desk.check].
// It knows no HTTP, no SQL and no PKCS#11, only the small interfaces in this
// file's neighbour ports.go, and it fails closed: an error anywhere is a
// *Refusal, and no response leaves without its audit entry on disk.
package unblock
