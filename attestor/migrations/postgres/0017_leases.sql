-- What hosts were given keys for: the last lease of each version of a key and plain layer. `name`: of the key. `entry`:
-- leaf hash of that lease's entry. `void`: 1 once the identity of the host that it was given to ended. `purged_at`:
-- when the host said that it purged what it opened.
CREATE TABLE leases (
    host TEXT NOT NULL,
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    layer BYTEA NOT NULL,
    policy TEXT NOT NULL,
    manifest BYTEA,
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    entry BYTEA NOT NULL,
    void BIGINT NOT NULL DEFAULT 0,
    purged_at BIGINT,
    PRIMARY KEY (host, name, version, layer)
);
CREATE INDEX leases_of_key ON leases (name, host) WHERE purged_at IS NULL AND void = 0;

-- Keys that hosts get no more until they are given back; the empty name: every key. Their leases are revoked.
CREATE TABLE lease_revocations (
    host TEXT NOT NULL,
    name TEXT NOT NULL,
    revoked_at BIGINT NOT NULL,
    PRIMARY KEY (host, name)
);

-- 1: it may have revoked leases, of which its next round is told.
ALTER TABLE hosts ADD COLUMN leases_to_tell BIGINT NOT NULL DEFAULT 0;
