//! Endorsement certificates, revocation lists, and the machines whose maker is not known.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;

use super::log::digest;
use super::nodes::host_id;
use super::{StoreError, Tx, on};

/// Most machines that are remembered for an unknown maker; the one that knocked longest ago goes first.
pub(crate) const UNMATCHED_MAX: i64 = 256;

/// The mark of a database that ever held a root of class `simulator`.
const SIMULATOR_ROOT: &str = "simulator-root";

/// An imported bundle of certificates.
pub(crate) struct StoredBundle {
    /// The word for a root class.
    pub(crate) class: String,
    /// Manufacturers that its roots may vouch for, blank between; empty: any.
    pub(crate) manufacturers: String,
    pub(crate) pem: String,
}

/// A machine whose EK certificate led to no known CA.
pub(crate) struct Unmatched {
    pub(crate) ek_digest: Sha256Digest,
    /// Whose it is, by the inventory.
    pub(crate) host: HostId,
    /// Code of the refusal.
    pub(crate) code: String,
    /// The CA whose certificate is missing.
    pub(crate) authority: String,
    pub(crate) first_at: i64,
    pub(crate) last_at: i64,
    pub(crate) attempts: i64,
}

impl Tx {
    /// Keeps a bundle of endorsement certificates; the same bundle again changes nothing.
    pub(crate) async fn add_endorsement_bundle(
        &mut self,
        bundle: &StoredBundle,
        now: i64,
    ) -> Result<(), StoreError> {
        let StoredBundle {
            class,
            manufacturers,
            pem,
        } = bundle;
        let parts = [class, "\0", manufacturers, "\0", pem].map(str::as_bytes);
        let key = Sha256Digest::of_parts(&parts);
        on!(self, connection => {
            sqlx::query(
                "INSERT INTO endorsement_roots (digest, class, manufacturers, pem, imported_at)
                 VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
            )
            .bind(&key.0[..])
            .bind(class)
            .bind(manufacturers)
            .bind(pem)
            .bind(now)
            .execute(connection)
            .await?;
        });
        Ok(())
    }

    /// Every bundle, oldest first.
    pub(crate) async fn endorsement_bundles(&mut self) -> Result<Vec<StoredBundle>, StoreError> {
        let rows: Vec<(String, String, String)> = on!(self, connection => {
            sqlx::query_as("SELECT class, manufacturers, pem FROM endorsement_roots ORDER BY imported_at, digest")
                .fetch_all(connection)
                .await?
        });
        let bundle = |(class, manufacturers, pem)| StoredBundle {
            class,
            manufacturers,
            pem,
        };
        Ok(rows.into_iter().map(bundle).collect())
    }

