-- Times are microseconds since 1970-01-01 UTC.

-- +goose Up
DROP TRIGGER key_proposals_statement_stays;
DROP TRIGGER key_proposals_no_delete;
DROP INDEX key_proposals_newest;

-- Proposals of all kinds; those that are there are about keys.
ALTER TABLE key_proposals RENAME TO proposals;
ALTER TABLE proposals ADD COLUMN kind TEXT NOT NULL DEFAULT 'key';
CREATE INDEX proposals_newest ON proposals (kind, created_at, id);

-- +goose StatementBegin
CREATE TRIGGER proposals_statement_stays BEFORE UPDATE OF id, kind, statement, created_at, expires_at ON proposals
BEGIN SELECT RAISE(ABORT, 'what a proposal says cannot be changed'); END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER proposals_no_delete BEFORE DELETE ON proposals
BEGIN SELECT RAISE(ABORT, 'a proposal cannot be deleted'); END;
-- +goose StatementEnd

-- The person behind the officer, empty where that is not known. The index makes one
-- approval of each person, as the key makes one of each officer.
ALTER TABLE key_approvals RENAME TO approvals;
ALTER TABLE approvals ADD COLUMN person TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX approvals_by_person ON approvals (proposal, person) WHERE person <> '';

-- +goose StatementBegin
CREATE TRIGGER approvals_no_update BEFORE UPDATE ON approvals
BEGIN SELECT RAISE(ABORT, 'an approval cannot be changed'); END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER approvals_no_delete BEFORE DELETE ON approvals
BEGIN SELECT RAISE(ABORT, 'an approval cannot be deleted'); END;
-- +goose StatementEnd

-- Versions of the operator policies. The one with the highest number is active; its
-- texts are in the statement that was approved. The built-in policies are version 0
-- and not in here.
CREATE TABLE policy_versions (
    version      INTEGER NOT NULL PRIMARY KEY CHECK (version > 0),
    fingerprint  TEXT NOT NULL, -- of the policies, as policy.Engine.Version gives it
    proposal     TEXT NOT NULL UNIQUE REFERENCES proposals (id),
    activated_at INTEGER NOT NULL
) STRICT;

-- +goose StatementBegin
CREATE TRIGGER policy_versions_no_update BEFORE UPDATE ON policy_versions
BEGIN SELECT RAISE(ABORT, 'a version of the policies cannot be changed'); END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER policy_versions_no_delete BEFORE DELETE ON policy_versions
BEGIN SELECT RAISE(ABORT, 'a version of the policies cannot be deleted'); END;
-- +goose StatementEnd

-- What policies were asked last and what they decided, for dry runs of others. A row
-- holds those of one transaction, whose audit entries are from first to sequence. Old
-- ones are deleted.
CREATE TABLE policy_decisions (
    sequence INTEGER NOT NULL PRIMARY KEY,
    first    INTEGER NOT NULL,
    number   INTEGER NOT NULL, -- how many they are
    decided  BLOB NOT NULL     -- see store/decisions.go
) STRICT;
