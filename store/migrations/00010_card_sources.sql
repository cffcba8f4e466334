-- +goose Up
-- Metrics ask when each source confirmed a card last, every few seconds.
CREATE INDEX cards_by_source ON cards (source, synced_at);
