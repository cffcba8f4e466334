-- Notifications that wait to be sent. Each is about an audit entry, and says nothing of
-- the holder but by the card: name and address are looked up when it is sent. One that a
-- node is at work on is due again later, should the node die. Times are microseconds
-- since 1970-01-01 UTC.

-- +goose Up
CREATE TABLE notifications (
    id      TEXT NOT NULL PRIMARY KEY,
    channel TEXT NOT NULL,
    message TEXT NOT NULL, -- notify.Message as JSON
    made_at INTEGER NOT NULL, -- when what it tells of happened
    due_at  INTEGER NOT NULL,
    tries   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX notifications_due ON notifications (channel, due_at);
