-- +goose Up
ALTER TABLE cards ADD COLUMN wrapped_key BLOB; -- under the profile's master key; of no use outside the HSM
