-- As migrations/00011 for SQLite, whose comments hold here too.

-- +goose Up
CREATE TABLE cursor_key (
    id  integer NOT NULL PRIMARY KEY CHECK (id = 1),
    key bytea NOT NULL CHECK (length(key) = 32)
);
-- Two random UUIDs have 244 random bits.
INSERT INTO cursor_key (id, key) VALUES (1, sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')));
