-- Which cluster a node, a workload, a pod or a webhook configuration is of: names mean something within one alone. What is
-- there so far is of the one that nobody named.
CREATE TABLE nodes_of_clusters (
    cluster TEXT NOT NULL,
    node TEXT NOT NULL,
    host TEXT NOT NULL REFERENCES inventory (host),
    uid TEXT,
    token BLOB,
    boot TEXT,
    booted_at INTEGER,
    PRIMARY KEY (cluster, node)
) STRICT;
INSERT INTO nodes_of_clusters (cluster, node, host, uid, token, boot, booted_at)
    SELECT 'default', node, host, uid, token, boot, booted_at FROM nodes;
DROP TABLE nodes;
ALTER TABLE nodes_of_clusters RENAME TO nodes;
CREATE INDEX nodes_by_host ON nodes (host);

ALTER TABLE workloads ADD COLUMN cluster TEXT NOT NULL DEFAULT 'default';
DROP INDEX workloads_by_age;
CREATE INDEX workloads_by_age ON workloads (cluster, namespace, alone, seen_at);

CREATE TABLE places_of_clusters (
    cluster TEXT NOT NULL,
    pod_uid TEXT NOT NULL,
    workload BLOB NOT NULL,
    namespace TEXT NOT NULL,
    pod TEXT NOT NULL,
    node TEXT NOT NULL,
    host TEXT,
    bound_at INTEGER NOT NULL,
    ended_at INTEGER,
    PRIMARY KEY (cluster, pod_uid)
) STRICT;
INSERT INTO places_of_clusters (cluster, pod_uid, workload, namespace, pod, node, host, bound_at, ended_at)
    SELECT 'default', pod_uid, workload, namespace, pod, node, host, bound_at, ended_at FROM workload_places;
DROP TABLE workload_places;
ALTER TABLE places_of_clusters RENAME TO workload_places;
CREATE INDEX workload_places_ended ON workload_places (cluster, namespace, ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE webhooks_of_clusters (
    cluster TEXT NOT NULL,
    name TEXT NOT NULL,
    seen TEXT NOT NULL,
    PRIMARY KEY (cluster, name)
) STRICT;
INSERT INTO webhooks_of_clusters (cluster, name, seen) SELECT 'default', name, seen FROM webhooks;
DROP TABLE webhooks;
ALTER TABLE webhooks_of_clusters RENAME TO webhooks;

-- Whose objects the manifests were. Without it, they were applied to the attestor.
ALTER TABLE policies ADD COLUMN cluster TEXT;
