-- `bytes`: how long `images` is, so that what a namespace keeps is counted without reading it. And no row is of a cluster
-- that whoever wrote it did not name.
CREATE TABLE workloads_with_bytes (
    id BLOB PRIMARY KEY,
    cluster TEXT NOT NULL,
    namespace TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    uid TEXT NOT NULL,
    revision TEXT NOT NULL,
    alone INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    images TEXT NOT NULL,
    entry BLOB NOT NULL,
    recorded_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL
) STRICT;
INSERT INTO workloads_with_bytes
    (id, cluster, namespace, kind, name, uid, revision, alone, bytes, images, entry, recorded_at, seen_at)
    SELECT id, cluster, namespace, kind, name, uid, revision, alone, length(CAST(images AS BLOB)), images, entry,
        recorded_at, seen_at
    FROM workloads;
DROP TABLE workloads;
ALTER TABLE workloads_with_bytes RENAME TO workloads;
CREATE INDEX workloads_by_age ON workloads (cluster, namespace, alone, seen_at, bytes);
CREATE INDEX workloads_by_name ON workloads (namespace, name);
