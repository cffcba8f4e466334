-- As migrations/00008 for SQLite, whose comments hold here too.

-- +goose Up
DROP TRIGGER key_proposals_statement_stays ON key_proposals;
DROP TRIGGER key_proposals_no_delete ON key_proposals;
DROP INDEX key_proposals_newest;

ALTER TABLE key_proposals RENAME TO proposals;
ALTER TABLE proposals ADD COLUMN kind text NOT NULL DEFAULT 'key' COLLATE "C";
CREATE INDEX proposals_newest ON proposals (kind, created_at, id);

CREATE TRIGGER proposals_statement_stays BEFORE UPDATE OF id, kind, statement, created_at, expires_at ON proposals
FOR EACH ROW EXECUTE FUNCTION refuse_change('what a proposal says cannot be changed');

CREATE TRIGGER proposals_no_delete BEFORE DELETE ON proposals
FOR EACH ROW EXECUTE FUNCTION refuse_change('a proposal cannot be deleted');

ALTER TABLE key_approvals RENAME TO approvals;
ALTER TABLE approvals ADD COLUMN person text NOT NULL DEFAULT '' COLLATE "C";
CREATE UNIQUE INDEX approvals_by_person ON approvals (proposal, person) WHERE person <> '';

CREATE TRIGGER approvals_no_update BEFORE UPDATE ON approvals
FOR EACH ROW EXECUTE FUNCTION refuse_change('an approval cannot be changed');

CREATE TRIGGER approvals_no_delete BEFORE DELETE ON approvals
FOR EACH ROW EXECUTE FUNCTION refuse_change('an approval cannot be deleted');

CREATE TABLE policy_versions (
    version      integer NOT NULL PRIMARY KEY CHECK (version > 0),
    fingerprint  text NOT NULL,
    proposal     text NOT NULL COLLATE "C" UNIQUE REFERENCES proposals (id),
    activated_at bigint NOT NULL
);

CREATE TRIGGER policy_versions_no_update BEFORE UPDATE ON policy_versions
FOR EACH ROW EXECUTE FUNCTION refuse_change('a version of the policies cannot be changed');

CREATE TRIGGER policy_versions_no_delete BEFORE DELETE ON policy_versions
FOR EACH ROW EXECUTE FUNCTION refuse_change('a version of the policies cannot be deleted');

CREATE TABLE policy_decisions (
    sequence bigint NOT NULL PRIMARY KEY,
    first    bigint NOT NULL,
    number   integer NOT NULL,
    decided  bytea NOT NULL
);
