-- Times are microseconds since 1970-01-01 UTC. Lists and maps are JSON text.

-- +goose Up
CREATE TABLE card_types (
    id             TEXT NOT NULL PRIMARY KEY,
    name           TEXT NOT NULL,
    profile        TEXT NOT NULL,
    unblock_remote TEXT NOT NULL, -- card state to whether the use case is on
    updated_by     TEXT NOT NULL,
    updated_at     INTEGER
) STRICT, WITHOUT ROWID;

-- The type is no foreign key: a card may be known before its type is, and the
-- use case is off for it until then.
CREATE TABLE cards (
    serial                 TEXT NOT NULL PRIMARY KEY,
    type                   TEXT NOT NULL,
    state                  TEXT NOT NULL,
    cuid                   BLOB,
    kdd                    BLOB,
    master_key_version     INTEGER NOT NULL,
    holder_id              TEXT NOT NULL,
    holder_name            TEXT NOT NULL,
    holder_email           TEXT NOT NULL,
    holder_employee_number TEXT NOT NULL,
    holder_unit            TEXT NOT NULL,
    holder_groups          TEXT NOT NULL,
    holder_state           TEXT NOT NULL,
    synced_at              INTEGER,
    serial_folded          TEXT NOT NULL, -- what searches compare with
    holder_folded          TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE processes (
    id          TEXT NOT NULL PRIMARY KEY,
    state       TEXT NOT NULL,
    outcome     TEXT NOT NULL,
    card        TEXT NOT NULL,
    client      TEXT NOT NULL,
    operator    TEXT NOT NULL,
    reason      TEXT NOT NULL,
    started_at  INTEGER,
    expires_at  INTEGER,
    answered_at INTEGER,
    finished_at INTEGER,
    answer      INTEGER, -- its response was the card's first, second, ... given out
    revision    INTEGER NOT NULL CHECK (revision > 0)
) STRICT, WITHOUT ROWID;

-- Responses given out for a card since one last worked, and ever. Apart from
-- cards, so that no synchronisation of card data can touch it.
CREATE TABLE unconfirmed (
    card  TEXT NOT NULL PRIMARY KEY,
    count INTEGER NOT NULL CHECK (count >= 0),
    given INTEGER NOT NULL DEFAULT 1 CHECK (given >= count)
) STRICT, WITHOUT ROWID;

-- The triggers keep programs and people from changing the log by mistake. They
-- do not stop one who means to and can write to the file.
CREATE TABLE audit_entries (
    sequence INTEGER NOT NULL PRIMARY KEY,
    entry    TEXT NOT NULL -- audit.Entry as JSON
) STRICT;

-- +goose StatementBegin
CREATE TRIGGER audit_entries_in_order BEFORE INSERT ON audit_entries
WHEN NEW.sequence <> (SELECT coalesce(max(sequence), 0) + 1 FROM audit_entries)
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only: the sequence number is not the next'); END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_entries_no_update BEFORE UPDATE ON audit_entries
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only: entries cannot be changed'); END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_entries_no_delete BEFORE DELETE ON audit_entries
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only: entries cannot be deleted'); END;
-- +goose StatementEnd

-- The one row that Check writes to.
CREATE TABLE heartbeat (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    at INTEGER NOT NULL
) STRICT;

-- "LTCH": marks the file as a Latchkey database.
PRAGMA application_id = 0x4C544348;
