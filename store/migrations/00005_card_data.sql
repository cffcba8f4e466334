-- Times are microseconds since 1970-01-01 UTC.

-- +goose Up
ALTER TABLE cards ADD COLUMN unit TEXT NOT NULL DEFAULT '';
ALTER TABLE cards ADD COLUMN assurance TEXT NOT NULL DEFAULT '';
ALTER TABLE cards ADD COLUMN holder_privileged INTEGER NOT NULL DEFAULT 0;
ALTER TABLE cards ADD COLUMN source TEXT NOT NULL DEFAULT ''; -- which source confirmed the card last, at synced_at

-- What cards are found by, see words.go: words joined with spaces, and each word
-- for itself, sorted. They are made by the program, of cards that are there already
-- when it opens the database.
ALTER TABLE cards ADD COLUMN words TEXT NOT NULL DEFAULT '';
ALTER TABLE cards DROP COLUMN serial_folded;
ALTER TABLE cards DROP COLUMN holder_folded;

CREATE TABLE card_words (
    word   TEXT NOT NULL,
    serial TEXT NOT NULL,
    PRIMARY KEY (word, serial)
) STRICT, WITHOUT ROWID;

-- The one row says in which way the words were made.
CREATE TABLE card_words_made (
    id      INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    folding TEXT NOT NULL
) STRICT;

-- How far each synchronisation of all cards of a source has come. It is written
-- in the transactions that write the cards.
CREATE TABLE card_syncs (
    id          TEXT NOT NULL PRIMARY KEY,
    source      TEXT NOT NULL,
    hash        TEXT NOT NULL, -- SHA-256 of the file, hex
    total       INTEGER NOT NULL,
    lines       INTEGER NOT NULL, -- of those, how many are done
    created     INTEGER NOT NULL,
    updated     INTEGER NOT NULL,
    unchanged   INTEGER NOT NULL,
    refused     INTEGER NOT NULL,
    missing     INTEGER NOT NULL, -- cards of the source that were not among them
    started_at  INTEGER NOT NULL,
    changed_at  INTEGER NOT NULL,
    finished_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX card_syncs_newest ON card_syncs (started_at, id);
CREATE INDEX card_syncs_by_file ON card_syncs (source, hash, started_at);
