-- Keys under which the keys of encrypted layers are wrapped. `registered`: 1 where a registered image is demanded.
-- `state`: active, disabled or destroyed. `version`: the one that wraps.
CREATE TABLE layer_keys (
    name TEXT PRIMARY KEY,
    policy TEXT NOT NULL,
    registered BIGINT NOT NULL,
    state TEXT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    destroyed_at BIGINT
);

-- `wrapped`: the key, encrypted under the master key with the id `master`; both are absent once it is destroyed.
CREATE TABLE layer_key_versions (
    name TEXT NOT NULL REFERENCES layer_keys (name),
    version BIGINT NOT NULL,
    wrapped BYTEA,
    master TEXT,
    origin TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (name, version)
);

-- Private keys that a key from elsewhere is encrypted to, once; encrypted under the master key like the others.
CREATE TABLE import_keys (
    id TEXT PRIMARY KEY,
    wrapped BYTEA NOT NULL,
    master TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

-- Images that were registered, by the digest of their manifest. `layers`: JSON. `encrypted`: whether all layers are.
CREATE TABLE images (
    manifest BYTEA PRIMARY KEY,
    reference TEXT NOT NULL,
    config BYTEA NOT NULL,
    layers TEXT NOT NULL,
    encrypted BIGINT NOT NULL,
    publisher TEXT NOT NULL,
    registered_at BIGINT NOT NULL
);

-- The plain layers in a registered image, and the keys that they are wrapped under: proven when it was registered.
CREATE TABLE image_layer_keys (
    manifest BYTEA NOT NULL REFERENCES images (manifest),
    layer BYTEA NOT NULL,
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (manifest, layer, name, version)
);
