-- Times are microseconds since 1970-01-01 UTC.

-- +goose Up
CREATE TABLE sessions (
    hash     BLOB NOT NULL PRIMARY KEY, -- SHA-256 of what the browser has
    person   TEXT NOT NULL,
    token    TEXT NOT NULL, -- identity.Token as JSON
    began_at INTEGER NOT NULL,
    seen_at  INTEGER NOT NULL,
    ends_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_person ON sessions (person);
