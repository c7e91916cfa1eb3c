//! Enrolled hosts: identity, counters of the last accepted quote, last verdict.

use serde::{Deserialize, Serialize};
use touchstone_evidence::continuity::Reading;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::encoded::Bytes;
use touchstone_evidence::endorsement::{RootClass, TpmName};
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::ima::ImaState;

use super::log::digest;
use super::nodes::host_id;
use super::{StoreError, Tx, on};

/// What is enrolled, all of it or nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    /// SHA-256 of the EK's SubjectPublicKeyInfo.
    pub(crate) ek_digest: Sha256Digest,
    /// EK, `TPMT_PUBLIC`.
    pub(crate) ek_public: Bytes<1024>,
    /// AK, `TPMT_PUBLIC`.
    pub(crate) ak_public: Bytes<1024>,
    /// SHA-256 of the agent's TLS SubjectPublicKeyInfo.
    pub(crate) tls_key: Sha256Digest,
    /// Class of the root that the EK chained to.
    pub(crate) root_class: RootClass,
}

impl Identity {
    /// Whether these are its keys. Who vouches for the EK may change under them.
    pub(crate) fn has_keys(
        &self,
        ek_digest: &Sha256Digest,
        ak_public: &[u8],
        tls_key: &Sha256Digest,
    ) -> bool {
        self.ek_digest == *ek_digest && self.ak_public[..] == *ak_public && self.tls_key == *tls_key
    }

    /// Whether all keys are those of `other`.
    pub(crate) fn has_keys_of(&self, other: &Self) -> bool {
        self.has_keys(&other.ek_digest, &other.ak_public, &other.tls_key)
    }

    /// Whether a key that each identity makes anew is one of `other`.
    pub(crate) fn shares_key_with(&self, other: &Self) -> bool {
        self.ak_public == other.ak_public || self.tls_key == other.tls_key
    }
}

/// What vouches for an enrolled TPM. No part of the identity: a renewed root changes nothing about whose
/// keys they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Endorsed {
    /// What the EK certificate names.
    pub(crate) tpm: TpmName,
    /// SHA-256 of the root's SubjectPublicKeyInfo.
    pub(crate) root_key: Sha256Digest,
}

/// Where an AK's clock stood at the last accepted quote (TPM 2.0 Part 1 §36).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QuoteClock {
    pub(crate) firmware_version: i64,
    pub(crate) reset_count: i64,
    pub(crate) restart_count: i64,
    pub(crate) clock: i64,
}

impl QuoteClock {
    /// Out of the columns of a host; `None` before its first round.
    pub(super) fn of(
        firmware_version: Option<i64>,
        reset_count: Option<i64>,
        restart_count: Option<i64>,
        clock: Option<i64>,
    ) -> Option<Self> {
        Some(Self {
            firmware_version: firmware_version?,
            reset_count: reset_count?,
            restart_count: restart_count?,
            clock: clock?,
        })
    }

    /// Whether it is later than `last`: the first of resetCount, restartCount and clock that differs decides.
    pub(crate) fn is_after(&self, last: &Self) -> bool {
        let of = |quote: &Self| (quote.reset_count, quote.restart_count, quote.clock);
        of(self) > of(last)
    }

    /// Counters and clock as the TPM counts them.
    pub(crate) fn reading(&self) -> Result<Reading, StoreError> {
        let counters = u32::try_from(self.reset_count)
            .and_then(|reset| Ok((reset, u32::try_from(self.restart_count)?)))
            .and_then(|(reset, restart)| Ok((reset, restart, u64::try_from(self.clock)?)));
        let (reset_count, restart_count, clock) =
            counters.map_err(|_| StoreError::Malformed("clock"))?;
        Ok(Reading {
            reset_count,
            restart_count,
            clock,
        })
    }
}

