-- What the last accepted round of a host says of the boot that it was in. It counts only beside the
-- counters in `hosts`: another boot, or another key, starts anew.
CREATE TABLE boots (
    host TEXT PRIMARY KEY,
    reset_count INTEGER NOT NULL,
    restart_count INTEGER NOT NULL,
    challenged_at INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    -- The active PCR banks, once the boot log was replayed in all of them.
    banks TEXT,
    -- 1: a copy of the TPM spoke in this boot.
    copied INTEGER NOT NULL
) STRICT;

-- Counters and clock that the host's key had shown when the challenge was made, JSON.
ALTER TABLE challenges ADD COLUMN floor TEXT;
