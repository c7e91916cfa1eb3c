//! Leases as they are kept, and which of them are revoked: that is worked out when it is asked, so that nothing has to be
//! kept in step when a key is disabled or a host is given its keys back.

use serde::Serialize;
use touchstone_evidence::annotation::{Binding, KeyName};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::oci_digest::OciDigest;

use super::log::digest;
use super::nodes::host_id;
use super::{StoreError, Tx, on};

const MALFORMED: StoreError = StoreError::Malformed("lease");

/// Whether a lease `l` is revoked: its host's identity ended, its key is not active, or the host may not have the key.
macro_rules! revoked {
    () => {
        "(l.void = 1
          OR EXISTS (SELECT 1 FROM layer_keys AS k WHERE k.name = l.name AND k.state <> 'active')
          OR EXISTS (SELECT 1 FROM lease_revocations AS r WHERE r.host = l.host AND r.name IN ('', l.name)))"
    };
}

mod grounds;
mod revocations;
mod telling;

pub(crate) use grounds::{Claim, Grounds};
pub(crate) use revocations::Revocation;

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

/// Where a page of leases begins: after this one. The default is before all.
#[derive(Clone, Debug, Default)]
pub(crate) struct After {
    pub(crate) host: String,
    pub(crate) key: String,
    pub(crate) version: i64,
    pub(crate) layer: Vec<u8>,
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
