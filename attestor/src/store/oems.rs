//! Makers of machines whose platform certificates count, and the EKs that none of them lets in.

use touchstone_evidence::digest::Sha256Digest;

use super::{StoreError, Tx, on};

/// A maker of machines, as it was added.
#[derive(Clone, Debug)]
pub(crate) struct StoredOem {
    /// Its certificate.
    pub(crate) der: Vec<u8>,
    /// How the names of its machines begin.
    pub(crate) host_prefix: String,
    /// Seconds since 1970.
    pub(crate) added_at: i64,
}

impl Tx {
    /// Believes a maker of machines. `false`: its certificate is there already.
    pub(crate) async fn add_oem(
        &mut self,
        digest: &Sha256Digest,
        oem: &StoredOem,
    ) -> Result<bool, StoreError> {
        Ok(on!(self, connection => {
            sqlx::query(
                "INSERT INTO oems (digest, der, host_prefix, added_at) VALUES ($1, $2, $3, $4)
                 ON CONFLICT DO NOTHING",
            )
            .bind(&digest.0[..])
            .bind(&oem.der[..])
            .bind(&oem.host_prefix)
            .bind(oem.added_at)
            .execute(connection)
            .await?
            .rows_affected()
        }) == 1)
    }

    /// Every maker of machines, in the order in which they were added.
    pub(crate) async fn oems(&mut self) -> Result<Vec<StoredOem>, StoreError> {
        let rows: Vec<(Vec<u8>, String, i64)> = on!(self, connection => {
            sqlx::query_as("SELECT der, host_prefix, added_at FROM oems ORDER BY added_at, digest")
                .fetch_all(connection)
                .await?
        });
        let oem = |(der, host_prefix, added_at)| StoredOem {
            der,
            host_prefix,
            added_at,
        };
        Ok(rows.into_iter().map(oem).collect())
    }

    /// From now on only an operator lets this EK in.
    pub(crate) async fn bar_ek(&mut self, ek: &Sha256Digest, now: i64) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("INSERT INTO barred_eks (ek_digest, since) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                .bind(&ek.0[..])
                .bind(now)
                .execute(connection)
                .await?;
        });
        Ok(())
    }

    /// Whether only an operator lets this EK in.
    pub(crate) async fn is_barred(&mut self, ek: &Sha256Digest) -> Result<bool, StoreError> {
        let row: Option<(i64,)> = on!(self, connection => {
            sqlx::query_as("SELECT since FROM barred_eks WHERE ek_digest = $1")
                .bind(&ek.0[..])
                .fetch_optional(connection)
                .await?
        });
        Ok(row.is_some())
    }
}
