//! What the release of a key rests on beside the host's round, asked in the transaction that gives the lease.

use serde::Serialize;
use touchstone_evidence::annotation::KeyName;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;

use super::MALFORMED;
use crate::store::layer_keys::KeyState;
use crate::store::{StoreError, Tx, on};

/// A host that is to get something that is under a key.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) host: HostId,
    /// The host's, as it called.
    pub(crate) tls_key: Sha256Digest,
    /// How the host stood by its round.
    pub(crate) standing: Sha256Digest,
    pub(crate) key: KeyName,
}

/// What a claim rests on beside the host's round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grounds {
    /// The TLS key is still that of the host.
    pub(crate) enrolled: bool,
    /// The host still stands so: nothing took its verdict away, and no later round came to another.
    pub(crate) stands: bool,
    pub(crate) key: KeyState,
    /// The host may not have the key.
    pub(crate) revoked: bool,
}

#[derive(Serialize)]
struct ClaimJson<'a> {
    n: usize,
    host: &'a HostId,
    tls_key: Sha256Digest,
    standing: Sha256Digest,
    name: &'a str,
}

fn list_of_claims(claims: &[Claim]) -> Result<String, StoreError> {
    let rows = claims.iter().enumerate().map(|(n, claim)| ClaimJson {
        n,
        host: &claim.host,
        tls_key: claim.tls_key,
        standing: claim.standing,
        name: claim.key.as_str(),
    });
    serde_json::to_string(&rows.collect::<Vec<_>>()).map_err(|_| MALFORMED)
}

impl Tx {
    /// What each of `claims` rests on, in their order.
    pub(crate) async fn grounds(&mut self, claims: &[Claim]) -> Result<Vec<Grounds>, StoreError> {
        let list = list_of_claims(claims)?;
        let rows: Vec<(i64, i64, i64, Option<String>, i64)> = on!(self, connection => {
            sqlx::query_as(
                "SELECT CAST(j.value ->> 'n' AS BIGINT),
                     CAST(CASE WHEN h.host IS NULL THEN 0 ELSE 1 END AS BIGINT),
                     CAST(CASE WHEN h.standing = j.value ->> 'standing' THEN 1 ELSE 0 END AS BIGINT), k.state,
                     (SELECT COUNT(*) FROM lease_revocations AS r
                      WHERE r.host = j.value ->> 'host' AND r.name IN ('', j.value ->> 'name'))
                 FROM json_each($1) AS j
                 LEFT JOIN hosts AS h ON h.tls_key = unhex(j.value ->> 'tls_key') AND h.host = j.value ->> 'host'
                 LEFT JOIN layer_keys AS k ON k.name = j.value ->> 'name'
                 ORDER BY 1",
            )
            .bind(list)
            .fetch_all(connection)
            .await?
        });
        let grounds = rows
            .into_iter()
            .map(|(_, enrolled, stands, state, revocations)| {
                Ok(Grounds {
                    enrolled: enrolled != 0,
                    stands: stands != 0,
                    key: state.as_deref().and_then(KeyState::of).ok_or(MALFORMED)?,
                    revoked: revocations != 0,
                })
            });
        grounds.collect()
    }
}
