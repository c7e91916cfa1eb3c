-- SHA-256 of the service account token by which the node was found to be this host. Without it, an operator said so.
ALTER TABLE nodes ADD COLUMN token BYTEA;
