-- +goose Up
-- Seals the cursors of searches, so that they tell nothing of cards that may not be
-- seen. It guards no card and no key.
CREATE TABLE cursor_key (
    id  INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    key BLOB NOT NULL CHECK (length(key) = 32)
) STRICT;
INSERT INTO cursor_key (id, key) VALUES (1, randomblob(32));
