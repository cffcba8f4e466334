-- As migrations/00015 for SQLite, whose comment holds here too.

-- +goose Up
ALTER TABLE card_types ADD COLUMN unblock_self text NOT NULL DEFAULT '{}';
