-- +goose Up
-- Lists the cards that a source has not confirmed since a time. Metrics ask, too, when
-- each source confirmed a card last, every few seconds.
CREATE INDEX cards_by_source ON cards (source, synced_at, serial);
