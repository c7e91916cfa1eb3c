//! Genuine TPMs that wait for an operator's word.

use serde::{Deserialize, Serialize};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::endorsement::{RootClass, VerifiedEndorsement};

use super::log::digest;
use super::{StoreError, Tx, class, class_word, on};

/// Most TPMs that wait. Beyond it the one that asked longest ago is forgotten: an honest machine asks
/// again and comes back.
const QUARANTINE_MAX: i64 = 1000;

/// What the certificate of an EK says of its TPM, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TpmDescription {
    /// `id:` and eight hexadecimal digits.
    pub(crate) manufacturer: String,
    pub(crate) model: String,
    pub(crate) version: String,
    /// The certificate's subject.
    pub(crate) subject: String,
    /// The certificate's serial number, hexadecimal.
    pub(crate) serial: String,
}

impl TpmDescription {
    /// What `endorsement` says.
    pub(crate) fn of(endorsement: &VerifiedEndorsement) -> Self {
        Self {
            manufacturer: endorsement.manufacturer().to_string(),
            model: endorsement.model().to_owned(),
            version: endorsement.version().to_owned(),
            subject: endorsement.certificate_subject().to_owned(),
            serial: endorsement.certificate_serial(),
        }
    }
}

/// A TPM in quarantine.
#[derive(Clone, Debug)]
pub(crate) struct Quarantined {
    pub(crate) ek_digest: Sha256Digest,
    pub(crate) root_class: RootClass,
    pub(crate) tpm: TpmDescription,
    /// Id of the join token that it last came with.
    pub(crate) join_token: String,
    /// Seconds since 1970.
    pub(crate) first_seen: i64,
    /// Seconds since 1970.
    pub(crate) last_seen: i64,
    /// How often it asked.
    pub(crate) seen: i64,
    /// An operator said that it is not ours.
    pub(crate) rejected: bool,
}

type Row = (Vec<u8>, String, String, String, i64, i64, i64, i64);

impl Tx {
    /// Notes that a TPM asked to be enrolled at `now`; returns whether an operator rejected it.
    pub(crate) async fn note_in_quarantine(
        &mut self,
        ek: &Sha256Digest,
        root_class: RootClass,
        tpm: &TpmDescription,
        join_token: &str,
        now: i64,
    ) -> Result<bool, StoreError> {
        let tpm =
            serde_json::to_string(tpm).map_err(|_| StoreError::Malformed("TPM description"))?;
        let (rejected,): (i64,) = on!(self, connection => {
            let row = sqlx::query_as(
                "INSERT INTO quarantine (ek_digest, root_class, tpm, join_token, first_seen, last_seen, seen)
                 VALUES ($1, $2, $3, $4, $5, $5, 1)
                 ON CONFLICT (ek_digest) DO UPDATE SET root_class = excluded.root_class, tpm = excluded.tpm,
                     join_token = excluded.join_token, last_seen = excluded.last_seen, seen = quarantine.seen + 1
                 RETURNING rejected",
            )
            .bind(&ek.0[..])
            .bind(class_word(root_class))
            .bind(tpm)
            .bind(join_token)
            .bind(now)
            .fetch_one(&mut *connection)
            .await?;
            sqlx::query(
                "DELETE FROM quarantine WHERE ek_digest IN (
                     SELECT ek_digest FROM quarantine WHERE ek_digest <> $1
                     ORDER BY rejected DESC, last_seen DESC LIMIT 1000 OFFSET $2)",
            )
            .bind(&ek.0[..])
            .bind(QUARANTINE_MAX.saturating_sub(1))
            .execute(connection)
            .await?;
            row
        });
        Ok(rejected != 0)
    }

    /// Every TPM in quarantine, the last seen first.
    pub(crate) async fn quarantine(&mut self) -> Result<Vec<Quarantined>, StoreError> {
        let rows: Vec<Row> = on!(self, connection => {
            sqlx::query_as(
                "SELECT ek_digest, root_class, tpm, join_token, first_seen, last_seen, seen, rejected
                 FROM quarantine ORDER BY last_seen DESC, ek_digest",
            )
            .fetch_all(connection)
            .await?
        });
        rows.into_iter().map(record).collect()
    }

    /// Takes a TPM out of quarantine. `false`: it is not there.
    pub(crate) async fn leave_quarantine(&mut self, ek: &Sha256Digest) -> Result<bool, StoreError> {
        Ok(on!(self, connection => {
            sqlx::query("DELETE FROM quarantine WHERE ek_digest = $1")
                .bind(&ek.0[..])
                .execute(connection)
                .await?
                .rows_affected()
        }) == 1)
    }

    /// Marks a TPM in quarantine as not ours. `false`: it is not there.
    pub(crate) async fn reject_in_quarantine(
        &mut self,
        ek: &Sha256Digest,
    ) -> Result<bool, StoreError> {
        Ok(on!(self, connection => {
            sqlx::query("UPDATE quarantine SET rejected = 1 WHERE ek_digest = $1")
                .bind(&ek.0[..])
                .execute(connection)
                .await?
                .rows_affected()
        }) == 1)
    }
}

fn record(row: Row) -> Result<Quarantined, StoreError> {
    let (ek, root_class, tpm, join_token, first_seen, last_seen, seen, rejected) = row;
    Ok(Quarantined {
        ek_digest: digest(&ek)?,
        root_class: class(&root_class).ok_or(StoreError::Malformed("root class"))?,
        tpm: serde_json::from_str(&tpm).map_err(|_| StoreError::Malformed("TPM description"))?,
        join_token,
        first_seen,
        last_seen,
        seen,
        rejected: rejected != 0,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;
    use crate::store::Store;

    #[tokio::test]
    async fn a_flood_forgets_those_that_asked_longest_ago() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("database");
        let store = Store::open(&format!("sqlite:{}", file.display())).await;
        let mut tx = store.unwrap().write().await.unwrap();
        let ek = |number: i64| Sha256Digest::of(&number.to_be_bytes());
        let tpm = TpmDescription::default();
        for number in 0..=QUARANTINE_MAX {
            let class = RootClass::Simulator;
            let asking = ek(number);
            let noted = tx.note_in_quarantine(&asking, class, &tpm, "t", number);
            assert!(!noted.await.unwrap());
            if number == 1 {
                assert!(tx.reject_in_quarantine(&ek(1)).await.unwrap());
            }
        }
        let left = tx.quarantine().await.unwrap();
        assert_eq!(i64::try_from(left.len()).unwrap(), QUARANTINE_MAX);
        let there = |number| left.iter().any(|one| one.ek_digest == ek(number));
        assert!(!there(0), "the oldest is forgotten");
        assert!(there(1), "a rejection is kept longer");
        assert!(there(QUARANTINE_MAX));
        let class = RootClass::Simulator;
        let rejected = ek(1);
        let again = tx.note_in_quarantine(&rejected, class, &tpm, "t", 2000);
        assert!(again.await.unwrap(), "a rejected TPM stays rejected");
    }
}
