//! What is known of the boot that a host's last accepted round was in.

use touchstone_evidence::continuity::{Reading, Window};
use touchstone_evidence::host_id::HostId;

use super::{StoreError, Tx, on};

/// A boot of a host, as its last accepted round left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Boot {
    pub(crate) reset_count: u32,
    pub(crate) restart_count: u32,
    /// When the last accepted quote was made.
    pub(crate) window: Window,
    /// The active PCR banks, once the boot log was replayed in all of them.
    pub(crate) banks: Option<String>,
    /// Whether a copy of the TPM spoke, in this boot or an earlier one.
    pub(crate) copied: bool,
}

impl Boot {
    /// Whether `reading` is of this boot.
    pub(crate) fn holds(&self, reading: &Reading) -> bool {
        (self.reset_count, self.restart_count) == (reading.reset_count, reading.restart_count)
    }
}

impl Tx {
    /// The boot of the host's last accepted round.
    pub(crate) async fn boot(&mut self, host: &HostId) -> Result<Option<Boot>, StoreError> {
        type Row = (i64, i64, i64, i64, Option<String>, i64);
        let row: Option<Row> = on!(self, connection => {
            sqlx::query_as("SELECT reset_count, restart_count, challenged_at, received_at, banks, copied FROM boots WHERE host = $1")
                .bind(host.as_str())
                .fetch_optional(connection)
                .await?
        });
        let counter = |value: i64| u32::try_from(value).map_err(|_| StoreError::Malformed("boot"));
        row.map(|row| {
            Ok(Boot {
                reset_count: counter(row.0)?,
                restart_count: counter(row.1)?,
                window: Window {
                    challenged_at: row.2,
                    received_at: row.3,
                },
                banks: row.4,
                copied: row.5 != 0,
            })
        })
        .transpose()
    }

    /// Keeps what an accepted round left. What a copy did stays known until the host is enrolled anew.
    pub(crate) async fn put_boot(&mut self, host: &HostId, boot: &Boot) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query(
                "INSERT INTO boots (host, reset_count, restart_count, challenged_at, received_at, banks, copied)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)
                 ON CONFLICT (host) DO UPDATE SET reset_count = $2, restart_count = $3, challenged_at = $4,
                     received_at = $5, banks = $6,
                     copied = CASE WHEN boots.copied = 1 THEN 1 ELSE $7 END",
            )
            .bind(host.as_str())
            .bind(i64::from(boot.reset_count))
            .bind(i64::from(boot.restart_count))
            .bind(boot.window.challenged_at)
            .bind(boot.window.received_at)
            .bind(boot.banks.as_deref())
            .bind(i64::from(boot.copied))
            .execute(connection)
            .await?;
        });
        Ok(())
    }

    /// Accepts another firmware version of the host's TPM.
    pub(crate) async fn accept_firmware(
        &mut self,
        host: &HostId,
        version: i64,
    ) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("UPDATE hosts SET firmware_version = $2 WHERE host = $1")
                .bind(host.as_str())
                .bind(version)
                .execute(connection)
                .await?;
        });
        Ok(())
    }

    /// Notes that a copy of the TPM spoke, also where nothing else was kept of the boot: a host whose last
    /// round is older than what is kept now.
    pub(crate) async fn mark_copied(&mut self, host: &HostId) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query(
                "INSERT INTO boots (host, reset_count, restart_count, challenged_at, received_at, banks, copied)
                 SELECT host, COALESCE(reset_count, 0), COALESCE(restart_count, 0), 0, 0, NULL, 1
                 FROM hosts WHERE host = $1
                 ON CONFLICT (host) DO UPDATE SET copied = 1",
            )
            .bind(host.as_str())
            .execute(connection)
            .await?;
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;
    use crate::store::Store;
    use crate::store::hosts::tests::enrol;

    #[tokio::test]
    async fn a_boot_is_kept_until_the_next_one_and_once_copied_stays_so() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("database");
        let store = Store::open(&format!("sqlite:{}", file.display())).await;
        let mut tx = store.unwrap().write().await.unwrap();
        let host: HostId = "de-1".parse().unwrap();
        enrol(&mut tx, &host).await;
        assert_eq!(tx.boot(&host).await.unwrap(), None);
        // A copy may speak before anything is kept of a boot.
        tx.mark_copied(&host).await.unwrap();
        assert!(tx.boot(&host).await.unwrap().unwrap().copied);
        tx.void_what_rests_on(&host).await.unwrap();
        let mut boot = Boot {
            reset_count: 5,
            restart_count: 2,
            window: Window {
                challenged_at: 10,
                received_at: 20,
            },
            banks: Some("sha256".to_owned()),
            copied: false,
        };
        tx.put_boot(&host, &boot).await.unwrap();
        assert_eq!(tx.boot(&host).await.unwrap(), Some(boot.clone()));
        tx.mark_copied(&host).await.unwrap();
        // A round that was under way does not undo it.
        tx.put_boot(&host, &boot).await.unwrap();
        assert!(tx.boot(&host).await.unwrap().unwrap().copied);
        boot.reset_count = 6;
        boot.banks = None;
        tx.put_boot(&host, &boot).await.unwrap();
        // Nor does a reboot.
        boot.copied = true;
        assert_eq!(tx.boot(&host).await.unwrap(), Some(boot));
        // The next identity of the host is not held to it.
        tx.void_what_rests_on(&host).await.unwrap();
        assert_eq!(tx.boot(&host).await.unwrap(), None);
    }
}
