-- Manufacturers that the roots of a bundle may vouch for, `id:` and eight digits each, blank between;
-- empty: any.
ALTER TABLE endorsement_roots ADD COLUMN manufacturers TEXT NOT NULL DEFAULT '';

-- The newest revocation list of each authority.
CREATE TABLE endorsement_lists (
    digest BLOB PRIMARY KEY,
    der BLOB NOT NULL,
    imported_at INTEGER NOT NULL
) STRICT;

-- What the EK certificate says of the TPM, JSON, and the key of the root that vouched; NULL for hosts that
-- were enrolled before this was kept.
ALTER TABLE enrolments ADD COLUMN tpm TEXT;
ALTER TABLE hosts ADD COLUMN tpm TEXT;
ALTER TABLE hosts ADD COLUMN root_key BLOB;
CREATE INDEX hosts_by_root_key ON hosts (root_key);

-- Machines that asked to enrol and whose maker's CA is not known; bounded, the latest ones.
CREATE TABLE unmatched_endorsements (
    ek_digest BLOB PRIMARY KEY,
    host TEXT NOT NULL,
    code TEXT NOT NULL,
    authority TEXT NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL
) STRICT;

-- What was once true of this database and stays so.
CREATE TABLE marks (
    mark TEXT PRIMARY KEY,
    since INTEGER NOT NULL
) STRICT;
INSERT INTO marks (mark, since)
    SELECT 'simulator-root', imported_at FROM endorsement_roots
    WHERE class = 'simulator' ORDER BY imported_at LIMIT 1;
