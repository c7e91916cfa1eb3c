//! The statements that write a group, made of parts that are the same on both databases. Each part takes its rows as
//! one JSON array, and what is long out of one string of bytes. Parameters are numbered through all parts, since both
//! databases get all of them at once.

/// The rows of a list. SQLite writes the text of a row anew wherever it is looked at, but once where it is cut off
/// from its list by a limit.
macro_rules! each {
    (sqlite, $list:literal) => {
        concat!("(SELECT value FROM json_each(", $list, ") LIMIT -1)")
    };
    (postgres, $list:literal) => {
        concat!("json_each(", $list, ")")
    };
}

/// A long text, cut out of the bytes of all.
macro_rules! cut {
    (sqlite, $name:literal) => {
        concat!("CAST(", cut!("$11", $name), " AS TEXT)")
    };
    (postgres, $name:literal) => {
        concat!("convert_from(", cut!("$11", $name), ", 'UTF8')")
    };
    ($bytes:literal, $name:literal) => {
        concat!(
            "substr(",
            $bytes,
            ", CAST(j.value ->> '",
            $name,
            "' AS INTEGER), CAST(j.value ->> '",
            $name,
            "_length' AS INTEGER))"
        )
    };
}

macro_rules! hosts {
    ($database:ident) => {
        concat!("UPDATE hosts SET
             firmware_version = COALESCE(hosts.firmware_version, CAST(j.value ->> 'firmware_version' AS BIGINT)),
             reset_count = CAST(j.value ->> 'reset_count' AS BIGINT),
             restart_count = CAST(j.value ->> 'restart_count' AS BIGINT),
             clock = CAST(j.value ->> 'clock' AS BIGINT),
             boot_log = unhex(j.value ->> 'boot_log'),
             verdict = ", cut!($database, "verdict"), ", result = ", cut!($database, "result"), ",
             runtime = j.value ->> 'runtime',
             entry = CAST(j.value ->> 'entry' AS BIGINT), entry_before = hosts.entry,
             standing = j.value ->> 'standing',
             before_change = CASE WHEN hosts.standing = j.value ->> 'standing' THEN hosts.before_change ELSE hosts.entry END
         FROM ", each!($database, "$1"), " AS j WHERE hosts.host = j.value ->> 'host'")
    };
}

macro_rules! boots {
    ($database:ident) => {
        concat!("INSERT INTO boots (host, reset_count, restart_count, challenged_at, received_at, banks, copied)
         SELECT j.value ->> 'host', CAST(j.value ->> 'reset_count' AS BIGINT),
             CAST(j.value ->> 'restart_count' AS BIGINT), CAST(j.value ->> 'challenged_at' AS BIGINT),
             CAST(j.value ->> 'received_at' AS BIGINT), j.value ->> 'banks', CAST(j.value ->> 'copied' AS BIGINT)
         FROM ", each!($database, "$1"), " AS j WHERE true
         ON CONFLICT (host) DO UPDATE SET reset_count = excluded.reset_count,
             restart_count = excluded.restart_count, challenged_at = excluded.challenged_at,
             received_at = excluded.received_at, banks = excluded.banks,
             copied = CASE WHEN boots.copied = 1 THEN 1 ELSE excluded.copied END")
    };
}

macro_rules! answered {
    ($database:ident) => {
        concat!("UPDATE challenges SET evidence = unhex(j.value ->> 'evidence'), answered = CAST(j.value ->> 'entry' AS BIGINT)
         FROM ", each!($database, "$2"), " AS j WHERE challenges.nonce = unhex(j.value ->> 'nonce')")
    };
}

macro_rules! answers {
    ($database:ident) => {
        concat!(
            "INSERT INTO answers (id, answer) SELECT CAST(j.value ->> 'entry' AS BIGINT), ",
            cut!($database, "answer"),
            " FROM ",
            each!($database, "$2"),
            " AS j"
        )
    };
}

macro_rules! challenges {
    ($database:ident) => {
        concat!(
            "INSERT INTO challenges (nonce, host, pcrs, issued_at, expires_at, floor)
         SELECT unhex(j.value ->> 'nonce'), j.value ->> 'host', j.value ->> 'pcrs',
             CAST(j.value ->> 'issued_at' AS BIGINT), CAST(j.value ->> 'expires_at' AS BIGINT),
             j.value ->> 'floor'
         FROM ",
            each!($database, "$3"),
            " AS j"
        )
    };
}

macro_rules! evidence {
    ($database:ident) => {
        concat!("INSERT INTO evidence (entry, digest, host, received_at, body, boot_log, boot_log_at)
         SELECT CAST(j.value ->> 'entry' AS BIGINT), unhex(j.value ->> 'digest'), j.value ->> 'host',
             CAST(j.value ->> 'received_at' AS BIGINT), ", cut!("$5", "body"), ",
             unhex(j.value ->> 'boot_log'), CAST(j.value ->> 'boot_log_at' AS BIGINT)
         FROM ", each!($database, "$4"), " AS j")
    };
}

macro_rules! entries {
    ($database:ident, $rows:literal, $bodies:literal) => {
        concat!(
            "INSERT INTO entries (idx, leaf, body)
         SELECT CAST(j.value ->> 'idx' AS BIGINT), unhex(j.value ->> 'leaf'), ",
            cut!($bodies, "body"),
            "
         FROM ",
            each!($database, $rows),
            " AS j"
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
    hosts!(sqlite),
    ";\n",
    boots!(sqlite),
    ";\n",
    answered!(sqlite),
    ";\n",
    answers!(sqlite),
    ";\n",
    challenges!(sqlite),
    ";\n",
    evidence!(sqlite),
    ";\n",
    entries!(sqlite, "$6", "$7"),
    ";\n",
    tree!()
);

/// All parts of a group, within a transaction; they see one state of the database, and none writes what another one
/// reads.
pub(super) const POSTGRES: &str = concat!(
    "WITH a AS (",
    hosts!(postgres),
    "), b AS (",
    boots!(postgres),
    "), c AS (",
    answered!(postgres),
    "), d AS (",
    answers!(postgres),
    "), e AS (",
    challenges!(postgres),
    "), f AS (",
    evidence!(postgres),
    "), g AS (",
    entries!(postgres, "$6", "$7"),
    ")\n",
    tree!()
);

/// Entries alone, whole: one hand-over to SQLite's thread. Upon a log that was moved meanwhile it breaks the constraint
/// of the tree's size, and the transaction stays open.
pub(super) const APPEND: &str = concat!(
    "BEGIN IMMEDIATE;\n",
    entries!(sqlite, "$1", "$2"),
    ";\nUPDATE tree SET size = CASE WHEN size = $5 THEN $3 END, frontier = $4 WHERE id = 1;\nCOMMIT"
);
