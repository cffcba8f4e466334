-- As migrations/00010 for SQLite, whose comment holds here too.

-- +goose Up
CREATE INDEX cards_by_source ON cards (source, synced_at, serial);
