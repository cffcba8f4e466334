// Package store keeps cards, card types, unblock processes and the audit log in
// one SQLite database, and nothing secret: a response has no place in it.
//
// A write returns nil only once it is on disk. There is one writer, a goroutine
// that takes all writes that wait, runs them in one transaction, each in a
// savepoint of its own, and syncs the disk once for all of them (group commit).
// So the number of syncs does not grow with the number of callers. Reads go to
// a pool of read-only connections and see everything that was acknowledged.
//
// Files: the database, and beside it while it is open -wal and -shm, which belong
// to it, and -lock, which keeps a second process out. All have mode 0600. A
// backup of the database file alone, taken while it is open, is not complete.
//
// SQLite is the one thing that sqlite.go and the migrations know. The other
// files hold plain SQL that PostgreSQL understands too, once ?1 is written $1.
package store
