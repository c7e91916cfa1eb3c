-- What a round writes goes to the end of a table, or near what the rounds beside it write: pages are what a commit costs.

-- The host's open challenges alone; answered ones are found by their nonces, which begin with their time.
DROP INDEX challenges_by_host;
CREATE INDEX challenges_open ON challenges (host) WHERE evidence IS NULL;

-- Answers, for hosts that lost them. The id is the index of the round's entry; below zero: from before that was kept.
CREATE TABLE answers (
    id INTEGER PRIMARY KEY,
    answer TEXT NOT NULL
) STRICT;
INSERT INTO answers (id, answer) SELECT -rowid, answer FROM challenges WHERE answer IS NOT NULL;
ALTER TABLE challenges ADD COLUMN answered INTEGER;
UPDATE challenges SET answered = -rowid WHERE answer IS NOT NULL;
ALTER TABLE challenges DROP COLUMN answer;

-- Raw evidence exactly as it was received, but for the text of a boot log, which `boot_logs` has once: it goes back
-- before the byte `boot_log_at`.
ALTER TABLE evidence RENAME TO evidence_by_digest;
CREATE TABLE evidence (
    -- Index of the round's entry.
    entry INTEGER PRIMARY KEY,
    digest BLOB NOT NULL,
    host TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    body BLOB NOT NULL,
    boot_log BLOB,
    boot_log_at INTEGER
) STRICT;
INSERT INTO evidence (entry, digest, host, received_at, body)
    SELECT e.idx, b.digest, b.host, b.received_at, b.body
    FROM (SELECT idx, CAST(body AS TEXT) AS said FROM entries) AS e
    JOIN evidence_by_digest AS b
        ON b.digest = unhex(CASE WHEN json_valid(e.said) AND e.said ->> 'kind' = 'host-appraised' THEN e.said ->> 'evidence' END)
    ORDER BY e.idx;
DROP TABLE evidence_by_digest;
