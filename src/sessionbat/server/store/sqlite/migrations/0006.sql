-- Feedback is an event and no observation: counted apart, so that the sums stay those of what the
-- app did. Until now an event of that type counted as any other.
ALTER TABLE sessions ADD COLUMN feedback INTEGER NOT NULL DEFAULT 0;
CREATE INDEX events_of_feedback ON events (session, at_us, id) WHERE kind = 'feedback';
UPDATE sessions SET
    feedback = (SELECT count(*) FROM events WHERE session = sessions.id AND kind = 'feedback'),
    observations =
        (SELECT count(*) FROM events WHERE session = sessions.id AND kind <> 'feedback')
    WHERE id IN (SELECT session FROM events WHERE kind = 'feedback');
UPDATE progress SET up_to = 0
    WHERE name = 'statistics' AND EXISTS (SELECT 1 FROM events WHERE kind = 'feedback');
DELETE FROM rollups WHERE (SELECT up_to FROM progress WHERE name = 'statistics') = 0;

-- From which web pages a key of the kind 'feedback' may be used: origins with blanks between them.
ALTER TABLE keys ADD COLUMN origins TEXT NOT NULL DEFAULT '';
