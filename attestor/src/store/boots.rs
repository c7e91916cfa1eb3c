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

pub(super) type Row = (i64, i64, i64, i64, Option<String>, i64);

/// Reads a boot out of its columns.
pub(super) fn boot(row: Row) -> Result<Boot, StoreError> {
    let counter = |value: i64| u32::try_from(value).map_err(|_| StoreError::Malformed("boot"));
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
}

impl Tx {
    /// Whether a copy of the host's TPM spoke.
    pub(crate) async fn is_copied(&mut self, host: &HostId) -> Result<bool, StoreError> {
        let row: Option<(i64,)> = on!(self, connection => {
            sqlx::query_as("SELECT copied FROM boots WHERE host = $1")
                .bind(host.as_str())
                .fetch_optional(connection)
                .await?
        });
        Ok(row.is_some_and(|(copied,)| copied != 0))
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