    /// Keeps a revocation list, in place of an older one of its authority.
    pub(crate) async fn add_revocation_list(
        &mut self,
        der: &[u8],
        replaced: Option<&Sha256Digest>,
        now: i64,
    ) -> Result<(), StoreError> {
        let key = Sha256Digest::of(der);
        on!(self, connection => {
            if let Some(older) = replaced {
                sqlx::query("DELETE FROM endorsement_lists WHERE digest = $1")
                    .bind(&older.0[..])
                    .execute(&mut *connection)
                    .await?;
            }
            sqlx::query("INSERT INTO endorsement_lists (digest, der, imported_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
                .bind(&key.0[..])
                .bind(der)
                .bind(now)
                .execute(connection)
                .await?;
        });
        Ok(())
    }

    /// DER of every revocation list.
    pub(crate) async fn revocation_lists(&mut self) -> Result<Vec<Vec<u8>>, StoreError> {
        let rows: Vec<(Vec<u8>,)> = on!(self, connection => {
            sqlx::query_as("SELECT der FROM endorsement_lists ORDER BY digest")
                .fetch_all(connection)
                .await?
        });
        Ok(rows.into_iter().map(|(der,)| der).collect())
    }

    /// How many hosts are enrolled under each root, by the digest of the root's key.
    pub(crate) async fn hosts_by_root(&mut self) -> Result<Vec<(Sha256Digest, i64)>, StoreError> {
        let rows: Vec<(Vec<u8>, i64)> = on!(self, connection => {
            sqlx::query_as(
                "SELECT root_key, COUNT(*) FROM hosts WHERE root_key IS NOT NULL GROUP BY root_key",
            )
            .fetch_all(connection)
            .await?
        });
        let read = |(key, count): (Vec<u8>, i64)| Ok((digest(&key)?, count));
        rows.into_iter().map(read).collect()
    }

    /// Remembers that a machine asked whose maker's CA is not known.
    pub(crate) async fn note_unmatched(
        &mut self,
        ek: &Sha256Digest,
        host: &HostId,
        code: &str,
        authority: &str,
        now: i64,
    ) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query(
                "INSERT INTO unmatched_endorsements (ek_digest, host, code, authority, first_at, last_at, attempts)
                 VALUES ($1, $2, $3, $4, $5, $5, 1)
                 ON CONFLICT (ek_digest) DO UPDATE SET host = excluded.host, code = excluded.code,
                     authority = excluded.authority, last_at = excluded.last_at,
                     attempts = unmatched_endorsements.attempts + 1",
            )
            .bind(&ek.0[..])
            .bind(host.as_str())
            .bind(code)
            .bind(authority)
            .bind(now)
            .execute(&mut *connection)
            .await?;
            sqlx::query(
                "DELETE FROM unmatched_endorsements WHERE ek_digest NOT IN
                     (SELECT ek_digest FROM unmatched_endorsements ORDER BY last_at DESC, ek_digest LIMIT $1)",
            )
            .bind(UNMATCHED_MAX)
            .execute(connection)
            .await?;
        });
        Ok(())
    }

    /// Forgets it: the machine's certificate led to a root.
    pub(crate) async fn forget_unmatched(&mut self, ek: &Sha256Digest) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("DELETE FROM unmatched_endorsements WHERE ek_digest = $1")
                .bind(&ek.0[..])
                .execute(connection)
                .await?;
        });
        Ok(())
    }

    /// Those that are remembered, the latest first.
    pub(crate) async fn unmatched(&mut self) -> Result<Vec<Unmatched>, StoreError> {
        type Row = (Vec<u8>, String, String, String, i64, i64, i64);
        let rows: Vec<Row> = on!(self, connection => {
            sqlx::query_as(
                "SELECT ek_digest, host, code, authority, first_at, last_at, attempts
                 FROM unmatched_endorsements ORDER BY last_at DESC, ek_digest",
            )
            .fetch_all(connection)
            .await?
        });
        let read = |(ek, host, code, authority, first_at, last_at, attempts): Row| {
            Ok(Unmatched {
                ek_digest: digest(&ek)?,
                host: host_id(&host)?,
                code,
                authority,
                first_at,
                last_at,
                attempts,
            })
        };
        rows.into_iter().map(read).collect()
    }

    /// Marks the database: it holds, or held, a root of class `simulator`.
    pub(crate) async fn mark_simulator_root(&mut self, now: i64) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("INSERT INTO marks (mark, since) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                .bind(SIMULATOR_ROOT)
                .bind(now)
                .execute(connection)
                .await?;
        });
        Ok(())
    }

    /// Since when the database is marked so, Unix seconds.
    pub(crate) async fn simulator_root_since(&mut self) -> Result<Option<i64>, StoreError> {
        let row: Option<(i64,)> = on!(self, connection => {
            sqlx::query_as("SELECT since FROM marks WHERE mark = $1")
                .bind(SIMULATOR_ROOT)
                .fetch_optional(connection)
                .await?
        });
        Ok(row.map(|(since,)| since))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;
    use crate::store::Store;

    #[tokio::test]
    async fn only_the_latest_unmatched_machines_are_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("database");
        let store = Store::open(&format!("sqlite:{}", file.display())).await;
        let mut tx = store.unwrap().write().await.unwrap();
        let host: HostId = "de-1".parse().unwrap();
        let ek = |number: i64| Sha256Digest::of(&number.to_be_bytes());
        for number in 0..UNMATCHED_MAX + 3 {
            let (ek, at) = (ek(number), 1000 + number);
            tx.note_unmatched(&ek, &host, "ek-unknown-root", "CN=A", at)
                .await
                .unwrap();
        }
        // Once more, later: counted, and not a second row.
        let fifth = ek(5);
        let again = tx.note_unmatched(&fifth, &host, "ek-issuer-missing", "CN=B", 9000);
        again.await.unwrap();
        let rows = tx.unmatched().await.unwrap();
        assert_eq!(i64::try_from(rows.len()).unwrap(), UNMATCHED_MAX);
        let first = &rows[0];
        assert_eq!(
            (first.first_at, first.last_at, first.attempts),
            (1005, 9000, 2)
        );
        assert_eq!(first.authority, "CN=B");
        assert!(
            rows.iter().all(|row| row.ek_digest != ek(0)),
            "the oldest went"
        );
        tx.forget_unmatched(&ek(5)).await.unwrap();
        assert!(
            tx.unmatched()
                .await
                .unwrap()
                .iter()
                .all(|row| row.ek_digest != ek(5))
        );
    }
}