/// An enrolled host.
#[derive(Clone, Debug)]
pub(crate) struct HostRecord {
    pub(crate) host: HostId,
    pub(crate) identity: Identity,
    pub(crate) enrolled_at: i64,
    /// What the EK certificate names; `None` for hosts that were enrolled before it was kept.
    pub(crate) tpm: Option<TpmName>,
    /// The version of its TPM's firmware that was accepted: that of its first round, of the identity before
    /// it under the same TPM, or what an operator said.
    pub(crate) firmware_version: Option<i64>,
    /// `None` before the first round.
    pub(crate) last_quote: Option<QuoteClock>,
    /// Digest of the boot log of the last accepted round.
    pub(crate) boot_log: Option<Sha256Digest>,
    /// The last verdict, JSON of the appraisal's own type.
    pub(crate) verdict: Option<String>,
    /// The last signed result.
    pub(crate) result: Option<String>,
    /// Where replay of its runtime list stands; `None` before a list was accepted.
    pub(crate) runtime: Option<ImaState>,
}

pub(super) type Row = (
    String,
    Vec<u8>,
    Vec<u8>,
    Vec<u8>,
    Vec<u8>,
    String,
    i64,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<Vec<u8>>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
);

/// The columns of [`Row`], in its order, and a condition.
macro_rules! select {
    ($condition:literal) => {
        concat!(
            "SELECT host, ek_digest, ek_public, ak_public, tls_key, root_class, enrolled_at, \
             firmware_version, reset_count, restart_count, clock, boot_log, verdict, result, runtime, tpm \
             FROM hosts ",
            $condition
        )
    };
}
pub(super) use select;

impl Tx {
    /// Enrols. `false`: the host, its EK, its AK or its TLS key is enrolled already.
    pub(crate) async fn add_host(
        &mut self,
        host: &HostId,
        identity: &Identity,
        endorsed: &Endorsed,
        now: i64,
    ) -> Result<bool, StoreError> {
        let tpm = serde_json::to_string(&endorsed.tpm)
            .map_err(|_| StoreError::Malformed("endorsement"))?;
        Ok(on!(self, connection => {
            sqlx::query(
                "INSERT INTO hosts (host, ek_digest, ek_public, ak_public, tls_key, root_class, enrolled_at, tpm, root_key,
                     leases_to_tell)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9,
                     CASE WHEN EXISTS (SELECT 1 FROM leases WHERE host = $1 AND purged_at IS NULL) THEN 1 ELSE 0 END)
                 ON CONFLICT DO NOTHING",
            )
            .bind(host.as_str())
            .bind(&identity.ek_digest.0[..])
            .bind(&identity.ek_public.0)
            .bind(&identity.ak_public.0)
            .bind(&identity.tls_key.0[..])
            .bind(class_word(identity.root_class))
            .bind(now)
            .bind(tpm)
            .bind(&endorsed.root_key.0[..])
            .execute(connection)
            .await?
            .rows_affected()
        }) == 1)
    }

    /// The host called `host`.
    pub(crate) async fn host(&mut self, host: &HostId) -> Result<Option<HostRecord>, StoreError> {
        let row: Option<Row> = on!(self, connection => {
            sqlx::query_as(select!("WHERE host = $1"))
                .bind(host.as_str())
                .fetch_optional(connection)
                .await?
        });
        row.map(record).transpose()
    }

    /// The host that has this TLS key.
    pub(crate) async fn host_by_tls_key(
        &mut self,
        tls_key: &Sha256Digest,
    ) -> Result<Option<HostRecord>, StoreError> {
        let row: Option<Row> = on!(self, connection => {
            sqlx::query_as(select!("WHERE tls_key = $1"))
                .bind(&tls_key.0[..])
                .fetch_optional(connection)
                .await?
        });
        row.map(record).transpose()
    }

    /// Every host, by name.
    pub(crate) async fn hosts(&mut self) -> Result<Vec<HostRecord>, StoreError> {
        let rows: Vec<Row> = on!(self, connection => {
            sqlx::query_as(select!("ORDER BY host")).fetch_all(connection).await?
        });
        rows.into_iter().map(record).collect()
    }

    /// Replaces the verdict of a host by one that holds until its next round, and takes back its result.
    pub(crate) async fn void_verdict(
        &mut self,
        host: &HostId,
        verdict: &str,
    ) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("UPDATE hosts SET verdict = $2, result = NULL, standing = NULL WHERE host = $1")
                .bind(host.as_str())
                .bind(verdict)
                .execute(connection)
                .await?;
        });
        Ok(())
    }

    /// Gives a host another verdict, and leaves the last accepted quote where it is.
    pub(crate) async fn contradict_host(
        &mut self,
        host: &HostId,
        verdict: &str,
        result: &str,
    ) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("UPDATE hosts SET verdict = $2, result = $3, standing = NULL, before_change = entry WHERE host = $1")
                .bind(host.as_str())
                .bind(verdict)
                .bind(result)
                .execute(connection)
                .await?;
        });
        Ok(())
    }
}

