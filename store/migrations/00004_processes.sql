-- Times are microseconds since 1970-01-01 UTC. Hashes are hex.

-- +goose Up
ALTER TABLE processes ADD COLUMN means TEXT NOT NULL DEFAULT 'named by the client'; -- identity.Means
ALTER TABLE processes ADD COLUMN ticket TEXT NOT NULL DEFAULT '';
ALTER TABLE processes ADD COLUMN verification TEXT NOT NULL DEFAULT '';
ALTER TABLE processes ADD COLUMN override_reason TEXT NOT NULL DEFAULT '';
ALTER TABLE processes ADD COLUMN approval TEXT NOT NULL DEFAULT ''; -- role of the second person
ALTER TABLE processes ADD COLUMN approver TEXT NOT NULL DEFAULT ''; -- identity.Person as JSON
ALTER TABLE processes ADD COLUMN verdict TEXT NOT NULL DEFAULT '';  -- the approver's reason
ALTER TABLE processes ADD COLUMN approved TEXT NOT NULL DEFAULT ''; -- hash of what was approved
ALTER TABLE processes ADD COLUMN decided_at INTEGER;
ALTER TABLE processes ADD COLUMN challenge TEXT NOT NULL DEFAULT ''; -- that was answered
ALTER TABLE processes ADD COLUMN begun_key TEXT;                     -- of the idempotency key of the start
ALTER TABLE processes ADD COLUMN begun_content TEXT;
ALTER TABLE processes ADD COLUMN given_key TEXT;                     -- of the idempotency key of the answer
ALTER TABLE processes ADD COLUMN given_content TEXT;

CREATE UNIQUE INDEX processes_begun ON processes (begun_key) WHERE begun_key IS NOT NULL;
CREATE UNIQUE INDEX processes_given ON processes (given_key) WHERE given_key IS NOT NULL;
CREATE INDEX processes_challenge ON processes (card, challenge) WHERE challenge <> '';
CREATE INDEX processes_waiting ON processes (expires_at) WHERE state = 'waiting';

-- The legal moves, as in unblock/process.go.
CREATE TABLE process_moves (
    before TEXT NOT NULL,
    after  TEXT NOT NULL,
    PRIMARY KEY (before, after)
) STRICT, WITHOUT ROWID;
INSERT INTO process_moves (before, after) VALUES
    ('', 'waiting'), ('', 'started'), ('', 'answered'),
    ('waiting', 'started'), ('waiting', 'refused'), ('waiting', 'cancelled'), ('waiting', 'expired'),
    ('started', 'answered'), ('started', 'cancelled'), ('started', 'expired'),
    ('answered', 'completed'), ('answered', 'failed'), ('answered', 'cancelled');

-- A restored backup brings processes in every state; Apply sees how they begin.
-- +goose StatementBegin
CREATE TRIGGER processes_state BEFORE INSERT ON processes
WHEN NOT EXISTS (SELECT 1 FROM process_moves WHERE after = NEW.state)
BEGIN SELECT RAISE(ABORT, 'there is no such state of a process'); END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER processes_move BEFORE UPDATE OF state ON processes
WHEN NOT EXISTS (SELECT 1 FROM process_moves WHERE before = OLD.state AND after = NEW.state)
BEGIN SELECT RAISE(ABORT, 'a process cannot go from its state to this one'); END;
-- +goose StatementEnd

-- What was asked, and approved, is never another thing afterwards.
-- +goose StatementBegin
CREATE TRIGGER processes_ask_stays BEFORE UPDATE ON processes
WHEN (NEW.id, NEW.card, NEW.client, NEW.operator, NEW.means, NEW.reason, NEW.ticket, NEW.verification, NEW.override_reason, NEW.approval)
    <> (OLD.id, OLD.card, OLD.client, OLD.operator, OLD.means, OLD.reason, OLD.ticket, OLD.verification, OLD.override_reason, OLD.approval)
    OR OLD.approved <> '' AND (NEW.approved, NEW.approver) <> (OLD.approved, OLD.approver)
BEGIN SELECT RAISE(ABORT, 'what a process was started for cannot be changed'); END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER processes_no_delete BEFORE DELETE ON processes
BEGIN SELECT RAISE(ABORT, 'a process cannot be deleted'); END;
-- +goose StatementEnd

-- The process that was begun last for the card. It alone can be under way.
ALTER TABLE unconfirmed ADD COLUMN latest TEXT NOT NULL DEFAULT '';

-- Limits on the rate of decisions: when the next one of each operator, card and
-- client would arrive if they kept to their rate (GCRA).
CREATE TABLE limits (
    key     TEXT NOT NULL PRIMARY KEY,
    arrival INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
