-- Latencies of a rollup as bytes: a month by hour is answered in a third of the time. Derived: all
-- rollups are made again, behind ingestion, from the first event on.
DROP TABLE rollups;
-- Figures by hour and by day (UTC), each three times: of the app (dimension ''), of each model and
-- of each tool. latencies: counts of neighbouring buckets; see histogram.py.
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
    latencies     BLOB    NOT NULL,
    PRIMARY KEY (span, dimension, app, at_us, value)
) STRICT, WITHOUT ROWID;
UPDATE progress SET up_to = 0 WHERE name = 'statistics';
