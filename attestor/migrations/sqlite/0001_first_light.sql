-- Digests, nonces and keys are BLOBs; times are seconds since 1970.

CREATE TABLE operator_tokens (
    hash BLOB PRIMARY KEY,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE endorsement_roots (
    digest BLOB PRIMARY KEY,
    class TEXT NOT NULL,
    pem TEXT NOT NULL,
    imported_at INTEGER NOT NULL
) STRICT;

-- One machine: all EKs of its TPM, under one name.
CREATE TABLE inventory (
    host TEXT PRIMARY KEY,
    added_at INTEGER NOT NULL
) STRICT;

CREATE TABLE inventory_eks (
    ek_digest BLOB PRIMARY KEY,
    host TEXT NOT NULL REFERENCES inventory (host)
) STRICT;

CREATE TABLE join_tokens (
    hash BLOB PRIMARY KEY,
    expires_at INTEGER NOT NULL
) STRICT;

-- Enrolments that wait for their activation.
CREATE TABLE enrolments (
    id BLOB PRIMARY KEY,
    host TEXT NOT NULL,
    secret_hash BLOB NOT NULL,
    identity TEXT NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

-- One atomic identity a host; the counters are those of its last accepted quote.
CREATE TABLE hosts (
    host TEXT PRIMARY KEY,
    ek_digest BLOB NOT NULL UNIQUE,
    ek_public BLOB NOT NULL,
    ak_public BLOB NOT NULL UNIQUE,
    tls_key BLOB NOT NULL UNIQUE,
    root_class TEXT NOT NULL,
    enrolled_at INTEGER NOT NULL,
    firmware_version INTEGER,
    reset_count INTEGER,
    restart_count INTEGER,
    clock INTEGER,
    boot_log BLOB,
    verdict TEXT,
    result TEXT
) STRICT;

CREATE TABLE challenges (
    nonce BLOB PRIMARY KEY,
    host TEXT NOT NULL,
    pcrs TEXT NOT NULL,
    issued_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    evidence BLOB,
    answer TEXT
) STRICT;
CREATE INDEX challenges_by_expiry ON challenges (expires_at);
CREATE INDEX challenges_by_host ON challenges (host, issued_at);

CREATE TABLE boot_logs (
    digest BLOB PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;

-- Raw evidence exactly as it was received, content-addressed.
CREATE TABLE evidence (
    digest BLOB PRIMARY KEY,
    host TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;

CREATE TABLE location_authorities (
    id BLOB PRIMARY KEY,
    public_key BLOB NOT NULL,
    added_at INTEGER NOT NULL
) STRICT;

-- The current tag of each host; serials only rise.
CREATE TABLE location_tags (
    host TEXT PRIMARY KEY REFERENCES inventory (host),
    serial INTEGER NOT NULL,
    tag BLOB NOT NULL
) STRICT;

CREATE TABLE policies (
    version INTEGER PRIMARY KEY,
    digest BLOB NOT NULL,
    manifests TEXT NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT;

CREATE TABLE nodes (
    node TEXT PRIMARY KEY,
    host TEXT NOT NULL REFERENCES inventory (host)
) STRICT;

-- The audit log. Never updated, never deleted from.
CREATE TABLE entries (
    idx INTEGER PRIMARY KEY,
    leaf BLOB NOT NULL UNIQUE,
    body BLOB NOT NULL
) STRICT;

-- The right edge of the Merkle tree over the entries; one row.
CREATE TABLE tree (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    size INTEGER NOT NULL,
    frontier BLOB NOT NULL
) STRICT;
INSERT INTO tree (id, size, frontier) VALUES (1, 0, x'0000000000000000');
