-- What a round writes goes to the end of a table, or near what the rounds beside it write: pages are what a commit costs.

-- The host's open challenges alone; answered ones are found by their nonces, which begin with their time.
DROP INDEX challenges_by_host;
CREATE INDEX challenges_open ON challenges (host) WHERE evidence IS NULL;

-- Answers, for hosts that lost them. The id is the index of the round's entry; below zero: from before that was kept.
CREATE TABLE answers (
    id BIGINT PRIMARY KEY,
    answer TEXT NOT NULL
);
ALTER TABLE challenges ADD COLUMN answered BIGINT;
UPDATE challenges SET answered = n.id
    FROM (SELECT nonce, -row_number() OVER (ORDER BY issued_at) AS id FROM challenges WHERE answer IS NOT NULL) AS n
    WHERE n.nonce = challenges.nonce;
INSERT INTO answers (id, answer) SELECT answered, answer FROM challenges WHERE answered IS NOT NULL;
ALTER TABLE challenges DROP COLUMN answer;

-- Raw evidence exactly as it was received, but for the text of a boot log, which `boot_logs` has once: it goes back
-- before the byte `boot_log_at`.
ALTER TABLE evidence RENAME TO evidence_by_digest;
ALTER INDEX evidence_pkey RENAME TO evidence_by_digest_pkey;
CREATE TABLE evidence (
    -- Index of the round's entry.
    entry BIGINT PRIMARY KEY,
    digest BYTEA NOT NULL,
    host TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    body BYTEA NOT NULL,
    boot_log BYTEA,
    boot_log_at BIGINT
);
-- Read as text: an entry may hold characters that PostgreSQL takes in no JSON, and within a text of it every quote is
-- escaped, so these can only be its own fields.
INSERT INTO evidence (entry, digest, host, received_at, body)
    SELECT e.idx, b.digest, b.host, b.received_at, b.body
    FROM (SELECT idx, convert_from(body, 'UTF8') AS said FROM entries) AS e
    JOIN evidence_by_digest AS b
        ON b.digest = decode(substring(e.said FROM '"evidence":"([0-9a-f]{64})"'), 'hex')
    WHERE position('"kind":"host-appraised"' IN e.said) > 0
    ORDER BY e.idx;
DROP TABLE evidence_by_digest;
