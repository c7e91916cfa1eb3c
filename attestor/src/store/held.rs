//! What rounds are judged by, looked up for many at once: one statement that gives one row, however many they
//! are. Each row that a driver hands over costs more than what stands in it.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::encoded::Bytes;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::transparency::Frontier;

use super::boots::{self, Boot};
use super::hosts::{self, HostRecord, Identity, QuoteClock};
use super::location::TagState;
use super::rounds::{self, StoredChallenge};
use super::{Store, StoreError, Tx, on};

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
}

/// All that was seen at one moment.
pub(crate) struct Snapshot {
    /// For each of what was asked, in its order; `None` where the TLS key is of no enrolled host.
    pub(crate) held: Vec<Option<Held>>,
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
    ($list:literal, $object:literal, $texts:literal) => {
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
            $object,
            "(
                     'n', CAST(j.value ->> 'n' AS BIGINT), 'tls_key', j.value ->> 'tls_key',
                     'host', h.host, 'ek_digest', hex(h.ek_digest), 'ek_public', hex(h.ek_public),
                     'ak_public', hex(h.ak_public), 'root_class', h.root_class, 'enrolled_at', h.enrolled_at,
                     'firmware_version', h.firmware_version, 'reset_count', h.reset_count,
                     'restart_count', h.restart_count, 'clock', h.clock, 'boot_log', hex(h.boot_log),
                     'runtime', h.runtime, 'tpm', h.tpm,
                     'challenge', CASE WHEN c.nonce IS NOT NULL THEN ",
            $object,
            "(
                         'host', c.host, 'pcrs', c.pcrs, 'issued_at', c.issued_at, 'expires_at', c.expires_at,
                         'evidence', hex(c.evidence), 'answer', c.answer, 'floor', c.floor) END,
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
                 )) AS TEXT)
                 FROM json_each($1) AS j
                 JOIN hosts AS h ON h.tls_key = unhex(j.value ->> 'tls_key')
                 LEFT JOIN challenges AS c ON c.nonce = unhex(j.value ->> 'nonce')
                 LEFT JOIN boots AS b ON b.host = h.host
                 LEFT JOIN location_tags AS t ON t.host = h.host AND t.void = 0)"
        )
    };
}

const SQLITE: &str = look_up!("json_group_array", "json_object", "group_concat");
const POSTGRES: &str = look_up!("json_agg", "json_build_object", "string_agg");

type Row = (String, Option<String>, Option<String>, Option<String>);

/// One of what was asked, by its place in the list.
#[derive(Serialize)]
struct Numbered<'a> {
    n: usize,
    #[serde(flatten)]
    asked: &'a Asked,
}

#[derive(Deserialize)]
struct HostJson {
    n: usize,
    tls_key: Sha256Digest,
    host: HostId,
    ek_digest: Hex,
    ek_public: Hex,
    ak_public: Hex,
    root_class: String,
    enrolled_at: i64,
    firmware_version: Option<i64>,
    reset_count: Option<i64>,
    restart_count: Option<i64>,
    clock: Option<i64>,
    boot_log: Option<Hex>,
    runtime: Option<String>,
    tpm: Option<String>,
    challenge: Option<ChallengeJson>,
    boot: Option<BootJson>,
    serial: Option<i64>,
    tag: Option<Hex>,
    revoked: Option<i64>,
    proven: Option<i64>,
    moved_from: Option<String>,
    eks: Option<String>,
}

#[derive(Deserialize)]
struct ChallengeJson {
    host: String,
    pcrs: String,
    issued_at: i64,
    expires_at: i64,
    evidence: Option<Hex>,
    answer: Option<String>,
    floor: Option<String>,
}

#[derive(Deserialize)]
struct BootJson {
    reset_count: i64,
    restart_count: i64,
    challenged_at: i64,
    received_at: i64,
    banks: Option<String>,
    copied: i64,
}

