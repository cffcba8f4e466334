-- What is searched and counted instead of the whole audit log: made of it in the
-- background, see audit/digest. Times are microseconds since 1970-01-01 UTC.

-- +goose Up
-- How many entries from the first on are digested.
CREATE TABLE audit_digest (
    id      integer NOT NULL PRIMARY KEY CHECK (id = 1),
    entries bigint NOT NULL
);
INSERT INTO audit_digest (id, entries) VALUES (1, 0);

CREATE TABLE audit_blocks (
    block    bigint NOT NULL PRIMARY KEY, -- of 256 entries, from 0
    first_at bigint NOT NULL,
    last_at  bigint NOT NULL,
    words    bytea NOT NULL -- a Bloom filter
);
-- A filter does not get smaller, and is read as a whole.
ALTER TABLE audit_blocks ALTER COLUMN words SET STORAGE EXTERNAL;
CREATE INDEX audit_blocks_times ON audit_blocks (block, first_at, last_at);

CREATE TABLE audit_counts (
    hour    bigint NOT NULL, -- since 1970-01-01 UTC
    action  text NOT NULL COLLATE "C",
    outcome text NOT NULL COLLATE "C",
    code    text NOT NULL COLLATE "C",
    number  bigint NOT NULL,
    PRIMARY KEY (hour, action, outcome, code)
);

-- How long responses took, four buckets to each doubling of a microsecond.
CREATE TABLE audit_times (
    hour   bigint NOT NULL,
    bucket integer NOT NULL,
    number bigint NOT NULL,
    PRIMARY KEY (hour, bucket)
);
