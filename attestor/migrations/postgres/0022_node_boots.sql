-- The boot that a node's kubelet reported last, and since when it is another one than the one before, seconds since 1970.
-- Without the time it is the one that was seen first.
ALTER TABLE nodes ADD COLUMN boot TEXT;
ALTER TABLE nodes ADD COLUMN booted_at BIGINT;

-- Webhook configurations in the cluster as they were seen last: JSON.
CREATE TABLE webhooks (
    name TEXT PRIMARY KEY,
    seen TEXT NOT NULL
);
