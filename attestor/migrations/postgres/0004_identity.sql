-- The life of a machine: approved, enrolled, enrolled anew, out of service, with another TPM.

-- `active`, `retired`, or `removed`: a removed machine keeps its name's row, since serials of location
-- tags never begin again.
ALTER TABLE inventory ADD COLUMN state TEXT NOT NULL DEFAULT 'active';

ALTER TABLE join_tokens ADD COLUMN host TEXT;
ALTER TABLE join_tokens ADD COLUMN uses_max BIGINT;
ALTER TABLE join_tokens ADD COLUMN uses BIGINT NOT NULL DEFAULT 0;
ALTER TABLE join_tokens ADD COLUMN revoked_at BIGINT;

-- The TLS key of the identity that the enrolment would end.
ALTER TABLE enrolments ADD COLUMN replaces BYTEA;

-- A void tag is nobody's; its serial stays the floor of the next.
ALTER TABLE location_tags ADD COLUMN void BIGINT NOT NULL DEFAULT 0;

-- Genuine TPMs that nobody has called ours, or that somebody has called not ours.
CREATE TABLE quarantine (
    ek_digest BYTEA PRIMARY KEY,
    root_class TEXT NOT NULL,
    tpm TEXT NOT NULL,
    join_token TEXT NOT NULL,
    first_seen BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    seen BIGINT NOT NULL,
    rejected BIGINT NOT NULL DEFAULT 0
);

-- Identities that ended. Their keys are never taken again.
CREATE TABLE former_identities (
    tls_key BYTEA PRIMARY KEY,
    host TEXT NOT NULL,
    ek_digest BYTEA NOT NULL,
    ak_public BYTEA NOT NULL UNIQUE,
    enrolled_at BIGINT NOT NULL,
    ended_at BIGINT NOT NULL,
    ended_by TEXT NOT NULL
);
CREATE INDEX former_identities_by_host ON former_identities (host);

-- Hosts that an operator lets enrol once with other keys.
CREATE TABLE reenrolments (
    host TEXT PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
