-- Which cluster a node, a workload, a pod or a webhook configuration is of: names mean something within one alone. What is
-- there so far is of the one that nobody named.
ALTER TABLE nodes ADD COLUMN cluster TEXT NOT NULL DEFAULT 'default';
ALTER TABLE nodes ALTER COLUMN cluster DROP DEFAULT;
ALTER TABLE nodes DROP CONSTRAINT nodes_pkey;
ALTER TABLE nodes ADD PRIMARY KEY (cluster, node);

ALTER TABLE workloads ADD COLUMN cluster TEXT NOT NULL DEFAULT 'default';
ALTER TABLE workloads ALTER COLUMN cluster DROP DEFAULT;
DROP INDEX workloads_by_age;
CREATE INDEX workloads_by_age ON workloads (cluster, namespace, alone, seen_at);

ALTER TABLE workload_places ADD COLUMN cluster TEXT NOT NULL DEFAULT 'default';
ALTER TABLE workload_places ALTER COLUMN cluster DROP DEFAULT;
ALTER TABLE workload_places DROP CONSTRAINT workload_places_pkey;
ALTER TABLE workload_places ADD PRIMARY KEY (cluster, pod_uid);
DROP INDEX workload_places_ended;
CREATE INDEX workload_places_ended ON workload_places (cluster, namespace, ended_at) WHERE ended_at IS NOT NULL;

ALTER TABLE webhooks ADD COLUMN cluster TEXT NOT NULL DEFAULT 'default';
ALTER TABLE webhooks ALTER COLUMN cluster DROP DEFAULT;
ALTER TABLE webhooks DROP CONSTRAINT webhooks_pkey;
ALTER TABLE webhooks ADD PRIMARY KEY (cluster, name);

-- Whose objects the manifests were. Without it, they were applied to the attestor.
ALTER TABLE policies ADD COLUMN cluster TEXT;
