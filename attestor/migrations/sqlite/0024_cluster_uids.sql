-- Which cluster a name is of: the uid of its namespace `kube-system`, as whoever spoke to it first under that name found it.
-- Names from before have none; whoever speaks to their cluster next says which.
CREATE TABLE clusters (
    name TEXT PRIMARY KEY,
    uid TEXT NOT NULL,
    bound_at INTEGER NOT NULL
) STRICT;

-- Boots of a node that no entry tells of yet: which one the last entry told, and how many came since. Nothing: the one that was
-- seen last is told.
ALTER TABLE nodes ADD COLUMN told_boot TEXT;
ALTER TABLE nodes ADD COLUMN untold_boots INTEGER;
