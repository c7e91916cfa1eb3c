//! The statements that write a group, made of parts that are the same on both databases. Each part takes its rows as
//! one JSON array, and what is long out of one string of bytes. Parameters are numbered through all parts, since both
//! databases get all of them at once.

/// A long text, cut out of the bytes of all: `$cast` and `$end` make a text of bytes.
macro_rules! cut {
    ($cast:literal, $end:literal, $name:literal) => {
        concat!(
            $cast,
            "substr($11, CAST(j.value ->> '",
            $name,
            "' AS INTEGER), CAST(j.value ->> '",
            $name,
            "_length' AS INTEGER))",
            $end
        )
    };
}

macro_rules! hosts {
    ($cast:literal, $end:literal) => {
        concat!("UPDATE hosts SET
             firmware_version = COALESCE(hosts.firmware_version, CAST(j.value ->> 'firmware_version' AS BIGINT)),
             reset_count = CAST(j.value ->> 'reset_count' AS BIGINT),
             restart_count = CAST(j.value ->> 'restart_count' AS BIGINT),
             clock = CAST(j.value ->> 'clock' AS BIGINT),
             boot_log = unhex(j.value ->> 'boot_log'),
             verdict = ", cut!($cast, $end, "verdict"), ", result = ", cut!($cast, $end, "result"), ",
             runtime = j.value ->> 'runtime',
             entry = CAST(j.value ->> 'entry' AS BIGINT), entry_before = hosts.entry,
             standing = j.value ->> 'standing',
             before_change = CASE WHEN hosts.standing = j.value ->> 'standing' THEN hosts.before_change ELSE hosts.entry END
         FROM json_each($1) AS j WHERE hosts.host = j.value ->> 'host'")
    };
}

macro_rules! boots {
    () => {
        "INSERT INTO boots (host, reset_count, restart_count, challenged_at, received_at, banks, copied)
         SELECT j.value ->> 'host', CAST(j.value ->> 'reset_count' AS BIGINT),
             CAST(j.value ->> 'restart_count' AS BIGINT), CAST(j.value ->> 'challenged_at' AS BIGINT),
             CAST(j.value ->> 'received_at' AS BIGINT), j.value ->> 'banks', CAST(j.value ->> 'copied' AS BIGINT)
         FROM json_each($1) AS j WHERE true
         ON CONFLICT (host) DO UPDATE SET reset_count = excluded.reset_count,
             restart_count = excluded.restart_count, challenged_at = excluded.challenged_at,
             received_at = excluded.received_at, banks = excluded.banks,
             copied = CASE WHEN boots.copied = 1 THEN 1 ELSE excluded.copied END"
    };
}

macro_rules! answered {
    ($cast:literal, $end:literal) => {
        concat!(
            "UPDATE challenges SET evidence = unhex(j.value ->> 'evidence'), answer = ",
            cut!($cast, $end, "answer"),
            "
         FROM json_each($2) AS j WHERE challenges.nonce = unhex(j.value ->> 'nonce')"
        )
    };
}

macro_rules! challenges {
    () => {
        "INSERT INTO challenges (nonce, host, pcrs, issued_at, expires_at, floor)
         SELECT unhex(j.value ->> 'nonce'), j.value ->> 'host', j.value ->> 'pcrs',
             CAST(j.value ->> 'issued_at' AS BIGINT), CAST(j.value ->> 'expires_at' AS BIGINT),
             j.value ->> 'floor'
         FROM json_each($3) AS j"
    };
}

macro_rules! evidence {
    () => {
        "INSERT INTO evidence (digest, host, received_at, body)
         SELECT unhex(j.value ->> 'digest'), j.value ->> 'host', CAST(j.value ->> 'received_at' AS BIGINT),
             substr($5, CAST(j.value ->> 'start' AS INTEGER), CAST(j.value ->> 'length' AS INTEGER))
         FROM json_each($4) AS j WHERE true ON CONFLICT DO NOTHING"
    };
}

macro_rules! entries {
    ($rows:literal, $bodies:literal) => {
        concat!(
            "INSERT INTO entries (idx, leaf, body)
         SELECT CAST(j.value ->> 'idx' AS BIGINT), unhex(j.value ->> 'leaf'),
             substr(",
            $bodies,
            ", CAST(j.value ->> 'start' AS INTEGER), CAST(j.value ->> 'length' AS INTEGER))
         FROM json_each(",
            $rows,
            ") AS j"
        )
    };
}

macro_rules! tree {
    () => {
        "UPDATE tree SET size = $8, frontier = $9 WHERE id = 1 AND size = $10"
    };
}

/// All parts of a group, within a transaction.
pub(super) const SQLITE: &str = concat!(
    hosts!("CAST(", " AS TEXT)"),
    ";\n",
    boots!(),
    ";\n",
    answered!("CAST(", " AS TEXT)"),
    ";\n",
    challenges!(),
    ";\n",
    evidence!(),
    ";\n",
    entries!("$6", "$7"),
    ";\n",
    tree!()
);

/// All parts of a group, within a transaction; they see one state of the database, and none writes what another one
/// reads.
pub(super) const POSTGRES: &str = concat!(
    "WITH a AS (",
    hosts!("convert_from(", ", 'UTF8')"),
    "), b AS (",
    boots!(),
    "), c AS (",
    answered!("convert_from(", ", 'UTF8')"),
    "), d AS (",
    challenges!(),
    "), e AS (",
    evidence!(),
    "), f AS (",
    entries!("$6", "$7"),
    ")\n",
    tree!()
);

/// Entries alone, whole: one hand-over to SQLite's thread. Upon a log that was moved meanwhile it breaks the constraint
/// of the tree's size, and the transaction stays open.
pub(super) const APPEND: &str = concat!(
    "BEGIN IMMEDIATE;\n",
    entries!("$1", "$2"),
    ";\nUPDATE tree SET size = CASE WHEN size = $5 THEN $3 END, frontier = $4 WHERE id = 1;\nCOMMIT"
);
