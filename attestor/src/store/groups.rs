//! Rounds and entries that are committed together: one statement on PostgreSQL, one hand-over to SQLite's
//! thread, however many they are.
//!
//! Each part below takes its rows as one JSON array, and what is long as one string of bytes from which it is cut:
//! text in an array is escaped, parsed and rendered again for each part that looks at its row.
//! Parameters are numbered through all parts, since both databases get all of them at once.

use serde::Serialize;
use sqlx::Database;
use sqlx::query::Query;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::ima::ImaState;
use touchstone_evidence::transparency::{Frontier, LeafHash};

use super::boots::Boot;
use super::held::Snapshot;
use super::hosts::QuoteClock;
use super::rounds::StoredChallenge;
use super::{Connection, StoreError, Tx};

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
    () => {
        "INSERT INTO entries (idx, leaf, body)
         SELECT CAST(j.value ->> 'idx' AS BIGINT), unhex(j.value ->> 'leaf'),
             substr($7, CAST(j.value ->> 'start' AS INTEGER), CAST(j.value ->> 'length' AS INTEGER))
         FROM json_each($6) AS j"
    };
}

macro_rules! tree {
    () => {
        "UPDATE tree SET size = $8, frontier = $9 WHERE id = 1 AND size = $10"
    };
}

const SQLITE: &str = concat!(
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
    entries!(),
    ";\n",
    tree!()
);

/// The parts see one state of the database, and none writes what another one reads.
const POSTGRES: &str = concat!(
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
    entries!(),
    ")\n",
    tree!()
);

/// A round that moves its host, as it is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RoundRow<'a> {
    pub(crate) host: &'a str,
    pub(crate) quote: &'a QuoteClock,
    pub(crate) boot_log: &'a Sha256Digest,
    pub(crate) runtime: Option<&'a ImaState>,
    pub(crate) verdict: &'a str,
    /// What counts of the verdict: another one is a change.
    pub(crate) standing: &'a Sha256Digest,
    /// Index of its entry.
    pub(crate) entry: u64,
    pub(crate) result: &'a str,
    pub(crate) boot: &'a Boot,
}

#[derive(Serialize)]
struct HostJson {
    host: String,
    firmware_version: i64,
    reset_count: i64,
    restart_count: i64,
    clock: i64,
    boot_log: Sha256Digest,
    verdict: usize,
    verdict_length: usize,
    result: usize,
    result_length: usize,
    runtime: Option<String>,
    entry: u64,
    standing: Sha256Digest,
    challenged_at: i64,
    received_at: i64,
    banks: Option<String>,
    copied: i64,
}

#[derive(Serialize)]
struct AnsweredJson {
    nonce: String,
    evidence: Sha256Digest,
    answer: usize,
    answer_length: usize,
}

#[derive(Serialize)]
struct ChallengeJson {
    nonce: String,
    host: String,
    pcrs: String,
    issued_at: i64,
    expires_at: i64,
    floor: String,
}

#[derive(Serialize)]
struct EvidenceJson {
    digest: Sha256Digest,
    host: String,
    received_at: i64,
    start: usize,
    length: usize,
}

#[derive(Serialize)]
struct EntryJson {
    idx: u64,
    leaf: Sha256Digest,
    start: usize,
    length: usize,
}

/// What is to be written together. Each host, nonce and piece of evidence is in it once at most.
#[derive(Default)]
pub(crate) struct Group {
    hosts: Vec<HostJson>,
    answered: Vec<AnsweredJson>,
    challenges: Vec<ChallengeJson>,
    evidence: Vec<EvidenceJson>,
    evidence_bytes: Vec<u8>,
    entries: Vec<EntryJson>,
    entry_bytes: Vec<u8>,
    texts: Vec<u8>,
    frontier: Frontier,
    size_before: u64,
    policy: Option<Sha256Digest>,
}

impl Group {
    /// Nothing yet, upon the log and the policies as they were seen in the transaction that will write it.
    pub(crate) fn upon(seen: &Snapshot) -> Self {
        Self {
            size_before: seen.frontier.size(),
            frontier: seen.frontier.clone(),
            policy: seen.policy,
            ..Self::default()
        }
    }

    /// Digest of the newest policies; `None`: there never were any.
    pub(crate) fn policy_in_force(&self) -> Option<&Sha256Digest> {
        self.policy.as_ref()
    }

