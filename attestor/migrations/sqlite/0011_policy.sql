-- Indices of entries in the log: of a host's last accepted round, of the one before it, which says what the kept
-- evidence was verified from, and of the last round before its verdict became what it is (`standing`).
ALTER TABLE hosts ADD COLUMN entry INTEGER;
ALTER TABLE hosts ADD COLUMN entry_before INTEGER;
ALTER TABLE hosts ADD COLUMN standing TEXT;
ALTER TABLE hosts ADD COLUMN before_change INTEGER;
