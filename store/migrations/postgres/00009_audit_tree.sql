-- +goose Up
ALTER TABLE audit_entries ADD COLUMN leaf bytea;

CREATE TABLE audit_nodes (
    level integer NOT NULL,
    place bigint NOT NULL,
    hash  bytea NOT NULL,
    PRIMARY KEY (level, place)
);

CREATE TABLE audit_log (
    id     integer NOT NULL PRIMARY KEY CHECK (id = 1),
    origin text NOT NULL,
    pruned bigint NOT NULL
);
INSERT INTO audit_log (id, origin, pruned) VALUES (1, 'latchkey/' || replace(gen_random_uuid()::text, '-', ''), 0);

CREATE TABLE audit_checkpoints (
    size       bigint NOT NULL PRIMARY KEY,
    note       text NOT NULL,
    created_at bigint NOT NULL
);

CREATE TABLE audit_cursors (
    sink       text NOT NULL COLLATE "C" PRIMARY KEY,
    sequence   bigint NOT NULL,
    changed_at bigint NOT NULL
);

DROP TRIGGER audit_entries_no_update ON audit_entries;

-- +goose StatementBegin
CREATE FUNCTION audit_entry_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.sequence = OLD.sequence AND (
        NEW.entry = OLD.entry AND OLD.leaf IS NULL AND NEW.leaf IS NOT NULL
        OR NEW.entry = '' AND NEW.leaf = OLD.leaf AND OLD.sequence <= (SELECT pruned FROM audit_log)) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the audit log is append-only: entries cannot be changed';
END $$;
-- +goose StatementEnd

CREATE TRIGGER audit_entries_no_update BEFORE UPDATE ON audit_entries
FOR EACH ROW EXECUTE FUNCTION audit_entry_stays();

CREATE TRIGGER audit_entries_with_leaf BEFORE INSERT ON audit_entries
FOR EACH ROW WHEN (NEW.leaf IS NULL) EXECUTE FUNCTION refuse_change('the audit log is append-only: an entry needs its leaf');

-- +goose StatementBegin
CREATE FUNCTION audit_log_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.id <> OLD.id OR NEW.origin <> OLD.origin OR NEW.pruned < OLD.pruned
        OR NEW.pruned > (SELECT coalesce(max(size), 0) FROM audit_checkpoints) THEN
        RAISE EXCEPTION 'the audit log is append-only: only what is behind a signed checkpoint can be pruned';
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd

CREATE TRIGGER audit_log_stays BEFORE UPDATE ON audit_log
FOR EACH ROW EXECUTE FUNCTION audit_log_stays();

-- +goose StatementBegin
CREATE FUNCTION audit_checkpoint_is_next() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.size <= (SELECT coalesce(max(size), 0) FROM audit_checkpoints) THEN
        RAISE EXCEPTION 'the audit log is append-only: a checkpoint is over more entries than the one before';
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd

CREATE TRIGGER audit_checkpoints_in_order BEFORE INSERT ON audit_checkpoints
FOR EACH ROW EXECUTE FUNCTION audit_checkpoint_is_next();

CREATE TRIGGER audit_checkpoints_no_update BEFORE UPDATE ON audit_checkpoints
FOR EACH ROW EXECUTE FUNCTION refuse_change('the audit log is append-only: checkpoints cannot be changed');
CREATE TRIGGER audit_checkpoints_no_delete BEFORE DELETE ON audit_checkpoints
FOR EACH ROW EXECUTE FUNCTION refuse_change('the audit log is append-only: checkpoints cannot be deleted');
CREATE TRIGGER audit_checkpoints_no_truncate BEFORE TRUNCATE ON audit_checkpoints
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('the audit log is append-only: checkpoints cannot be deleted');

CREATE TRIGGER audit_nodes_no_update BEFORE UPDATE ON audit_nodes
FOR EACH ROW EXECUTE FUNCTION refuse_change('the audit log is append-only: its tree cannot be changed');
CREATE TRIGGER audit_nodes_no_delete BEFORE DELETE ON audit_nodes
FOR EACH ROW EXECUTE FUNCTION refuse_change('the audit log is append-only: its tree cannot be deleted');
CREATE TRIGGER audit_nodes_no_truncate BEFORE TRUNCATE ON audit_nodes
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('the audit log is append-only: its tree cannot be deleted');

CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log
FOR EACH ROW EXECUTE FUNCTION refuse_change('the audit log is append-only');
CREATE TRIGGER audit_log_no_truncate BEFORE TRUNCATE ON audit_log
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('the audit log is append-only');
