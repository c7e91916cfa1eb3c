//! What rounds are judged by, looked up for many at once: a few statements, however many they are.

use std::collections::HashMap;

use serde::Serialize;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;

use super::boots::{self, Boot};
use super::hosts::{self, HostRecord};
use super::log::digest;
use super::rounds::{self, StoredChallenge};
use super::{StoreError, Tx, on};

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
    pub(crate) record: HostRecord,
    /// The boot of its last accepted round.
    pub(crate) boot: Option<Boot>,
    /// `None`: no such challenge was given to anyone.
    pub(crate) challenge: Option<StoredChallenge>,
    /// Every EK of the machine, sorted; none if it is not in service.
    pub(crate) eks: Vec<Sha256Digest>,
    /// Serial and bytes of its current location tag.
    pub(crate) tag: Option<(i64, Vec<u8>)>,
}

/// One of what was asked, by its place in the list.
#[derive(Serialize)]
struct Numbered<'a> {
    n: usize,
    #[serde(flatten)]
    asked: &'a Asked,
}

#[derive(Serialize)]
struct Named<'a> {
    host: &'a HostId,
}

type Answers = HashMap<usize, (Option<StoredChallenge>, Option<Boot>)>;
type Machines = HashMap<usize, (Vec<Sha256Digest>, Option<(i64, Vec<u8>)>)>;

impl Tx {
    /// What is held for each of `asked`, in its order; `None` where the TLS key is of no enrolled host.
    pub(crate) async fn held(&mut self, asked: &[Asked]) -> Result<Vec<Option<Held>>, StoreError> {
        let numbered = asked.iter().enumerate();
        let numbered: Vec<_> = numbered.map(|(n, asked)| Numbered { n, asked }).collect();
        let list = serde_json::to_string(&numbered).map_err(|_| StoreError::Malformed("list"))?;
        let records = self.hosts_asked(&list).await?;
        let mut answers = self.challenges_asked(&list).await?;
        let mut machines = self.machines_asked(&list).await?;
        let held = asked.iter().enumerate().map(|(n, asked)| {
            let record = records.get(&Sha256Digest(asked.tls_key))?.clone();
            let (challenge, boot) = answers.remove(&n)?;
            let (mut eks, tag) = machines.remove(&n)?;
            eks.sort_unstable();
            Some(Held {
                record,
                boot,
                challenge,
                eks,
                tag,
            })
        });
        Ok(held.collect())
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

    async fn hosts_asked(
        &mut self,
        list: &str,
    ) -> Result<HashMap<Sha256Digest, HostRecord>, StoreError> {
        let rows: Vec<hosts::Row> = on!(self, connection => {
            sqlx::query_as(hosts::select!(
                "WHERE tls_key IN (SELECT unhex(j.value ->> 'tls_key') FROM json_each($1) AS j)"
            ))
            .bind(list)
            .fetch_all(connection)
            .await?
        });
        let records = rows.into_iter().map(hosts::record);
        let by_key = records.map(|record| record.map(|record| (record.identity.tls_key, record)));
        by_key.collect()
    }

    async fn challenges_asked(&mut self, list: &str) -> Result<Answers, StoreError> {
        type Row = (
            i64,
            Option<String>,
            Option<String>,
            Option<i64>,
            Option<i64>,
            Option<Vec<u8>>,
            Option<String>,
            Option<String>,
            Option<i64>,
            Option<i64>,
            Option<i64>,
            Option<i64>,
            Option<String>,
            Option<i64>,
        );
        let rows: Vec<Row> = on!(self, connection => {
            sqlx::query_as(
                "SELECT CAST(j.value ->> 'n' AS BIGINT), c.host, c.pcrs, c.issued_at, c.expires_at, c.evidence,
                     c.answer, c.floor, b.reset_count, b.restart_count, b.challenged_at, b.received_at, b.banks,
                     b.copied
                 FROM json_each($1) AS j
                 JOIN hosts AS h ON h.tls_key = unhex(j.value ->> 'tls_key')
                 LEFT JOIN challenges AS c ON c.nonce = unhex(j.value ->> 'nonce')
                 LEFT JOIN boots AS b ON b.host = h.host",
            )
            .bind(list)
            .fetch_all(connection)
            .await?
        });
        let mut answers = HashMap::new();
        for row in rows {
            let challenge = match (row.1, row.2, row.3, row.4) {
                (Some(host), Some(pcrs), Some(issued_at), Some(expires_at)) => Some(
                    rounds::challenge((host, pcrs, issued_at, expires_at, row.5, row.6, row.7))?,
                ),
                _ => None,
            };
            let boot = match (row.8, row.9, row.10, row.11, row.13) {
                (Some(resets), Some(restarts), Some(challenged), Some(received), Some(copied)) => {
                    Some(boots::boot((
                        resets, restarts, challenged, received, row.12, copied,
                    ))?)
                }
                _ => None,
            };
            answers.insert(number(row.0)?, (challenge, boot));
        }
        Ok(answers)
    }

    async fn machines_asked(&mut self, list: &str) -> Result<Machines, StoreError> {
        type Row = (i64, Option<Vec<u8>>, Option<i64>, Option<Vec<u8>>);
        let rows: Vec<Row> = on!(self, connection => {
            sqlx::query_as(
                "SELECT CAST(j.value ->> 'n' AS BIGINT), e.ek_digest, t.serial, t.tag
                 FROM json_each($1) AS j
                 JOIN hosts AS h ON h.tls_key = unhex(j.value ->> 'tls_key')
                 LEFT JOIN inventory AS i ON i.host = h.host AND i.state = 'active'
                 LEFT JOIN inventory_eks AS e ON e.host = i.host
                 LEFT JOIN location_tags AS t ON t.host = h.host AND t.void = 0",
            )
            .bind(list)
            .fetch_all(connection)
            .await?
        });
        let mut machines = Machines::new();
        for (n, ek, serial, tag) in rows {
            let (eks, held) = machines.entry(number(n)?).or_default();
            if let Some(ek) = ek {
                eks.push(digest(&ek)?);
            }
            *held = serial.zip(tag);
        }
        Ok(machines)
    }
}

fn number(n: i64) -> Result<usize, StoreError> {
    usize::try_from(n).map_err(|_| StoreError::Malformed("number"))
}
