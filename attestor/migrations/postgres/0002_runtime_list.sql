-- Where replay of the host's runtime list stands, as JSON; NULL before a list was accepted.
ALTER TABLE hosts ADD COLUMN runtime TEXT;
