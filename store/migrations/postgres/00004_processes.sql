-- +goose Up
ALTER TABLE processes
    ADD COLUMN means           text NOT NULL DEFAULT 'named by the client',
    ADD COLUMN ticket          text NOT NULL DEFAULT '',
    ADD COLUMN verification    text NOT NULL DEFAULT '',
    ADD COLUMN override_reason text NOT NULL DEFAULT '',
    ADD COLUMN approval        text NOT NULL DEFAULT '',
    ADD COLUMN approver        text NOT NULL DEFAULT '',
    ADD COLUMN verdict         text NOT NULL DEFAULT '',
    ADD COLUMN approved        text NOT NULL DEFAULT '',
    ADD COLUMN decided_at      bigint,
    ADD COLUMN challenge       text NOT NULL DEFAULT '' COLLATE "C",
    ADD COLUMN begun_key       text COLLATE "C",
    ADD COLUMN begun_content   text,
    ADD COLUMN given_key       text COLLATE "C",
    ADD COLUMN given_content   text;

CREATE UNIQUE INDEX processes_begun ON processes (begun_key) WHERE begun_key IS NOT NULL;
CREATE UNIQUE INDEX processes_given ON processes (given_key) WHERE given_key IS NOT NULL;
CREATE INDEX processes_challenge ON processes (card, challenge) WHERE challenge <> '';
CREATE INDEX processes_waiting ON processes (expires_at) WHERE state = 'waiting';

CREATE TABLE process_moves (
    before text NOT NULL COLLATE "C",
    after  text NOT NULL COLLATE "C",
    PRIMARY KEY (before, after)
);
INSERT INTO process_moves (before, after) VALUES
    ('', 'waiting'), ('', 'started'), ('', 'answered'),
    ('waiting', 'started'), ('waiting', 'refused'), ('waiting', 'cancelled'), ('waiting', 'expired'),
    ('started', 'answered'), ('started', 'cancelled'), ('started', 'expired'),
    ('answered', 'completed'), ('answered', 'failed'), ('answered', 'cancelled');

-- +goose StatementBegin
CREATE FUNCTION process_may_be() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM process_moves WHERE after = NEW.state) THEN
        RAISE EXCEPTION 'there is no such state of a process';
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION process_may_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM process_moves WHERE before = OLD.state AND after = NEW.state) THEN
        RAISE EXCEPTION 'a process cannot go from its state to this one';
    END IF;
    IF (NEW.id, NEW.card, NEW.client, NEW.operator, NEW.means, NEW.reason, NEW.ticket, NEW.verification, NEW.override_reason, NEW.approval)
        <> (OLD.id, OLD.card, OLD.client, OLD.operator, OLD.means, OLD.reason, OLD.ticket, OLD.verification, OLD.override_reason, OLD.approval)
        OR OLD.approved <> '' AND (NEW.approved, NEW.approver) <> (OLD.approved, OLD.approver) THEN
        RAISE EXCEPTION 'what a process was started for cannot be changed';
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd

CREATE TRIGGER processes_state BEFORE INSERT ON processes
FOR EACH ROW EXECUTE FUNCTION process_may_be();

CREATE TRIGGER processes_move BEFORE UPDATE ON processes
FOR EACH ROW EXECUTE FUNCTION process_may_move();

CREATE TRIGGER processes_no_delete BEFORE DELETE ON processes
FOR EACH ROW EXECUTE FUNCTION refuse_change('a process cannot be deleted');

ALTER TABLE unconfirmed ADD COLUMN latest text NOT NULL DEFAULT '' COLLATE "C";

CREATE TABLE limits (
    key     text NOT NULL COLLATE "C" PRIMARY KEY,
    arrival bigint NOT NULL
);
