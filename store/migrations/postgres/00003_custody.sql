-- As migrations/00003 for SQLite, whose comments hold here too.

-- +goose Up
CREATE TABLE key_records (
    key        text NOT NULL COLLATE "C",
    version    integer NOT NULL,
    state      text NOT NULL,
    type       text NOT NULL,
    use        text NOT NULL,
    kcv        text NOT NULL,
    proposal   text NOT NULL,
    created_at bigint,
    changed_at bigint,
    revision   bigint NOT NULL CHECK (revision > 0),
    PRIMARY KEY (key, version)
);

CREATE TABLE current_versions (
    key     text NOT NULL COLLATE "C" PRIMARY KEY,
    version integer NOT NULL
);

CREATE TABLE key_proposals (
    id         text NOT NULL COLLATE "C" PRIMARY KEY,
    statement  text NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    state      text NOT NULL,
    ended_by   text NOT NULL,
    end_reason text NOT NULL,
    ended_at   bigint,
    result     text NOT NULL,
    revision   bigint NOT NULL CHECK (revision > 0)
);

CREATE INDEX key_proposals_newest ON key_proposals (created_at, id);

CREATE TRIGGER key_proposals_statement_stays BEFORE UPDATE OF id, statement, created_at, expires_at ON key_proposals
FOR EACH ROW EXECUTE FUNCTION refuse_change('what a proposal says cannot be changed');

CREATE TRIGGER key_proposals_no_delete BEFORE DELETE ON key_proposals
FOR EACH ROW EXECUTE FUNCTION refuse_change('a proposal cannot be deleted');

CREATE TABLE key_approvals (
    proposal text NOT NULL COLLATE "C" REFERENCES key_proposals (id),
    officer  text NOT NULL COLLATE "C",
    place    integer NOT NULL,
    hash     text NOT NULL,
    at       bigint NOT NULL,
    PRIMARY KEY (proposal, officer)
);

CREATE INDEX cards_by_key ON cards (type, master_key_version, serial);
