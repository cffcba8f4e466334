-- Times are microseconds since 1970-01-01 UTC.

-- +goose Up
CREATE TABLE operators (
    id              TEXT NOT NULL PRIMARY KEY,
    name            TEXT NOT NULL,
    roles           TEXT NOT NULL, -- list as JSON
    groups          TEXT NOT NULL, -- list as JSON
    unit            TEXT NOT NULL,
    email           TEXT NOT NULL,
    employee_number TEXT NOT NULL,
    issuer          TEXT NOT NULL, -- of the tokens that are tied to the record, as subject is
    subject         TEXT NOT NULL,
    active          INTEGER NOT NULL CHECK (active IN (0, 1)),
    updated_by      TEXT NOT NULL,
    updated_at      INTEGER
) STRICT, WITHOUT ROWID;

-- A token is one person's.
CREATE UNIQUE INDEX operators_by_token ON operators (issuer, subject) WHERE subject <> '';
