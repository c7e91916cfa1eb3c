//! Leases as they are kept, and which of them are revoked: that is worked out when it is asked, so that nothing has to be
//! kept in step when a key is disabled or a host is given its keys back.

use serde::Serialize;
use touchstone_evidence::annotation::{Binding, KeyName};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::oci_digest::OciDigest;
use touchstone_evidence::wire::RevokedLease;

use super::layer_keys::KeyState;
use super::log::digest;
use super::nodes::host_id;
use super::{StoreError, Tx, on};

const MALFORMED: StoreError = StoreError::Malformed("lease");

/// Hosts that are marked in one transaction, for which other writers wait.
const HOSTS_AT_ONCE: i64 = 500;

/// Whether a lease `l` is revoked: its host's identity ended, its key is not active, or the host may not have the key.
macro_rules! revoked {
    () => {
        "(l.void = 1
          OR EXISTS (SELECT 1 FROM layer_keys AS k WHERE k.name = l.name AND k.state <> 'active')
          OR EXISTS (SELECT 1 FROM lease_revocations AS r WHERE r.host = l.host AND r.name IN ('', l.name)))"
    };
}

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

/// A lease that is to be given.
#[derive(Clone, Debug)]
pub(crate) struct NewLease {
    pub(crate) host: HostId,
    pub(crate) bound: Binding,
    pub(crate) manifest: Option<OciDigest>,
    /// Seconds since 1970.
    pub(crate) issued_at: i64,
    pub(crate) expires_at: i64,
    /// Leaf hash of its entry.
    pub(crate) entry: Sha256Digest,
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

/// A lease as it is kept.
#[derive(Clone, Debug)]
pub(crate) struct KeptLease {
    pub(crate) host: HostId,
    pub(crate) bound: Binding,
    pub(crate) manifest: Option<OciDigest>,
    /// Seconds since 1970, as are the others.
    pub(crate) issued_at: i64,
    pub(crate) expires_at: i64,
    pub(crate) entry: Sha256Digest,
    pub(crate) purged_at: Option<i64>,
    pub(crate) revoked: bool,
}

/// That a host may not have a key.
#[derive(Clone, Debug)]
pub(crate) struct Revocation {
    pub(crate) host: HostId,
    /// `None`: any key.
    pub(crate) key: Option<KeyName>,
    pub(crate) revoked_at: i64,
}

/// Where a page of leases begins: after this one. The default is before all.
#[derive(Clone, Debug, Default)]
pub(crate) struct After {
    pub(crate) host: String,
    pub(crate) key: String,
    pub(crate) version: i64,
    pub(crate) layer: Vec<u8>,
}

#[derive(Serialize)]
struct ClaimJson<'a> {
    n: usize,
    host: &'a HostId,
    tls_key: Sha256Digest,
    standing: Sha256Digest,
    name: &'a str,
}

#[derive(Serialize)]
struct LeaseJson<'a> {
    host: &'a HostId,
    name: &'a str,
    version: u32,
    layer: Sha256Digest,
    policy: &'a str,
    manifest: Option<Sha256Digest>,
    issued_at: i64,
    expires_at: i64,
    entry: Sha256Digest,
}

#[derive(Serialize)]
struct RevokedJson<'a> {
    name: &'a str,
    version: u32,
    layer: Sha256Digest,
}

type Row = (
    String,
    String,
    i64,
    Vec<u8>,
    String,
    Option<Vec<u8>>,
    i64,
    i64,
    Vec<u8>,
    Option<i64>,
    i64,
);

