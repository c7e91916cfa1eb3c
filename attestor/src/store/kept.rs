//! What is kept of each host's last accepted round, to judge it again.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;

use super::log::digest;
use super::nodes::host_id;
use super::{StoreError, Tx, on};

/// Where a host's last accepted round is found, and what came of it.
#[derive(Clone, Debug)]
pub(crate) struct KeptRound {
    pub(crate) host: HostId,
    pub(crate) tls_key: Sha256Digest,
    /// The verdict that is held now, JSON of the appraisal's own type.
    pub(crate) verdict: Option<String>,
    /// Whether that verdict was taken away after the round.
    pub(crate) voided: bool,
    /// Index of the round's entry; `None`: no round, or one from before this was kept.
    pub(crate) entry: Option<u64>,
    /// Index of the entry of the round before.
    pub(crate) entry_before: Option<u64>,
    /// Index of the entry of the last round before the verdict became what it is.
    pub(crate) before_change: Option<u64>,
}

/// Hosts that are read at once.
const PAGE: i64 = 64;

type Row = (
    String,
    Vec<u8>,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
);

fn kept(row: Row) -> Result<KeptRound, StoreError> {
    let (host, tls_key, verdict, result, entry, before, change) = row;
    let index = |index: Option<i64>| {
        let index = index.map(u64::try_from).transpose();
        index.map_err(|_| StoreError::Malformed("index"))
    };
    Ok(KeptRound {
        host: host_id(&host)?,
        tls_key: digest(&tls_key)?,
        voided: verdict.is_some() && result.is_none(),
        verdict,
        entry: index(entry)?,
        entry_before: index(before)?,
        before_change: index(change)?,
    })
}

impl Tx {
    /// The first enrolled hosts whose names come after `after`, by name; none: that was the last of them.
    pub(crate) async fn kept_rounds(&mut self, after: &str) -> Result<Vec<KeptRound>, StoreError> {
        let rows: Vec<Row> = on!(self, connection => {
            sqlx::query_as(
                "SELECT host, tls_key, verdict, substr(result, 1, 1), entry, entry_before, before_change
                 FROM hosts WHERE host > $1 ORDER BY host LIMIT $2",
            )
            .bind(after)
            .bind(PAGE)
            .fetch_all(connection)
            .await?
        });
        rows.into_iter().map(kept).collect()
    }

    /// The same of one host; `None`: it is not enrolled.
    pub(crate) async fn kept_round(
        &mut self,
        host: &HostId,
    ) -> Result<Option<KeptRound>, StoreError> {
        let row: Option<Row> = on!(self, connection => {
            sqlx::query_as(
                "SELECT host, tls_key, verdict, substr(result, 1, 1), entry, entry_before, before_change
                 FROM hosts WHERE host = $1",
            )
            .bind(host.as_str())
            .fetch_optional(connection)
            .await?
        });
        row.map(kept).transpose()
    }

    /// One entry of the log.
    pub(crate) async fn entry(&mut self, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let index = i64::try_from(index).map_err(|_| StoreError::Malformed("index"))?;
        let row: Option<(Vec<u8>,)> = on!(self, connection => {
            sqlx::query_as("SELECT body FROM entries WHERE idx = $1")
                .bind(index)
                .fetch_optional(connection)
                .await?
        });
        Ok(row.map(|(body,)| body))
    }
}
