// Package store keeps cards, card types, unblock processes, the ledger of master
// keys and the audit log in one SQLite database, and nothing secret: a response has no place in it.
//
// A write returns nil only once it is on disk. There is one writer, a goroutine
// that takes all writes that wait, runs them in one transaction, each in a
// savepoint of its own, and syncs the disk once for all of them (group commit).
// So the number of syncs does not grow with the number of callers. Reads go to
// a pool of read-only connections and see everything that was acknowledged.
//
// Files: the database; -wal and -shm beside it, which are part of it while it is
// open; and -lock, which is empty and keeps a second process out. All have mode
// 0600. A copy of the database file alone, taken while it is open, is not a backup.
//
// SQLite is the one thing that sqlite.go and the migrations know. The other
// files hold plain SQL that PostgreSQL understands too, once ?1 is written $1.
package store
