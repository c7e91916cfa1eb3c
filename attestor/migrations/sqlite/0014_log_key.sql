-- Exchanges of the key that signs the audit log's heads. `idx`: the entry that says so, from which on the log is at
-- `checkpoint_key`. `note`: the head whose last entry it is, signed by the old key and the new one; absent until it
-- is signed, after the entry was committed.
CREATE TABLE key_exchanges (
    idx INTEGER PRIMARY KEY REFERENCES entries (idx),
    checkpoint_key TEXT NOT NULL UNIQUE,
    note TEXT
) STRICT;
