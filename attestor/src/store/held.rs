//! What rounds are judged by, looked up for many at once: one statement that gives one row, however many they
//! are. Each row that a driver hands over costs more than what stands in it.

mod row;

use std::collections::HashMap;

use serde::Serialize;
use serde_json::value::RawValue;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::transparency::Frontier;

use super::boots::Boot;
use super::hosts::{self, HostRecord};
use super::location::TagState;
use super::rounds::StoredChallenge;
use super::{Store, StoreError, Tx, on};
use row::{HostJson, eks};

/// Whose round it is, and which challenge it answers.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Asked {
    #[serde(serialize_with = "hex::serialize")]
    pub(crate) tls_key: [u8; 32],
    #[serde(serialize_with = "hex::serialize")]
    pub(crate) nonce: Vec<u8>,
}

/// What is held about the host, and of the challenge.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// Without its verdict and its result, which are long.
    pub(crate) record: HostRecord,
    /// The boot of its last accepted round.
    pub(crate) boot: Option<Boot>,
    /// `None`: no such challenge was given to anyone.
    pub(crate) challenge: Option<StoredChallenge>,
    /// Every EK of the machine, sorted; none if it is not in service.
    pub(crate) eks: Vec<Sha256Digest>,
    /// Serial and bytes of its current location tag.
    pub(crate) tag: Option<(i64, Vec<u8>)>,
    /// What became of that tag.
    pub(crate) tag_state: TagState,
    /// Whether it may have revoked leases that it is to be told of.
    pub(crate) leases_to_tell: bool,
}

impl Held {
    /// Serial of the current tag, if no round proved it yet.
    pub(crate) fn unproven_tag(&self) -> Option<i64> {
        let unproven = self.tag.as_ref().filter(|_| !self.tag_state.proven);
        unproven.map(|(serial, _)| *serial)
    }
}

/// What is held, as the database wrote it: where two are equal, so is all that they say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found(Box<str>);

impl Found {
    /// What it says.
    pub(crate) fn held(&self) -> Result<Held, StoreError> {
        let row: HostJson =
            serde_json::from_str(&self.0).map_err(|_| StoreError::Malformed("host"))?;
        row.held()
    }
}

/// All that was seen at one moment.
pub(crate) struct Snapshot {
    /// For each of what was asked, in its order; `None` where the TLS key is of no enrolled host.
    pub(crate) found: Vec<Option<Found>>,
    /// Public keys of the location authorities.
    pub(crate) authorities: Vec<[u8; 32]>,
    /// The right edge of the log.
    pub(super) frontier: Frontier,
    /// Digest of the policies in force.
    pub(super) policy: Option<Sha256Digest>,
}

/// The statement, with the words that the databases have for the same thing: to make a list, an object, and a
/// text of texts.
macro_rules! look_up {
    ($list:literal, $pair:literal, $object:literal, $texts:literal) => {
        concat!(
            "SELECT
                 (SELECT hex(frontier) FROM tree WHERE id = 1),
                 (SELECT hex(digest) FROM policies ORDER BY version DESC LIMIT 1),
                 (SELECT ",
            $texts,
            "(hex(public_key), ' ') FROM location_authorities WHERE revoked_at IS NULL),
                 (SELECT CAST(",
            $list,
            "(",
            $pair,
            "(CAST(j.value ->> 'n' AS BIGINT), ",
            $object,
            "(
                     'tls_key', j.value ->> 'tls_key', 'host', h.host, 'ek_digest', hex(h.ek_digest), 'ek_public', hex(h.ek_public),
                     'ak_public', hex(h.ak_public), 'root_class', h.root_class, 'enrolled_at', h.enrolled_at,
                     'firmware_version', h.firmware_version, 'reset_count', h.reset_count,
                     'restart_count', h.restart_count, 'clock', h.clock, 'boot_log', hex(h.boot_log),
                     'runtime', h.runtime, 'tpm', h.tpm, 'leases_to_tell', h.leases_to_tell,
                     'challenge', CASE WHEN c.nonce IS NOT NULL THEN ",
            $object,
            "(
                         'host', c.host, 'pcrs', c.pcrs, 'issued_at', c.issued_at, 'expires_at', c.expires_at,
                         'evidence', hex(c.evidence), 'answer', a.answer, 'floor', c.floor) END,
                     'boot', CASE WHEN b.host IS NOT NULL THEN ",
            $object,
            "(
                         'reset_count', b.reset_count, 'restart_count', b.restart_count,
                         'challenged_at', b.challenged_at, 'received_at', b.received_at, 'banks', b.banks,
                         'copied', b.copied) END,
                     'serial', t.serial, 'tag', hex(t.tag), 'revoked', t.revoked, 'proven', t.proven,
                     'moved_from', CASE WHEN t.proven = 0 THEN t.moved_from END,
                     'eks', (SELECT ",
            $texts,
            "(hex(e.ek_digest), ' ') FROM inventory_eks AS e
                         JOIN inventory AS i ON i.host = e.host AND i.state = 'active'
                         WHERE e.host = h.host)
                 ))) AS TEXT)
                 FROM json_each($1) AS j
                 JOIN hosts AS h ON h.tls_key = unhex(j.value ->> 'tls_key')
                 LEFT JOIN challenges AS c ON c.nonce = unhex(j.value ->> 'nonce')
                 LEFT JOIN answers AS a ON a.id = c.answered
                 LEFT JOIN boots AS b ON b.host = h.host
                 LEFT JOIN location_tags AS t ON t.host = h.host AND t.void = 0)"
        )
    };
}