/// Bytes as `hex` writes them. SQLite writes nothing for NULL.
#[derive(Deserialize)]
struct Hex(#[serde(deserialize_with = "hex::deserialize")] Vec<u8>);

impl Hex {
    fn digest(&self) -> Result<Sha256Digest, StoreError> {
        Sha256Digest::try_from(&self.0[..]).map_err(|_| StoreError::Malformed("digest"))
    }
}

fn unless_empty(bytes: Option<Hex>) -> Option<Hex> {
    bytes.filter(|bytes| !bytes.0.is_empty())
}

impl HostJson {
    fn held(self) -> Result<Held, StoreError> {
        let last_quote = QuoteClock::of(
            self.firmware_version,
            self.reset_count,
            self.restart_count,
            self.clock,
        );
        let boot_log = unless_empty(self.boot_log);
        let record = HostRecord {
            host: self.host,
            identity: Identity {
                ek_digest: self.ek_digest.digest()?,
                ek_public: Bytes(self.ek_public.0),
                ak_public: Bytes(self.ak_public.0),
                tls_key: self.tls_key,
                root_class: hosts::class(&self.root_class)
                    .ok_or(StoreError::Malformed("root class"))?,
            },
            enrolled_at: self.enrolled_at,
            tpm: read(self.tpm.as_deref(), "endorsement")?,
            firmware_version: self.firmware_version,
            last_quote,
            boot_log: boot_log.map(|digest| digest.digest()).transpose()?,
            verdict: None,
            result: None,
            runtime: read(self.runtime.as_deref(), "runtime list state")?,
        };
        Ok(Held {
            record,
            boot: self.boot.map(BootJson::boot).transpose()?,
            challenge: self.challenge.map(ChallengeJson::challenge).transpose()?,
            eks: eks(self.eks.as_deref().unwrap_or_default())?,
            tag: self.serial.zip(self.tag.map(|tag| tag.0)),
            tag_state: TagState {
                revoked: self.revoked.is_some_and(|revoked| revoked != 0),
                proven: self.proven.is_some_and(|proven| proven != 0),
                moved_from: read(self.moved_from.as_deref(), "place")?,
            },
        })
    }
}

impl ChallengeJson {
    fn challenge(self) -> Result<StoredChallenge, StoreError> {
        let evidence = unless_empty(self.evidence).map(|evidence| evidence.0);
        rounds::challenge((
            self.host,
            self.pcrs,
            self.issued_at,
            self.expires_at,
            evidence,
            self.answer,
            self.floor,
        ))
    }
}

impl BootJson {
    fn boot(self) -> Result<Boot, StoreError> {
        boots::boot((
            self.reset_count,
            self.restart_count,
            self.challenged_at,
            self.received_at,
            self.banks,
            self.copied,
        ))
    }
}

fn eks(texts: &str) -> Result<Vec<Sha256Digest>, StoreError> {
    let digest = |text: &str| {
        let bytes = hex::decode(text).map_err(|_| StoreError::Malformed("digest"))?;
        super::log::digest(&bytes)
    };
    let mut eks: Vec<_> = texts
        .split_whitespace()
        .map(digest)
        .collect::<Result<_, _>>()?;
    eks.sort_unstable();
    Ok(eks)
}

fn read<T: serde::de::DeserializeOwned>(
    text: Option<&str>,
    what: &'static str,
) -> Result<Option<T>, StoreError> {
    let value = text.map(serde_json::from_str).transpose();
    value.map_err(|_| StoreError::Malformed(what))
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
    let rows: Option<Vec<HostJson>> = read(hosts.as_deref(), "host")?;
    let mut held: Vec<Option<Held>> = Vec::new();
    held.resize_with(asked, || None);
    for row in rows.unwrap_or_default() {
        let place = held.get_mut(row.n).ok_or(StoreError::Malformed("number"))?;
        *place = Some(row.held()?);
    }
    let authority = |digest: &Sha256Digest| digest.0;
    Ok(Snapshot {
        held,
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
            super::Backend::Sqlite { readers, .. } => {
                sqlx::query_as(SQLITE).bind(list).fetch_one(readers).await?
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
