-- What came in parts: of each span the facts by which its event is placed, as long as more may come
-- that places it elsewhere. No content, but for held.
CREATE TABLE spans (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,  -- ascends as they arrive
    app            INTEGER NOT NULL REFERENCES apps (id),
    trace          ANY     NOT NULL,  -- 16 bytes where it is 32 hexadecimal digits
    span           TEXT    NOT NULL,
    received_at_us INTEGER NOT NULL,  -- of the first arrival
    arrived_at_us  INTEGER NOT NULL,  -- of the last
    facts          BLOB    NOT NULL,
    event          INTEGER,           -- the event that is stored for it; NULL: none
    place          BLOB,              -- fingerprint of the place that the event was given
    names_session  TEXT,              -- of one with something held: the session that it names
    held           BLOB               -- zstd: what it says, while no event does
) STRICT;
CREATE UNIQUE INDEX spans_by_key ON spans (app, trace, span);
CREATE INDEX spans_of_trace ON spans (app, trace, id);
CREATE INDEX spans_of_event ON spans (event) WHERE event IS NOT NULL;
CREATE INDEX spans_by_arrival ON spans (arrived_at_us);
CREATE INDEX spans_held ON spans (app, names_session) WHERE held IS NOT NULL;

-- By which keys spans of several traces may tell of one call: ('response:chatcmpl-1', …).
CREATE TABLE span_joins (
    app  INTEGER NOT NULL,
    key  TEXT    NOT NULL,
    span INTEGER NOT NULL REFERENCES spans (id),
    PRIMARY KEY (app, key, span)
) STRICT, WITHOUT ROWID;
CREATE INDEX joins_of_span ON span_joins (span);

-- Traces whose events are not all where they belong: one commit moves so many and no more.
CREATE TABLE unsettled_traces (
    app   INTEGER NOT NULL REFERENCES apps (id),
    trace ANY     NOT NULL,
    PRIMARY KEY (app, trace)
) STRICT, WITHOUT ROWID;