const SQLITE: &str = look_up!(
    "json_group_array",
    "json_array",
    "json_object",
    "group_concat"
);
const POSTGRES: &str = look_up!(
    "json_agg",
    "json_build_array",
    "json_build_object",
    "string_agg"
);

type Row = (String, Option<String>, Option<String>, Option<String>);

/// One of what was asked, by its place in the list.
#[derive(Serialize)]
struct Numbered<'a> {
    n: usize,
    #[serde(flatten)]
    asked: &'a Asked,
}

fn list(asked: &[Asked]) -> Result<String, StoreError> {
    let numbered = asked.iter().enumerate();
    let numbered: Vec<_> = numbered.map(|(n, asked)| Numbered { n, asked }).collect();
    serde_json::to_string(&numbered).map_err(|_| StoreError::Malformed("list"))
}

fn snapshot(row: Row, asked: usize) -> Result<Snapshot, StoreError> {
    let (frontier, policy, authorities, hosts) = row;
    let frontier = hex::decode(frontier).ok();
    let frontier = frontier.and_then(|bytes| Frontier::from_bytes(&bytes).ok());
    let mut found: Vec<Option<Found>> = Vec::new();
    found.resize_with(asked, || None);
    let rows = hosts.as_deref().map(serde_json::from_str).transpose();
    let rows: Option<Vec<(usize, &RawValue)>> = rows.map_err(|_| StoreError::Malformed("host"))?;
    for (number, row) in rows.unwrap_or_default() {
        let place = found.get_mut(number);
        *place.ok_or(StoreError::Malformed("number"))? = Some(Found(row.get().into()));
    }
    let authority = |digest: &Sha256Digest| digest.0;
    Ok(Snapshot {
        found,
        // Keys are as long as digests.
        authorities: eks(authorities.as_deref().unwrap_or_default())?
            .iter()
            .map(authority)
            .collect(),
        frontier: frontier.ok_or(StoreError::Malformed("tree"))?,
        policy: eks(policy.as_deref().unwrap_or_default())?.first().copied(),
    })
}

impl Store {
    /// What is held for each of `asked`, at one moment.
    pub(crate) async fn look_up(&self, asked: &[Asked]) -> Result<Snapshot, StoreError> {
        let list = list(asked)?;
        let row: Row = match &self.backend {
            // By the writer: whatever it wrote is in its cache, and each reader would have to read it anew.
            super::Backend::Sqlite { writer, .. } => {
                sqlx::query_as(SQLITE).bind(list).fetch_one(writer).await?
            }
            super::Backend::Postgres(pool) => {
                sqlx::query_as(POSTGRES).bind(list).fetch_one(pool).await?
            }
        };
        snapshot(row, asked.len())
    }
}

impl Tx {
    /// The same, within a transaction.
    pub(crate) async fn look_up(&mut self, asked: &[Asked]) -> Result<Snapshot, StoreError> {
        let list = list(asked)?;
        let row: Row = match &mut self.0 {
            super::Connection::Sqlite(transaction) => {
                sqlx::query_as(SQLITE)
                    .bind(list)
                    .fetch_one(&mut **transaction)
                    .await?
            }
            super::Connection::Postgres(transaction) => {
                sqlx::query_as(POSTGRES)
                    .bind(list)
                    .fetch_one(&mut **transaction)
                    .await?
            }
        };
        snapshot(row, asked.len())
    }

    /// The enrolled ones among `hosts`.
    pub(crate) async fn hosts_named(
        &mut self,
        hosts: &[HostId],
    ) -> Result<HashMap<HostId, HostRecord>, StoreError> {
        if hosts.is_empty() {
            return Ok(HashMap::new());
        }
        let named: Vec<_> = hosts.iter().map(|host| Named { host }).collect();
        let list = serde_json::to_string(&named).map_err(|_| StoreError::Malformed("list"))?;
        let rows: Vec<hosts::Row> = on!(self, connection => {
            sqlx::query_as(hosts::select!(
                "WHERE host IN (SELECT j.value ->> 'host' FROM json_each($1) AS j)"
            ))
            .bind(list)
            .fetch_all(connection)
            .await?
        });
        let records = rows.into_iter().map(hosts::record);
        let by_name = records.map(|record| record.map(|record| (record.host.clone(), record)));
        by_name.collect()
    }
}

#[derive(Serialize)]
struct Named<'a> {
    host: &'a HostId,
}
