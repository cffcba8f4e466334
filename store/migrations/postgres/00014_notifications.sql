-- As migrations/00014 for SQLite, whose comment holds here too.

-- +goose Up
CREATE TABLE notifications (
    id      text   NOT NULL PRIMARY KEY,
    channel text   NOT NULL,
    message text   NOT NULL,
    made_at bigint NOT NULL,
    due_at  bigint NOT NULL,
    tries   bigint NOT NULL
);
CREATE INDEX notifications_due ON notifications (channel, due_at);
