-- When the last current tag of a revoked authority was taken back; NULL: some may be left. Until now all of them were
-- taken back together with it.
ALTER TABLE location_authorities ADD COLUMN swept_at BIGINT;
UPDATE location_authorities SET swept_at = revoked_at;
