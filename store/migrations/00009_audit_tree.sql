-- The audit log as a Merkle tree (RFC 6962). Each entry's row holds the hash of its
-- leaf; audit_nodes holds the hashes of complete subtrees of 2^8, 2^16, ... leaves.
-- Times are microseconds since 1970-01-01 UTC.

-- +goose Up
ALTER TABLE audit_entries ADD COLUMN leaf BLOB; -- none for entries of an older version until the database is opened

CREATE TABLE audit_nodes (
    level INTEGER NOT NULL, -- the subtree has 2^level leaves
    place INTEGER NOT NULL, -- of those of its level, from 0
    hash  BLOB NOT NULL,
    PRIMARY KEY (level, place)
) STRICT, WITHOUT ROWID;

-- What the log is called in its checkpoints, and up to which entry bodies are pruned.
CREATE TABLE audit_log (
    id     INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    origin TEXT NOT NULL,
    pruned INTEGER NOT NULL
) STRICT;
INSERT INTO audit_log (id, origin, pruned) VALUES (1, 'latchkey/' || lower(hex(randomblob(16))), 0);

CREATE TABLE audit_checkpoints (
    size       INTEGER NOT NULL PRIMARY KEY, -- how many entries it is over
    note       TEXT NOT NULL,                -- the signed note, as C2SP tlog-checkpoint has it
    created_at INTEGER NOT NULL
) STRICT;

-- How far each sink has come.
CREATE TABLE audit_cursors (
    sink       TEXT NOT NULL PRIMARY KEY,
    sequence   INTEGER NOT NULL, -- of the last entry that it took
    changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What stays is exactly this: an entry of an older version gets its leaf once, and a
-- body may go that is behind audit_log.pruned.
DROP TRIGGER audit_entries_no_update;
-- +goose StatementBegin
CREATE TRIGGER audit_entries_no_update BEFORE UPDATE ON audit_entries
WHEN NOT (NEW.sequence = OLD.sequence AND (
    NEW.entry = OLD.entry AND OLD.leaf IS NULL AND NEW.leaf IS NOT NULL
    OR NEW.entry = '' AND NEW.leaf = OLD.leaf AND OLD.sequence <= (SELECT pruned FROM audit_log)))
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only: entries cannot be changed'); END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_entries_with_leaf BEFORE INSERT ON audit_entries
WHEN NEW.leaf IS NULL
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only: an entry needs its leaf'); END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_log_stays BEFORE UPDATE ON audit_log
WHEN NEW.id <> OLD.id OR NEW.origin <> OLD.origin OR NEW.pruned < OLD.pruned
    OR NEW.pruned > (SELECT coalesce(max(size), 0) FROM audit_checkpoints)
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only: only what is behind a signed checkpoint can be pruned'); END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_nodes_no_update BEFORE UPDATE ON audit_nodes
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only: its tree cannot be changed'); END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_nodes_no_delete BEFORE DELETE ON audit_nodes
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only: its tree cannot be deleted'); END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_checkpoints_in_order BEFORE INSERT ON audit_checkpoints
WHEN NEW.size <= (SELECT coalesce(max(size), 0) FROM audit_checkpoints)
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only: a checkpoint is over more entries than the one before'); END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_checkpoints_no_update BEFORE UPDATE ON audit_checkpoints
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only: checkpoints cannot be changed'); END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_checkpoints_no_delete BEFORE DELETE ON audit_checkpoints
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only: checkpoints cannot be deleted'); END;
-- +goose StatementEnd
