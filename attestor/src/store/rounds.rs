//! Challenges and boot logs.

use touchstone_evidence::continuity::Reading;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::pcr::PcrSelection;

use super::log::digest;
use super::nodes::host_id;
use super::{Connection, StoreError, Tx, on};

/// A challenge, and what answered it.
#[derive(Clone, Debug)]
pub(crate) struct StoredChallenge {
    /// Whom it was given to.
    pub(crate) host: HostId,
    /// What must be quoted.
    pub(crate) pcrs: PcrSelection,
    /// What the host's key had shown when the challenge was made.
    pub(crate) floor: Option<Reading>,
    /// Seconds since 1970.
    pub(crate) issued_at: i64,
    /// Seconds since 1970.
    pub(crate) expires_at: i64,
    /// What consumed it.
    pub(crate) answered: Option<Answered>,
}

/// What consumed a challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    /// Digest of the evidence.
    pub(crate) evidence: Sha256Digest,
    /// The answer that was given, while it is kept for a host that lost it.
    pub(crate) answer: Option<String>,
}

impl StoredChallenge {
    /// Selection and floor as they are kept.
    pub(super) fn json(&self) -> Result<(String, String), StoreError> {
        let pcrs = serde_json::to_string(&self.pcrs);
        let floor = serde_json::to_string(&self.floor);
        Ok((
            pcrs.map_err(|_| StoreError::Malformed("PCR selection"))?,
            floor.map_err(|_| StoreError::Malformed("floor"))?,
        ))
    }
}

/// Most challenges of one host that wait for an answer: enough for one that lost a few, too few to
/// fill the table with.
const UNANSWERED_MAX: i64 = 8;

/// Deletes the unanswered challenges of a host that are beyond the latest ones; `$within`: their order within a second.
macro_rules! oldest {
    ($within:literal) => {
        concat!(
            "DELETE FROM challenges WHERE nonce IN (
                 SELECT nonce FROM challenges WHERE host = $1 AND evidence IS NULL AND nonce <> $2
                 ORDER BY issued_at DESC, ",
            $within,
            " LIMIT 1000 OFFSET $3)"
        )
    };
}

pub(super) type Row = (
    String,
    String,
    i64,
    i64,
    Option<Vec<u8>>,
    Option<String>,
    Option<String>,
);

/// Reads a challenge out of its columns.
pub(super) fn challenge(row: Row) -> Result<StoredChallenge, StoreError> {
    let (host, pcrs, issued_at, expires_at, evidence, answer, floor) = row;
    let evidence = evidence.as_deref().map(digest).transpose()?;
    let answered = evidence.map(|evidence| Answered { evidence, answer });
    Ok(StoredChallenge {
        host: host_id(&host)?,
        pcrs: serde_json::from_str(&pcrs).map_err(|_| StoreError::Malformed("PCR selection"))?,
        floor: match floor.as_deref().map(serde_json::from_str).transpose() {
            Ok(floor) => floor.flatten(),
            Err(_) => return Err(StoreError::Malformed("floor")),
        },
        issued_at,
        expires_at,
        answered,
    })
}

impl Tx {
    /// Keeps a new challenge, and forgets the host's oldest beyond [`UNANSWERED_MAX`].
    pub(crate) async fn add_challenge(
        &mut self,
        nonce: &[u8; 32],
        challenge: &StoredChallenge,
    ) -> Result<(), StoreError> {
        let (pcrs, floor) = challenge.json()?;
        on!(self, connection => {
            sqlx::query("INSERT INTO challenges (nonce, host, pcrs, issued_at, expires_at, floor) VALUES ($1, $2, $3, $4, $5, $6)")
                .bind(&nonce[..])
                .bind(challenge.host.as_str())
                .bind(pcrs)
                .bind(challenge.issued_at)
                .bind(challenge.expires_at)
                .bind(floor)
                .execute(&mut *connection)
                .await?;
        });
        self.forget_oldest_challenges(&challenge.host, nonce).await
    }

    /// Forgets the oldest challenges of `host` that wait for an answer, beyond [`UNANSWERED_MAX`] and `newest`.
    pub(crate) async fn forget_oldest_challenges(
        &mut self,
        host: &HostId,
        newest: &[u8],
    ) -> Result<(), StoreError> {
        // Many are of one second. What was inserted later is newer: by row on SQLite, by transaction on PostgreSQL.
        let statement = match &self.0 {
            Connection::Sqlite(_) => oldest!("rowid DESC"),
            Connection::Postgres(_) => oldest!("age(xmin)"),
        };
        on!(self, connection => {
            sqlx::query(statement)
                .bind(host.as_str())
                .bind(newest)
                .bind(UNANSWERED_MAX)
                .execute(connection)
                .await?;
        });
        Ok(())
    }

    /// Forgets challenges that expired before `before`, with their answers.
    pub(crate) async fn forget_challenges(&mut self, before: i64) -> Result<(), StoreError> {
        on!(self, connection => {
            for statement in [
                "DELETE FROM answers WHERE id IN (SELECT answered FROM challenges WHERE expires_at < $1)",
                "DELETE FROM challenges WHERE expires_at < $1",
            ] {
                sqlx::query(statement)
                    .bind(before)
                    .execute(&mut *connection)
                    .await?;
            }
        });
        Ok(())
    }

    /// Forgets the challenges of `host` that nothing has answered; it will ask for a new one.
    pub(crate) async fn forget_unanswered_challenges(
        &mut self,
        host: &HostId,
    ) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("DELETE FROM challenges WHERE host = $1 AND evidence IS NULL")
                .bind(host.as_str())
                .execute(connection)
                .await?;
        });
        Ok(())
    }

    /// Whether what was committed once is there: a standby of PostgreSQL that takes over may lack some of it.
    pub(crate) fn forgets_nothing(&self) -> bool {
        matches!(self.0, Connection::Sqlite(_))
    }

    /// Keeps a boot log under its digest; logs that are the same are kept once.
    pub(crate) async fn add_boot_log(
        &mut self,
        log: &Sha256Digest,
        body: &[u8],
    ) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("INSERT INTO boot_logs (digest, body) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                .bind(&log.0[..])
                .bind(body)
                .execute(connection)
                .await?;
        });
        Ok(())
    }

    /// The boot log with this digest.
    pub(crate) async fn boot_log(
        &mut self,
        log: &Sha256Digest,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let row: Option<(Vec<u8>,)> = on!(self, connection => {
            sqlx::query_as("SELECT body FROM boot_logs WHERE digest = $1")
                .bind(&log.0[..])
                .fetch_optional(connection)
                .await?
        });
        Ok(row.map(|(body,)| body))
    }
}
