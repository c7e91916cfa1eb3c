-- Manufacturers that the roots of a bundle may vouch for, `id:` and eight digits each, blank between;
-- empty: any.
ALTER TABLE endorsement_roots ADD COLUMN manufacturers TEXT NOT NULL DEFAULT '';

-- The newest revocation list of each authority.
CREATE TABLE endorsement_lists (
    digest BYTEA PRIMARY KEY,
    der BYTEA NOT NULL,
    imported_at BIGINT NOT NULL
);

-- What the EK certificate says of the TPM, JSON, and the key of the root that vouched; NULL for hosts that
-- were enrolled before this was kept.
ALTER TABLE enrolments ADD COLUMN tpm TEXT;
ALTER TABLE hosts ADD COLUMN tpm TEXT;
ALTER TABLE hosts ADD COLUMN root_key BYTEA;
CREATE INDEX hosts_by_root_key ON hosts (root_key);

-- Machines that asked to enrol and whose maker's CA is not known; bounded, the latest ones.
CREATE TABLE unmatched_endorsements (
    ek_digest BYTEA PRIMARY KEY,
    host TEXT NOT NULL,
    code TEXT NOT NULL,
    authority TEXT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    attempts BIGINT NOT NULL
);

-- What was once true of this database and stays so.
CREATE TABLE marks (
    mark TEXT PRIMARY KEY,
    since BIGINT NOT NULL
);
INSERT INTO marks (mark, since)
    SELECT 'simulator-root', imported_at FROM endorsement_roots
    WHERE class = 'simulator' ORDER BY imported_at LIMIT 1;
