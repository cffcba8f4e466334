-- As migrations/00006 for SQLite, whose comments hold here too.

-- +goose Up
CREATE TABLE operators (
    id              text NOT NULL COLLATE "C" PRIMARY KEY,
    name            text NOT NULL,
    roles           text NOT NULL,
    groups          text NOT NULL,
    unit            text NOT NULL,
    email           text NOT NULL,
    employee_number text NOT NULL,
    issuer          text NOT NULL,
    subject         text NOT NULL,
    active          boolean NOT NULL,
    updated_by      text NOT NULL,
    updated_at      bigint
);

CREATE UNIQUE INDEX operators_by_token ON operators (issuer, subject) WHERE subject <> '';
