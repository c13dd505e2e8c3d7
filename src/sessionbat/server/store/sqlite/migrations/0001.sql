-- The products being watched. Named once here, a small number everywhere else.
CREATE TABLE apps (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- One row a session: what the session list shows, kept up to date in the transaction that stores
-- the events, so that a list never counts. Derived; `events` and `payloads` are the truth.
CREATE TABLE sessions (
    id            INTEGER PRIMARY KEY,
    app           INTEGER NOT NULL REFERENCES apps (id),
    session_id    TEXT    NOT NULL,
    first_at_us   INTEGER NOT NULL,  -- microseconds since 1970, UTC, of events.at_us
    last_at_us    INTEGER NOT NULL,
    interactions  INTEGER NOT NULL DEFAULT 0,
    observations  INTEGER NOT NULL,
    llm_calls     INTEGER NOT NULL,
    tool_calls    INTEGER NOT NULL,
    retrievals    INTEGER NOT NULL,
    errors        INTEGER NOT NULL,
    input_tokens  INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    UNIQUE (app, session_id)
) STRICT;
CREATE INDEX sessions_by_activity ON sessions (last_at_us DESC, id DESC);
CREATE INDEX sessions_of_app_by_activity ON sessions (app, last_at_us DESC, id DESC);

-- The turns of a session, each id stored once.
CREATE TABLE interactions (
    id             INTEGER PRIMARY KEY,
    session        INTEGER NOT NULL REFERENCES sessions (id),
    interaction_id TEXT    NOT NULL,
    UNIQUE (session, interaction_id)
) STRICT;

-- One row an event: what lists, filters and sums need, read once from the payload on arrival.
-- AUTOINCREMENT: a row number is never used twice, so a cursor over them stays good after deletes.
CREATE TABLE events (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    app            INTEGER NOT NULL REFERENCES apps (id),
    event_id       TEXT    NOT NULL,
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
    UNIQUE (app, event_id)
) STRICT;
CREATE INDEX events_of_session ON events (session, at_us, id);

-- The JSON of each event, byte for byte as it was received, apart from `events` so that no scan
-- of those reads through it. codec 0: as it is; 1: one zstd frame.
CREATE TABLE payloads (
    event INTEGER PRIMARY KEY REFERENCES events (id),
    codec INTEGER NOT NULL,
    data  BLOB    NOT NULL
) STRICT;
