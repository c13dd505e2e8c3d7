-- Who may write and read. A row is never deleted, only revoked: a store that once had a key must
-- never look like one that has none, because that one is open.
CREATE TABLE keys (
    id            TEXT    NOT NULL PRIMARY KEY,  -- the part of the key that is no secret
    kind          TEXT    NOT NULL,              -- 'ingest', 'read', 'admin'
    app           TEXT,                          -- a name, whether or not it has events; NULL: all
    name          TEXT    NOT NULL,
    digest        BLOB    NOT NULL,              -- SHA-256 of the whole key
    created_at_us INTEGER NOT NULL,
    revoked_at_us INTEGER
) STRICT, WITHOUT ROWID;

-- Random bytes that the server signs with, made once.
CREATE TABLE secrets (
    name  TEXT NOT NULL PRIMARY KEY,  -- 'login'
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