pub(super) fn record(row: Row) -> Result<HostRecord, StoreError> {
    let (host, ek_digest, ek_public, ak_public, tls_key, root_class, enrolled_at, ..) = &row;
    let last_quote = QuoteClock::of(row.7, row.8, row.9, row.10);
    Ok(HostRecord {
        host: host_id(host)?,
        identity: Identity {
            ek_digest: digest(ek_digest)?,
            ek_public: Bytes(ek_public.clone()),
            ak_public: Bytes(ak_public.clone()),
            tls_key: digest(tls_key)?,
            root_class: class(root_class).ok_or(StoreError::Malformed("root class"))?,
        },
        enrolled_at: *enrolled_at,
        tpm: row
            .15
            .as_deref()
            .map(serde_json::from_str)
            .transpose()
            .map_err(|_| StoreError::Malformed("endorsement"))?,
        firmware_version: row.7,
        last_quote,
        boot_log: row.11.as_deref().map(digest).transpose()?,
        verdict: row.12,
        result: row.13,
        runtime: row
            .14
            .as_deref()
            .map(serde_json::from_str)
            .transpose()
            .map_err(|_| StoreError::Malformed("runtime list state"))?,
    })
}

/// The word for a root class in the database.
pub(crate) fn class_word(class: RootClass) -> &'static str {
    match class {
        RootClass::Manufacturer => "manufacturer",
        RootClass::Cloud => "cloud",
        RootClass::Simulator => "simulator",
    }
}

/// The root class of a word.
pub(crate) fn class(word: &str) -> Option<RootClass> {
    [
        RootClass::Manufacturer,
        RootClass::Cloud,
        RootClass::Simulator,
    ]
    .into_iter()
    .find(|class| class_word(*class) == word)
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;

    /// A host with keys of some kind.
    pub(in crate::store) async fn enrol(tx: &mut Tx, host: &HostId) {
        let identity = Identity {
            ek_digest: Sha256Digest::ZERO,
            ek_public: Bytes(vec![1]),
            ak_public: Bytes(vec![2]),
            tls_key: Sha256Digest::ZERO,
            root_class: RootClass::Simulator,
        };
        let endorsed = Endorsed {
            tpm: TpmName {
                manufacturer: "id:00001014".parse().unwrap(),
                model: String::new(),
                version: String::new(),
            },
            root_key: Sha256Digest::ZERO,
        };
        assert!(tx.add_host(host, &identity, &endorsed, 0).await.unwrap());
    }

    #[test]
    fn the_first_counter_that_differs_decides() {
        let clock = |(reset_count, restart_count, clock)| QuoteClock {
            firmware_version: 1,
            reset_count,
            restart_count,
            clock,
        };
        let last = clock((5, 2, 100));
        for (quote, after) in [
            ((5, 2, 100), false),
            ((5, 2, 99), false),
            ((5, 1, 200), false),
            ((4, 9, 200), false),
            ((5, 2, 101), true),
            ((5, 3, 7), true),
            ((6, 0, 1), true),
        ] {
            assert_eq!(clock(quote).is_after(&last), after, "{quote:?}");
        }
    }
}
