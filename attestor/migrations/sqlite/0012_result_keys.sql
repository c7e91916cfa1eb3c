-- Keys that sign, or signed, attestation results. The one without `until` signs.
CREATE TABLE result_keys (
    id TEXT PRIMARY KEY,
    public_key BLOB NOT NULL,
    since INTEGER NOT NULL,
    until INTEGER,
    revoked_at INTEGER
) STRICT;