/// No key is called so: it stands for all.
fn name_of(key: Option<&KeyName>) -> &str {
    key.map_or("", KeyName::as_str)
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

fn list(leases: &[NewLease]) -> Result<String, StoreError> {
    let rows = leases.iter().map(|lease| LeaseJson {
        host: &lease.host,
        name: lease.bound.key.as_str(),
        version: lease.bound.key_version,
        layer: lease.bound.layer.0,
        policy: lease.bound.policy.as_str(),
        manifest: lease.manifest.map(|manifest| manifest.0),
        issued_at: lease.issued_at,
        expires_at: lease.expires_at,
        entry: lease.entry,
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

    /// Keeps leases, each in place of an earlier one of the same. Each key and layer of a host is in it once at most.
    pub(crate) async fn keep_leases(&mut self, leases: &[NewLease]) -> Result<(), StoreError> {
        let list = list(leases)?;
        on!(self, connection => {
            sqlx::query(
                "INSERT INTO leases (host, name, version, layer, policy, manifest, issued_at, expires_at, entry)
                 SELECT j.value ->> 'host', j.value ->> 'name', CAST(j.value ->> 'version' AS BIGINT),
                     unhex(j.value ->> 'layer'), j.value ->> 'policy', unhex(j.value ->> 'manifest'),
                     CAST(j.value ->> 'issued_at' AS BIGINT), CAST(j.value ->> 'expires_at' AS BIGINT),
                     unhex(j.value ->> 'entry')
                 FROM json_each($1) AS j WHERE true
                 ON CONFLICT (host, name, version, layer) DO UPDATE SET policy = excluded.policy,
                     manifest = excluded.manifest, issued_at = excluded.issued_at,
                     expires_at = excluded.expires_at, entry = excluded.entry, void = 0, purged_at = NULL",
            )
            .bind(list)
            .execute(connection)
            .await?;
        });
        Ok(())
    }

    /// Leases of `host` with `key`, or of all where none is named, that come after `after`; at most `most`.
    pub(crate) async fn leases(
        &mut self,
        host: Option<&HostId>,
        key: Option<&KeyName>,
        after: &After,
        most: i64,
    ) -> Result<Vec<KeptLease>, StoreError> {
        macro_rules! page {
            ($host:literal) => {
                concat!(
                    "SELECT l.host, l.name, l.version, l.layer, l.policy, l.manifest, l.issued_at, l.expires_at,
                         l.entry, l.purged_at, CAST(CASE WHEN ",
                    revoked!(),
                    " THEN 1 ELSE 0 END AS BIGINT)
                     FROM leases AS l
                     WHERE (l.host, l.name, l.version, l.layer) > ($3, $4, $5, $6) AND (l.name = $2 OR $2 = '') AND ",
                    $host,
                    " ORDER BY l.host, l.name, l.version, l.layer LIMIT $7"
                )
            };
        }
        let statement = match host {
            Some(_) => page!("l.host = $1"),
            None => page!("$1 = ''"),
        };
        let rows: Vec<Row> = on!(self, connection => {
            sqlx::query_as(statement)
                .bind(host.map_or("", HostId::as_str))
                .bind(name_of(key))
                .bind(&after.host)
                .bind(&after.key)
                .bind(after.version)
                .bind(&after.layer)
                .bind(most)
                .fetch_all(connection)
                .await?
        });
        rows.into_iter().map(kept).collect()
    }

    /// Revoked leases of `host` that it has not purged yet; at most `most`.
    pub(crate) async fn leases_to_tell(
        &mut self,
        host: &HostId,
        most: i64,
    ) -> Result<Vec<RevokedLease>, StoreError> {
        let rows: Vec<(String, i64, Vec<u8>)> = on!(self, connection => {
            sqlx::query_as(concat!(
                "SELECT l.name, l.version, l.layer FROM leases AS l
                 WHERE l.host = $1 AND l.purged_at IS NULL AND ",
                revoked!(),
                " ORDER BY l.name, l.version, l.layer LIMIT $2"
            ))
            .bind(host.as_str())
            .bind(most)
            .fetch_all(connection)
            .await?
        });
        let leases = rows.into_iter().map(|(name, version, layer)| {
            Ok(RevokedLease {
                key: name.parse().map_err(|_| MALFORMED)?,
                key_version: u32::try_from(version).map_err(|_| MALFORMED)?,
                layer: OciDigest(digest(&layer)?),
            })
        });
        leases.collect()
    }

    /// Has the next round of `host` look for revoked leases.
    pub(crate) async fn mark_leases_to_tell(&mut self, host: &HostId) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("UPDATE hosts SET leases_to_tell = 1 WHERE host = $1")
                .bind(host.as_str())
                .execute(connection)
                .await?;
        });
        Ok(())
    }

    /// The same for hosts with leases of keys that are not active; `false`: there is no further one.
    pub(crate) async fn mark_leases_of_inactive_keys(&mut self) -> Result<bool, StoreError> {
        let marked = on!(self, connection => {
            sqlx::query(
                "UPDATE hosts SET leases_to_tell = 1 WHERE host IN (
                     SELECT DISTINCT l.host FROM layer_keys AS k
                     JOIN leases AS l ON l.name = k.name AND l.purged_at IS NULL AND l.void = 0
                     JOIN hosts AS h ON h.host = l.host AND h.leases_to_tell = 0
                     WHERE k.state <> 'active' LIMIT $1)",
            )
            .bind(HOSTS_AT_ONCE)
            .execute(connection)
            .await?
            .rows_affected()
        });
        Ok(marked > 0)
    }

    /// Has rounds of `host` look no more, if there is nothing to tell.
    pub(crate) async fn settle_leases_to_tell(&mut self, host: &HostId) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query(concat!(
                "UPDATE hosts SET leases_to_tell = 0 WHERE host = $1 AND NOT EXISTS (
                     SELECT 1 FROM leases AS l WHERE l.host = $1 AND l.purged_at IS NULL AND ",
                revoked!(),
                ")"
            ))
            .bind(host.as_str())
            .execute(connection)
            .await?;
        });
        Ok(())
    }

    /// Keeps that `host` purged what these leases opened, of those that are revoked.
    pub(crate) async fn mark_leases_purged(
        &mut self,
        host: &HostId,
        leases: &[RevokedLease],
        now: i64,
    ) -> Result<(), StoreError> {
        let rows = leases.iter().map(|lease| RevokedJson {
            name: lease.key.as_str(),
            version: lease.key_version,
            layer: lease.layer.0,
        });
        let list = serde_json::to_string(&rows.collect::<Vec<_>>()).map_err(|_| MALFORMED)?;
        on!(self, connection => {
            sqlx::query(concat!(
                "UPDATE leases AS l SET purged_at = $3 WHERE l.host = $1 AND l.purged_at IS NULL
                     AND EXISTS (SELECT 1 FROM json_each($2) AS j WHERE j.value ->> 'name' = l.name
                         AND CAST(j.value ->> 'version' AS BIGINT) = l.version
                         AND unhex(j.value ->> 'layer') = l.layer)
                     AND ",
                revoked!()
            ))
            .bind(host.as_str())
            .bind(list)
            .bind(now)
            .execute(connection)
            .await?;
        });
        Ok(())
    }

    /// How many leases of `host` with `key`, or with any, it has not purged.
    pub(crate) async fn count_leases(
        &mut self,
        host: &HostId,
        key: Option<&KeyName>,
    ) -> Result<i64, StoreError> {
        let (count,): (i64,) = on!(self, connection => {
            sqlx::query_as(
                "SELECT COUNT(*) FROM leases WHERE host = $1 AND (name = $2 OR $2 = '') AND purged_at IS NULL",
            )
            .bind(host.as_str())
            .bind(name_of(key))
            .fetch_one(connection)
            .await?
        });
        Ok(count)
    }

    /// Keeps that `host` may not have `key`, or any. `false`: it was so before.
    pub(crate) async fn add_revocation(
        &mut self,
        host: &HostId,
        key: Option<&KeyName>,
        now: i64,
    ) -> Result<bool, StoreError> {
        Ok(on!(self, connection => {
            sqlx::query(
                "INSERT INTO lease_revocations (host, name, revoked_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            )
            .bind(host.as_str())
            .bind(name_of(key))
            .bind(now)
            .execute(connection)
            .await?
            .rows_affected()
        }) == 1)
    }

    /// Ends that `host` may not have `key`; without a key, all of its revocations. `false`: there was none.
    pub(crate) async fn drop_revocations(
        &mut self,
        host: &HostId,
        key: Option<&KeyName>,
    ) -> Result<bool, StoreError> {
        Ok(on!(self, connection => {
            sqlx::query("DELETE FROM lease_revocations WHERE host = $1 AND (name = $2 OR $2 = '')")
                .bind(host.as_str())
                .bind(name_of(key))
                .execute(connection)
                .await?
                .rows_affected()
        }) > 0)
    }

    /// Which hosts may not have which keys: all of them, or those of `host`.
    pub(crate) async fn revocations(
        &mut self,
        host: Option<&HostId>,
    ) -> Result<Vec<Revocation>, StoreError> {
        let rows: Vec<(String, String, i64)> = on!(self, connection => {
            sqlx::query_as(
                "SELECT host, name, revoked_at FROM lease_revocations WHERE host = $1 OR $1 = '' ORDER BY host, name",
            )
            .bind(host.map_or("", HostId::as_str))
            .fetch_all(connection)
            .await?
        });
        let revocations = rows.into_iter().map(|(host, name, revoked_at)| {
            let key = (!name.is_empty()).then(|| name.parse()).transpose();
            Ok(Revocation {
                host: host_id(&host)?,
                key: key.map_err(|_| MALFORMED)?,
                revoked_at,
            })
        });
        revocations.collect()
    }
}

fn kept(row: Row) -> Result<KeptLease, StoreError> {
    let (
        host,
        name,
        version,
        layer,
        policy,
        manifest,
        issued_at,
        expires_at,
        entry,
        purged_at,
        revoked,
    ) = row;
    let manifest = manifest.map(|manifest| digest(&manifest)).transpose()?;
    Ok(KeptLease {
        host: host_id(&host)?,
        bound: Binding {
            key: name.parse().map_err(|_| MALFORMED)?,
            key_version: u32::try_from(version).map_err(|_| MALFORMED)?,
            layer: OciDigest(digest(&layer)?),
            policy: policy.parse().map_err(|_| MALFORMED)?,
        },
        manifest: manifest.map(OciDigest),
        issued_at,
        expires_at,
        entry: digest(&entry)?,
        purged_at,
        revoked: revoked != 0,
    })
}
