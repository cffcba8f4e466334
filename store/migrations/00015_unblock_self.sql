-- +goose Up
ALTER TABLE card_types ADD COLUMN unblock_self TEXT NOT NULL DEFAULT '{}'; -- card state to whether holders may unblock their own
