-- Keys that sign, or signed, attestation results. The one without `until` signs.
CREATE TABLE result_keys (
    id TEXT PRIMARY KEY,
    public_key BYTEA NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT,
    revoked_at BIGINT
);
