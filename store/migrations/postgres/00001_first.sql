-- As migrations/00001 for SQLite, whose comments hold here too.

-- +goose Up
CREATE TABLE card_types (
    id             text NOT NULL COLLATE "C" PRIMARY KEY,
    name           text NOT NULL,
    profile        text NOT NULL,
    unblock_remote text NOT NULL,
    updated_by     text NOT NULL,
    updated_at     bigint
);

CREATE TABLE cards (
    serial                 text NOT NULL COLLATE "C" PRIMARY KEY,
    type                   text NOT NULL,
    state                  text NOT NULL,
    cuid                   bytea,
    kdd                    bytea,
    master_key_version     integer NOT NULL,
    holder_id              text NOT NULL,
    holder_name            text NOT NULL,
    holder_email           text NOT NULL,
    holder_employee_number text NOT NULL,
    holder_unit            text NOT NULL,
    holder_groups          text NOT NULL,
    holder_state           text NOT NULL,
    synced_at              bigint,
    serial_folded          text NOT NULL COLLATE "C",
    holder_folded          text NOT NULL COLLATE "C"
);

CREATE TABLE processes (
    id          text NOT NULL COLLATE "C" PRIMARY KEY,
    state       text NOT NULL,
    outcome     text NOT NULL,
    card        text NOT NULL COLLATE "C",
    client      text NOT NULL,
    operator    text NOT NULL,
    reason      text NOT NULL,
    started_at  bigint,
    expires_at  bigint,
    answered_at bigint,
    finished_at bigint,
    answer      bigint,
    revision    bigint NOT NULL CHECK (revision > 0)
);

CREATE TABLE unconfirmed (
    card  text NOT NULL COLLATE "C" PRIMARY KEY,
    count bigint NOT NULL CHECK (count >= 0),
    given bigint NOT NULL DEFAULT 1 CHECK (given >= count)
);

CREATE TABLE audit_entries (
    sequence bigint NOT NULL PRIMARY KEY,
    entry    text NOT NULL
);

-- +goose StatementBegin
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', TG_ARGV[0];
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION audit_entry_is_next() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.sequence <> (SELECT coalesce(max(sequence), 0) + 1 FROM audit_entries) THEN
        RAISE EXCEPTION 'the audit log is append-only: the sequence number is not the next';
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd

CREATE TRIGGER audit_entries_in_order BEFORE INSERT ON audit_entries
FOR EACH ROW EXECUTE FUNCTION audit_entry_is_next();

CREATE TRIGGER audit_entries_no_update BEFORE UPDATE ON audit_entries
FOR EACH ROW EXECUTE FUNCTION refuse_change('the audit log is append-only: entries cannot be changed');

CREATE TRIGGER audit_entries_no_delete BEFORE DELETE ON audit_entries
FOR EACH ROW EXECUTE FUNCTION refuse_change('the audit log is append-only: entries cannot be deleted');

CREATE TRIGGER audit_entries_no_truncate BEFORE TRUNCATE ON audit_entries
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('the audit log is append-only: entries cannot be deleted');

CREATE TABLE heartbeat (
    id integer NOT NULL PRIMARY KEY CHECK (id = 1),
    at bigint NOT NULL
);
