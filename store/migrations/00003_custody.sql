-- Times are microseconds since 1970-01-01 UTC.

-- +goose Up
CREATE TABLE key_records (
    key        TEXT NOT NULL,
    version    INTEGER NOT NULL,
    state      TEXT NOT NULL,
    type       TEXT NOT NULL,
    use        TEXT NOT NULL,
    kcv        TEXT NOT NULL, -- list as JSON
    proposal   TEXT NOT NULL,
    created_at INTEGER,
    changed_at INTEGER,
    revision   INTEGER NOT NULL CHECK (revision > 0),
    PRIMARY KEY (key, version)
) STRICT, WITHOUT ROWID;

-- The version that cards get which are registered for the first time.
CREATE TABLE current_versions (
    key     TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE key_proposals (
    id         TEXT NOT NULL PRIMARY KEY,
    statement  TEXT NOT NULL, -- custody.Statement in its canonical form, which is what the hash is of
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    state      TEXT NOT NULL,
    ended_by   TEXT NOT NULL,
    end_reason TEXT NOT NULL,
    ended_at   INTEGER,
    result     TEXT NOT NULL, -- custody.Result as JSON
    revision   INTEGER NOT NULL CHECK (revision > 0)
) STRICT, WITHOUT ROWID;

CREATE INDEX key_proposals_newest ON key_proposals (created_at, id);

-- What was proposed is never another thing afterwards, and stays on record.
-- +goose StatementBegin
CREATE TRIGGER key_proposals_statement_stays BEFORE UPDATE OF id, statement, created_at, expires_at ON key_proposals
BEGIN SELECT RAISE(ABORT, 'what a proposal says cannot be changed'); END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER key_proposals_no_delete BEFORE DELETE ON key_proposals
BEGIN SELECT RAISE(ABORT, 'a proposal cannot be deleted'); END;
-- +goose StatementEnd

-- The key makes one approval of each officer.
CREATE TABLE key_approvals (
    proposal TEXT NOT NULL REFERENCES key_proposals (id),
    officer  TEXT NOT NULL,
    place    INTEGER NOT NULL, -- in the order of the approvals
    hash     TEXT NOT NULL,
    at       INTEGER NOT NULL,
    PRIMARY KEY (proposal, officer)
) STRICT, WITHOUT ROWID;

-- Counts the cards on each master key version, and lists them.
CREATE INDEX cards_by_key ON cards (type, master_key_version, serial);
