-- What is searched and counted instead of the whole audit log: made of it in the
-- background, see audit/digest. Times are microseconds since 1970-01-01 UTC.

-- +goose Up
-- How many entries from the first on are digested.
CREATE TABLE audit_digest (
    id      INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    entries INTEGER NOT NULL
) STRICT;
INSERT INTO audit_digest (id, entries) VALUES (1, 0);

CREATE TABLE audit_blocks (
    block    INTEGER NOT NULL PRIMARY KEY, -- of 256 entries, from 0
    first_at INTEGER NOT NULL,
    last_at  INTEGER NOT NULL,
    words    BLOB NOT NULL -- a Bloom filter
) STRICT;
CREATE INDEX audit_blocks_times ON audit_blocks (block, first_at, last_at);

CREATE TABLE audit_counts (
    hour    INTEGER NOT NULL, -- since 1970-01-01 UTC
    action  TEXT NOT NULL,
    outcome TEXT NOT NULL,
    code    TEXT NOT NULL,
    number  INTEGER NOT NULL,
    PRIMARY KEY (hour, action, outcome, code)
) STRICT, WITHOUT ROWID;

-- How long responses took, four buckets to each doubling of a microsecond.
CREATE TABLE audit_times (
    hour   INTEGER NOT NULL,
    bucket INTEGER NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (hour, bucket)
) STRICT, WITHOUT ROWID;
