-- As migrations/00005 for SQLite, whose comments hold here too.

-- +goose Up
ALTER TABLE cards ADD COLUMN unit text NOT NULL DEFAULT '';
ALTER TABLE cards ADD COLUMN assurance text NOT NULL DEFAULT '';
ALTER TABLE cards ADD COLUMN holder_privileged boolean NOT NULL DEFAULT false;
ALTER TABLE cards ADD COLUMN source text NOT NULL DEFAULT '';
ALTER TABLE cards ADD COLUMN words text NOT NULL DEFAULT '';
ALTER TABLE cards DROP COLUMN serial_folded;
ALTER TABLE cards DROP COLUMN holder_folded;

CREATE TABLE card_words (
    word   text NOT NULL COLLATE "C",
    serial text NOT NULL COLLATE "C",
    PRIMARY KEY (word, serial)
);

CREATE TABLE card_words_made (
    id      integer NOT NULL PRIMARY KEY CHECK (id = 1),
    folding text NOT NULL
);
