-- What workloads were made of, at the first admission of a pod of each. `id`: SHA-256 over namespace, kind, name, uid and
-- revision. `alone`: 1 for a pod without a controller. `images`: JSON. `entry`: leaf hash of that admission's entry.
-- `seen_at`: when a pod of it was last seen, to the hour.
CREATE TABLE workloads (
    id BYTEA PRIMARY KEY,
    namespace TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    uid TEXT NOT NULL,
    revision TEXT NOT NULL,
    alone BIGINT NOT NULL,
    images TEXT NOT NULL,
    entry BYTEA NOT NULL,
    recorded_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL
);
CREATE INDEX workloads_by_age ON workloads (namespace, alone, seen_at);
CREATE INDEX workloads_by_name ON workloads (namespace, name);

-- Where pods of controllers run, and where those ran that ended and that no other pod followed yet.
CREATE TABLE workload_places (
    pod_uid TEXT PRIMARY KEY,
    workload BYTEA NOT NULL,
    namespace TEXT NOT NULL,
    pod TEXT NOT NULL,
    node TEXT NOT NULL,
    host TEXT,
    bound_at BIGINT NOT NULL,
    ended_at BIGINT
);
CREATE INDEX workload_places_ended ON workload_places (namespace, ended_at) WHERE ended_at IS NOT NULL;

-- Pods that came after others of their workload, the last ones of each. `entry`: leaf hash of its entry. `body`: JSON.
CREATE TABLE workload_moves (
    entry BYTEA PRIMARY KEY,
    workload BYTEA NOT NULL,
    moved_at BIGINT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX workload_moves_of ON workload_moves (workload, moved_at);
