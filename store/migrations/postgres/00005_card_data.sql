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

CREATE TABLE card_syncs (
    id          text NOT NULL COLLATE "C" PRIMARY KEY,
    source      text NOT NULL COLLATE "C",
    hash        text NOT NULL COLLATE "C",
    total       bigint NOT NULL,
    lines       bigint NOT NULL,
    created     bigint NOT NULL,
    updated     bigint NOT NULL,
    unchanged   bigint NOT NULL,
    refused     bigint NOT NULL,
    missing     bigint NOT NULL,
    started_at  bigint NOT NULL,
    changed_at  bigint NOT NULL,
    finished_at bigint
);

CREATE INDEX card_syncs_newest ON card_syncs (started_at, id);
CREATE INDEX card_syncs_by_file ON card_syncs (source, hash, started_at);
