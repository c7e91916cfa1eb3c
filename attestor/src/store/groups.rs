//! Rounds and entries that are committed together: one statement, however many they are.
//!
//! What is long goes as one string of bytes from which it is cut: text in an array is escaped, parsed and rendered
//! again for each part that looks at its row.

mod sql;

use serde::Serialize;
use sqlx::Database;
use sqlx::query::Query;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::ima::ImaState;
use touchstone_evidence::transparency::{Frontier, LeafHash};

use super::boots::Boot;
use super::evidence::RawEvidence;
use super::held::Snapshot;
use super::hosts::QuoteClock;
use super::rounds::StoredChallenge;
use super::{Backend, Connection, Store, StoreError, Tx};
use sql::{APPEND, POSTGRES, SQLITE};

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
    entry: u64,
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
    entry: u64,
    digest: Sha256Digest,
    host: String,
    received_at: i64,
    body: usize,
    body_length: usize,
    boot_log: Option<Sha256Digest>,
    boot_log_at: Option<usize>,
}

#[derive(Serialize)]
struct EntryJson {
    idx: u64,
    leaf: Sha256Digest,
    body: usize,
    body_length: usize,
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

    /// Nothing yet, upon the log as it was left by the last group, and for entries alone.
    pub(crate) fn of_entries(edge: &Frontier) -> Self {
        Self {
            size_before: edge.size(),
            frontier: edge.clone(),
            ..Self::default()
        }
    }

    /// The right edge of the log once this is written.
    pub(crate) fn edge(&self) -> &Frontier {
        &self.frontier
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

    /// Consumes a challenge. `entry`: index of the round's entry.
    pub(crate) fn answer(
        &mut self,
        entry: u64,
        nonce: &[u8],
        evidence: &Sha256Digest,
        answer: &str,
    ) {
        self.answered.push(AnsweredJson {
            nonce: hex::encode(nonce),
            evidence: *evidence,
            entry,
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

    /// Keeps the evidence of a round. `entry`: index of its entry.
    pub(crate) fn evidence(
        &mut self,
        entry: u64,
        host: &str,
        now: i64,
        evidence: &RawEvidence<'_>,
    ) {
        let (before, after) = evidence.parts;
        let body = add(&mut self.evidence_bytes, before);
        self.evidence_bytes.extend_from_slice(after);
        self.evidence.push(EvidenceJson {
            entry,
            digest: evidence.digest,
            host: host.to_owned(),
            received_at: now,
            body,
            body_length: before.len().saturating_add(after.len()),
            boot_log: evidence.boot_log,
            boot_log_at: evidence.boot_log.map(|_| before.len()),
        });
    }

    /// Appends an entry to the log and returns its index.
    pub(crate) fn append(&mut self, body: &[u8]) -> Result<u64, StoreError> {
        let leaf = LeafHash::of(body);
        let index = self.frontier.append(leaf);
        let idx = index.map_err(|_| StoreError::Malformed("tree"))?;
        self.entries.push(EntryJson {
            idx,
            leaf: leaf.digest(),
            body: add(&mut self.entry_bytes, body),
            body_length: body.len(),
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

impl Store {
    /// Whether [`Store::append_group`] is there.
    pub(crate) fn appends_at_once(&self) -> bool {
        matches!(self.backend, Backend::Sqlite { .. })
    }

    /// Commits a group of entries alone, if the log is as the group began; an error: nothing of it happened.
    pub(crate) async fn append_group(&self, group: Group) -> Result<(), StoreError> {
        let Backend::Sqlite { writer, .. } = &self.backend else {
            return Err(StoreError::Unavailable);
        };
        if self.is_fenced() {
            return Err(StoreError::Fenced);
        }
        let mut connection = writer.acquire().await?;
        let outcome = sqlx::query(APPEND)
            .bind(json(&group.entries)?)
            .bind(group.entry_bytes)
            .bind(position(group.frontier.size())?)
            .bind(group.frontier.to_bytes())
            .bind(position(group.size_before)?)
            .execute(&mut *connection)
            .await;
        if outcome.is_err()
            && sqlx::query("ROLLBACK")
                .execute(&mut *connection)
                .await
                .is_err()
        {
            // SQLite ended the transaction itself, or the connection is of no more use.
            let _closed = connection.close().await;
        }
        Ok(outcome.map(drop)?)
    }
}

fn position(size: u64) -> Result<i64, StoreError> {
    i64::try_from(size).map_err(|_| StoreError::Malformed("tree"))
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
    Ok(query
        .bind(json(&group.hosts)?)
        .bind(json(&group.answered)?)
        .bind(json(&group.challenges)?)
        .bind(json(&group.evidence)?)
        .bind(group.evidence_bytes)
        .bind(json(&group.entries)?)
        .bind(group.entry_bytes)
        .bind(position(group.frontier.size())?)
        .bind(group.frontier.to_bytes())
        .bind(position(group.size_before)?)
        .bind(group.texts))
}

fn json(rows: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(rows).map_err(|_| StoreError::Malformed("list"))
}

#[cfg(test)]
mod tests;
