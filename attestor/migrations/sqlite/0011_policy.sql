-- Indices of entries in the log: of a host's last accepted round, of the one before it, which says what the kept
-- evidence was verified from, and of the last round before its verdict became what it is (`standing`).
ALTER TABLE hosts ADD COLUMN entry INTEGER;
ALTER TABLE hosts ADD COLUMN entry_before INTEGER;
ALTER TABLE hosts ADD COLUMN standing TEXT;
ALTER TABLE hosts ADD COLUMN before_change INTEGER;

-- Of the current tag: whether it was taken back, whether a round proved it, and the place (JSON) that the host had
-- proven before it.
ALTER TABLE location_tags ADD COLUMN revoked INTEGER NOT NULL DEFAULT 0;
ALTER TABLE location_tags ADD COLUMN proven INTEGER NOT NULL DEFAULT 0;
ALTER TABLE location_tags ADD COLUMN moved_from TEXT;

-- Every tag that a host ever had. Times are NULL where they were not kept yet.
CREATE TABLE location_history (
    host TEXT NOT NULL,
    serial INTEGER NOT NULL,
    tag BLOB NOT NULL,
    issued_at INTEGER,
    proven_at INTEGER,
    ended_at INTEGER,
    ended_by TEXT,
    PRIMARY KEY (host, serial)
) STRICT;
INSERT INTO location_history (host, serial, tag, ended_by)
    SELECT host, serial, tag, CASE WHEN void = 1 THEN 'void' END FROM location_tags;

ALTER TABLE location_authorities ADD COLUMN revoked_at INTEGER;

-- Reference values that were captured from a host and that no officer has activated yet.
CREATE TABLE pending_references (
    name TEXT PRIMARY KEY,
    manifest TEXT NOT NULL,
    host TEXT NOT NULL,
    evidence BLOB NOT NULL,
    captured_at INTEGER NOT NULL
) STRICT;
