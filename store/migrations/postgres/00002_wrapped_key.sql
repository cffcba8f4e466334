-- +goose Up
ALTER TABLE cards ADD COLUMN wrapped_key bytea;
