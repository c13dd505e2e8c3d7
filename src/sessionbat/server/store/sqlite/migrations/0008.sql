-- The cost of model calls for which the app gave none, estimated when they arrived; apart from what
-- apps gave. Of older events it is unknown until a rebuild.
ALTER TABLE events ADD COLUMN estimated_usd REAL;
ALTER TABLE sessions ADD COLUMN estimated_nanos INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollups ADD COLUMN estimated_nanos INTEGER NOT NULL DEFAULT 0;