    /// Moves a host forward. That the round is newer than the last one was checked in this transaction.
    pub(crate) fn advance(&mut self, round: RoundRow<'_>) -> Result<(), StoreError> {
        let RoundRow { quote, boot, .. } = round;
        let runtime = round.runtime.map(serde_json::to_string).transpose();
        self.hosts.push(HostJson {
            host: round.host.to_owned(),
            firmware_version: quote.firmware_version,
            reset_count: quote.reset_count,
            restart_count: quote.restart_count,
            clock: quote.clock,
            boot_log: *round.boot_log,
            verdict: add(&mut self.texts, round.verdict.as_bytes()),
            verdict_length: round.verdict.len(),
            result: add(&mut self.texts, round.result.as_bytes()),
            result_length: round.result.len(),
            runtime: runtime.map_err(|_| StoreError::Malformed("runtime list state"))?,
            entry: round.entry,
            standing: *round.standing,
            challenged_at: boot.window.challenged_at,
            received_at: boot.window.received_at,
            banks: boot.banks.clone(),
            copied: i64::from(boot.copied),
        });
        Ok(())
    }

    /// Consumes a challenge.
    pub(crate) fn answer(&mut self, nonce: &[u8], evidence: &Sha256Digest, answer: &str) {
        self.answered.push(AnsweredJson {
            nonce: hex::encode(nonce),
            evidence: *evidence,
            answer: add(&mut self.texts, answer.as_bytes()),
            answer_length: answer.len(),
        });
    }

    /// Keeps a new challenge.
    pub(crate) fn challenge(
        &mut self,
        nonce: &[u8; 32],
        challenge: &StoredChallenge,
    ) -> Result<(), StoreError> {
        let (pcrs, floor) = challenge.json()?;
        self.challenges.push(ChallengeJson {
            nonce: hex::encode(nonce),
            host: challenge.host.as_str().to_owned(),
            pcrs,
            issued_at: challenge.issued_at,
            expires_at: challenge.expires_at,
            floor,
        });
        Ok(())
    }

    /// Keeps raw evidence under its digest.
    pub(crate) fn evidence(&mut self, digest: &Sha256Digest, host: &str, now: i64, body: &[u8]) {
        let start = add(&mut self.evidence_bytes, body);
        self.evidence.push(EvidenceJson {
            digest: *digest,
            host: host.to_owned(),
            received_at: now,
            start,
            length: body.len(),
        });
    }

    /// Appends an entry to the log and returns its index.
    pub(crate) fn append(&mut self, body: &[u8]) -> Result<u64, StoreError> {
        let leaf = LeafHash::of(body);
        let index = self.frontier.append(leaf);
        let idx = index.map_err(|_| StoreError::Malformed("tree"))?;
        let start = add(&mut self.entry_bytes, body);
        self.entries.push(EntryJson {
            idx,
            leaf: leaf.digest(),
            start,
            length: body.len(),
        });
        Ok(idx)
    }

    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.challenges.is_empty()
    }
}

/// Where `bytes` begin in `all`, counted from 1 as `substr` does.
fn add(all: &mut Vec<u8>, bytes: &[u8]) -> usize {
    let start = all.len().saturating_add(1);
    all.extend_from_slice(bytes);
    start
}

impl Tx {
    /// Writes all of `group`.
    pub(crate) async fn write_group(&mut self, group: Group) -> Result<(), StoreError> {
        match &mut self.0 {
            Connection::Sqlite(transaction) => {
                let query = bind(sqlx::query(SQLITE), group)?;
                query.execute(&mut **transaction).await?;
            }
            Connection::Postgres(transaction) => {
                let query = bind(sqlx::query(POSTGRES), group)?;
                let moved = query.execute(&mut **transaction).await?.rows_affected();
                if moved != 1 {
                    return Err(StoreError::Malformed("tree"));
                }
            }
        }
        Ok(())
    }
}

fn bind<D>(
    query: Query<'_, D, D::Arguments>,
    group: Group,
) -> Result<Query<'_, D, D::Arguments>, StoreError>
where
    D: Database,
    String: sqlx::Type<D> + for<'q> sqlx::Encode<'q, D>,
    Vec<u8>: sqlx::Type<D> + for<'q> sqlx::Encode<'q, D>,
    i64: sqlx::Type<D> + for<'q> sqlx::Encode<'q, D>,
{
    let size = |size: u64| i64::try_from(size).map_err(|_| StoreError::Malformed("tree"));
    Ok(query
        .bind(json(&group.hosts)?)
        .bind(json(&group.answered)?)
        .bind(json(&group.challenges)?)
        .bind(json(&group.evidence)?)
        .bind(group.evidence_bytes)
        .bind(json(&group.entries)?)
        .bind(group.entry_bytes)
        .bind(size(group.frontier.size())?)
        .bind(group.frontier.to_bytes())
        .bind(size(group.size_before)?)
        .bind(group.texts))
}

fn json(rows: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(rows).map_err(|_| StoreError::Malformed("list"))
}

#[cfg(test)]
mod tests;
