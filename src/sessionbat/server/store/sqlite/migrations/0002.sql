-- What filters, sorting, statistics and search need. All of it but `messages` is derived.

-- As before, and: error_type; event_id as 16 bytes where it is 32 hexadecimal digits, which halves
-- the largest part of a row and of its index.
CREATE TABLE events_2 (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    app            INTEGER NOT NULL REFERENCES apps (id),
    event_id       ANY     NOT NULL,
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
    error_type     TEXT,
    UNIQUE (app, event_id)
) STRICT;
INSERT INTO events_2
    SELECT id, app, event_id, session, interaction, at_us, received_at_us, kind, name, model,
        failed, latency_ms, input_tokens, output_tokens, cost_usd, NULL
    FROM events ORDER BY id;
DROP TABLE events;
ALTER TABLE events_2 RENAME TO events;
CREATE INDEX events_of_session ON events (session, at_us, id);

-- Money is summed in whole billionths of a dollar: the order of addition changes no digit.
ALTER TABLE sessions ADD COLUMN cost_nanos INTEGER NOT NULL DEFAULT 0;
-- Of the slowest observation.
ALTER TABLE sessions ADD COLUMN latency_ms REAL NOT NULL DEFAULT 0;
-- The user's first words; title_rank 2: said to a model, 1: searched for, 0: none. Of the highest
-- rank, the earliest (title_at_us).
ALTER TABLE sessions ADD COLUMN title TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN title_rank INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN title_at_us INTEGER NOT NULL DEFAULT 0;

CREATE INDEX sessions_that_failed ON sessions (app, last_at_us DESC, id DESC) WHERE errors > 0;
CREATE INDEX sessions_of_app_by_errors ON sessions (app, errors DESC, id DESC);
CREATE INDEX sessions_of_app_by_cost ON sessions (app, cost_nanos DESC, id DESC);
CREATE INDEX sessions_of_app_by_duration
    ON sessions (app, (last_at_us - first_at_us) DESC, id DESC);

-- What sessions are filtered by: ('context.user_id', 'user_123'), ('tag', …), ('model', …),
-- ('tool', …), ('kind', …), ('error_type', …). sessions: how many have it, which tells whether to
-- start a query from the label or from the list.
CREATE TABLE labels (
    id       INTEGER PRIMARY KEY,
    app      INTEGER NOT NULL REFERENCES apps (id),
    key      TEXT    NOT NULL,
    value    TEXT    NOT NULL,
    sessions INTEGER NOT NULL DEFAULT 0,
    UNIQUE (key, value, app)
) STRICT;
CREATE TABLE session_labels (
    label   INTEGER NOT NULL REFERENCES labels (id),
    session INTEGER NOT NULL REFERENCES sessions (id),
    PRIMARY KEY (label, session)
) STRICT, WITHOUT ROWID;
CREATE INDEX labels_of_session ON session_labels (session);

-- Messages that a session's model calls resend, each stored once a session. Not derived: payloads
-- of codec 3 refer to them. event: the first that held it, and the one it is found by in search.
CREATE TABLE messages (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    session INTEGER NOT NULL REFERENCES sessions (id),
    event   INTEGER NOT NULL REFERENCES events (id),
    digest  BLOB    NOT NULL,  -- BLAKE2b of its JSON, 16 bytes
    codec   INTEGER NOT NULL,
    data    BLOB    NOT NULL
) STRICT;
CREATE UNIQUE INDEX messages_by_digest ON messages (session, digest);
CREATE INDEX messages_of_event ON messages (event);

-- Figures by hour and by day (UTC), each three times: of the app (dimension ''), of each model and
-- of each tool. latencies: a JSON array of bucket, count, bucket, count, …; see histogram.py.
CREATE TABLE rollups (
    span          TEXT    NOT NULL,  -- 'hour', 'day'
    dimension     TEXT    NOT NULL,  -- '', 'model', 'tool'
    app           INTEGER NOT NULL REFERENCES apps (id),
    at_us         INTEGER NOT NULL,
    value         TEXT    NOT NULL,
    count         INTEGER NOT NULL,
    errors        INTEGER NOT NULL,
    input_tokens  INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cost_nanos    INTEGER NOT NULL,
    latencies     TEXT    NOT NULL,
    PRIMARY KEY (span, dimension, app, at_us, value)
) STRICT, WITHOUT ROWID;

-- How far what is made behind ingestion has come: the number of the last event that is in.
CREATE TABLE progress (
    name  TEXT    NOT NULL PRIMARY KEY,  -- 'statistics', 'text'
    up_to INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO progress VALUES ('statistics', 0), ('text', 0);
