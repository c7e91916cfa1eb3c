-- Who may call, beside hosts: operators, officers, auditors, relying parties. `key` is the SHA-256 of a bearer
-- token, or of the SubjectPublicKeyInfo of a TLS client key. A name is given once.
CREATE TABLE credentials (
    key BLOB PRIMARY KEY,
    way TEXT NOT NULL,
    role TEXT NOT NULL,
    name TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT;
-- There was one token, that of the first start.
INSERT INTO credentials (key, way, role, name, created_at)
    SELECT hash, 'token', 'operator', 'operator', created_at FROM operator_tokens;
DROP TABLE operator_tokens;
