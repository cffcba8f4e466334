// Package store keeps cards, card types, unblock processes, the ledger of master
// keys and the audit log in one database, and nothing secret: a response has no place in it.
//
// A write returns nil only once it is on disk. There is one writer, a goroutine
// that takes all writes that wait, runs them in one transaction, each in a
// savepoint of its own, and syncs the disk once for all of them (group commit).
// So the number of syncs does not grow with the number of callers. Reads go to
// a pool of read-only connections and see everything that was acknowledged.
//
// Files of SQLite: the database; -wal and -shm beside it, which are part of it while it is
// open; and -lock, which is empty and keeps a second process out. All have mode
// 0600. A copy of the database file alone, taken while it is open, is not a backup.
//
// The database is an SQLite file, or one of a PostgreSQL server that several nodes
// share; then the node that holds an advisory lock writes. sqlite.go, postgres.go and
// the migrations know which it is. The other files hold plain SQL for both, with
// ?1 written as $1 for PostgreSQL.
package store
