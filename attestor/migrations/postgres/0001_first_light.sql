-- Digests, nonces and keys are BYTEA; times are seconds since 1970.

CREATE TABLE operator_tokens (
    hash BYTEA PRIMARY KEY,
    created_at BIGINT NOT NULL
);

CREATE TABLE endorsement_roots (
    digest BYTEA PRIMARY KEY,
    class TEXT NOT NULL,
    pem TEXT NOT NULL,
    imported_at BIGINT NOT NULL
);

-- One machine: all EKs of its TPM, under one name.
CREATE TABLE inventory (
    host TEXT PRIMARY KEY,
    added_at BIGINT NOT NULL
);

CREATE TABLE inventory_eks (
    ek_digest BYTEA PRIMARY KEY,
    host TEXT NOT NULL REFERENCES inventory (host)
);

CREATE TABLE join_tokens (
    hash BYTEA PRIMARY KEY,
    expires_at BIGINT NOT NULL
);

-- Enrolments that wait for their activation.
CREATE TABLE enrolments (
    id BYTEA PRIMARY KEY,
    host TEXT NOT NULL,
    secret_hash BYTEA NOT NULL,
    identity TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);

-- One atomic identity a host; the counters are those of its last accepted quote.
CREATE TABLE hosts (
    host TEXT PRIMARY KEY,
    ek_digest BYTEA NOT NULL UNIQUE,
    ek_public BYTEA NOT NULL,
    ak_public BYTEA NOT NULL UNIQUE,
    tls_key BYTEA NOT NULL UNIQUE,
    root_class TEXT NOT NULL,
    enrolled_at BIGINT NOT NULL,
    firmware_version BIGINT,
    reset_count BIGINT,
    restart_count BIGINT,
    clock BIGINT,
    boot_log BYTEA,
    verdict TEXT,
    result TEXT
);

CREATE TABLE challenges (
    nonce BYTEA PRIMARY KEY,
    host TEXT NOT NULL,
    pcrs TEXT NOT NULL,
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    evidence BYTEA,
    answer TEXT
);
CREATE INDEX challenges_by_expiry ON challenges (expires_at);
CREATE INDEX challenges_by_host ON challenges (host, issued_at);

CREATE TABLE boot_logs (
    digest BYTEA PRIMARY KEY,
    body BYTEA NOT NULL
);

-- Raw evidence exactly as it was received, content-addressed.
CREATE TABLE evidence (
    digest BYTEA PRIMARY KEY,
    host TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    body BYTEA NOT NULL
);

CREATE TABLE location_authorities (
    id BYTEA PRIMARY KEY,
    public_key BYTEA NOT NULL,
    added_at BIGINT NOT NULL
);

-- The current tag of each host; serials only rise.
CREATE TABLE location_tags (
    host TEXT PRIMARY KEY REFERENCES inventory (host),
    serial BIGINT NOT NULL,
    tag BYTEA NOT NULL
);

CREATE TABLE policies (
    version BIGINT PRIMARY KEY,
    digest BYTEA NOT NULL,
    manifests TEXT NOT NULL,
    applied_at BIGINT NOT NULL
);

CREATE TABLE nodes (
    node TEXT PRIMARY KEY,
    host TEXT NOT NULL REFERENCES inventory (host)
);

-- The audit log. Never updated, never deleted from.
CREATE TABLE entries (
    idx BIGINT PRIMARY KEY,
    leaf BYTEA NOT NULL UNIQUE,
    body BYTEA NOT NULL
);

-- The right edge of the Merkle tree over the entries; one row.
CREATE TABLE tree (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    size BIGINT NOT NULL,
    frontier BYTEA NOT NULL
);
INSERT INTO tree (id, size, frontier) VALUES (1, 0, '\x0000000000000000');
