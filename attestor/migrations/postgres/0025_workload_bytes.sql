-- `bytes`: how long `images` is, so that what a namespace keeps is counted without reading it.
ALTER TABLE workloads ADD COLUMN bytes BIGINT;
UPDATE workloads SET bytes = octet_length(images);
ALTER TABLE workloads ALTER COLUMN bytes SET NOT NULL;
DROP INDEX workloads_by_age;
CREATE INDEX workloads_by_age ON workloads (cluster, namespace, alone, seen_at, bytes);
