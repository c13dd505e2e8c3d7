-- An id names one event within its session, and no longer within its app: agents number their steps
-- anew in each session. By id first: ids of the SDK ascend, so the index grows at its end; and an id
-- is found without its session. An index of its own, so that the next change need not copy the table.
CREATE TABLE events_5 (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    app            INTEGER NOT NULL REFERENCES apps (id),
    event_id       ANY     NOT NULL,  -- 16 bytes where it is 32 hexadecimal digits
    session        INTEGER NOT NULL REFERENCES sessions (id),
    interaction    INTEGER REFERENCES interactions (id),
    at_us          INTEGER NOT NULL,  -- created_at; where it is missing or no time, received_at_us
    received_at_us INTEGER NOT NULL,
    kind           TEXT    NOT NULL,
    name           TEXT,
    model          TEXT,
    failed         INTEGER NOT NULL,  -- 1: the observation's error is not null
    latency_ms     REAL,
    input_tokens   INTEGER,
    output_tokens  INTEGER,
    cost_usd       REAL,
    error_type     TEXT
) STRICT;
INSERT INTO events_5 SELECT * FROM events ORDER BY id;
-- Numbers go on where they were: those of deleted events are not used again.
DELETE FROM sqlite_sequence WHERE name = 'events_5';
INSERT INTO sqlite_sequence SELECT 'events_5', seq FROM sqlite_sequence WHERE name = 'events';
DROP TABLE events;
ALTER TABLE events_5 RENAME TO events;
CREATE UNIQUE INDEX events_by_id ON events (event_id, session);
CREATE INDEX events_of_session ON events (session, at_us, id);

-- By which rules something derived was made; when they change, it is made again. Of the text index:
-- how texts are folded.
ALTER TABLE progress ADD COLUMN made_by TEXT NOT NULL DEFAULT '';

-- An event counts as activity no later than it was received; events.at_us stays as it came.
UPDATE sessions SET
    first_at_us = (SELECT min(min(at_us, received_at_us)) FROM events WHERE session = sessions.id),
    last_at_us  = (SELECT max(min(at_us, received_at_us)) FROM events WHERE session = sessions.id)
    WHERE id IN (SELECT session FROM events WHERE at_us > received_at_us);
UPDATE progress SET up_to = 0
    WHERE name = 'statistics' AND EXISTS (SELECT 1 FROM events WHERE at_us > received_at_us);
DELETE FROM rollups WHERE (SELECT up_to FROM progress WHERE name = 'statistics') = 0;

-- How much of the disk the events of an app take, as they lie in payloads and messages: where room
-- is to be made, it is made in the app that takes most.
ALTER TABLE apps ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
UPDATE apps SET bytes = sizes.bytes FROM (
    SELECT app, sum(size) AS bytes FROM (
        SELECT app, length(data) AS size FROM payloads JOIN events ON events.id = event
        UNION ALL
        SELECT app, length(data) FROM messages JOIN sessions ON sessions.id = session
    ) GROUP BY app
) AS sizes WHERE sizes.app = apps.id;
