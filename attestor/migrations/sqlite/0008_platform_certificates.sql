-- Makers of machines whose platform certificates put machines into the inventory, under names that begin
-- with the prefix.
CREATE TABLE oems (
    digest BLOB PRIMARY KEY,
    der BLOB NOT NULL,
    host_prefix TEXT NOT NULL,
    added_at INTEGER NOT NULL
) STRICT;

-- EKs that an operator rejected, took out or put another TPM in the place of: only an operator lets them in
-- again.
CREATE TABLE barred_eks (
    ek_digest BLOB PRIMARY KEY,
    since INTEGER NOT NULL
) STRICT;
INSERT INTO barred_eks (ek_digest, since)
    SELECT ek_digest, last_seen FROM quarantine WHERE rejected = 1;
INSERT INTO barred_eks (ek_digest, since)
    SELECT ek_digest, MAX(ended_at) FROM former_identities
    WHERE ended_by IN ('host-removed', 'host-replaced')
        AND ek_digest NOT IN (SELECT ek_digest FROM inventory_eks)
        AND ek_digest NOT IN (SELECT ek_digest FROM barred_eks)
    GROUP BY ek_digest;
