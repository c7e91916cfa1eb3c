-- What a round looks up by host must not cost more for a larger fleet.
CREATE INDEX inventory_eks_by_host ON inventory_eks (host);
CREATE INDEX nodes_by_host ON nodes (host);

-- Statements over a group of rows take them as one JSON array. With these, they read alike on both databases.
CREATE FUNCTION json_each(list TEXT) RETURNS TABLE (value JSON) LANGUAGE sql IMMUTABLE STRICT
    AS $$ SELECT json_array_elements(list::json) $$;
CREATE FUNCTION unhex(digits TEXT) RETURNS BYTEA LANGUAGE sql IMMUTABLE STRICT
    AS $$ SELECT decode(digits, 'hex') $$;
CREATE FUNCTION hex(bytes BYTEA) RETURNS TEXT LANGUAGE sql IMMUTABLE STRICT
    AS $$ SELECT encode(bytes, 'hex') $$;
