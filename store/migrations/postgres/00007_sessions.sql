-- As migrations/00007 for SQLite, whose comments hold here too.

-- +goose Up
CREATE TABLE sessions (
    hash     bytea NOT NULL PRIMARY KEY,
    person   text NOT NULL COLLATE "C",
    token    text NOT NULL,
    began_at bigint NOT NULL,
    seen_at  bigint NOT NULL,
    ends_at  bigint NOT NULL
);

CREATE INDEX sessions_by_person ON sessions (person);
