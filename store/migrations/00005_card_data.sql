-- Times are microseconds since 1970-01-01 UTC.

-- +goose Up
ALTER TABLE cards ADD COLUMN unit TEXT NOT NULL DEFAULT '';
ALTER TABLE cards ADD COLUMN assurance TEXT NOT NULL DEFAULT '';
ALTER TABLE cards ADD COLUMN holder_privileged INTEGER NOT NULL DEFAULT 0;
ALTER TABLE cards ADD COLUMN source TEXT NOT NULL DEFAULT ''; -- which source confirmed the card last, at synced_at
