//! What the statement of [`super`] says of one host, from JSON to what it means.

use serde::Deserialize;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::encoded::Bytes;
use touchstone_evidence::host_id::HostId;

use super::Held;
use crate::store::StoreError;
use crate::store::boots::{self, Boot};
use crate::store::hosts::{self, HostRecord, Identity, QuoteClock};
use crate::store::location::TagState;
use crate::store::log;
use crate::store::rounds::{self, StoredChallenge};

#[derive(Deserialize)]
pub(super) struct HostJson {
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
    leases_to_tell: i64,
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
    /// What it says.
    pub(super) fn held(self) -> Result<Held, StoreError> {
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
            leases_to_tell: self.leases_to_tell != 0,
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

/// Digests in hexadecimal digits, blanks between; sorted.
pub(super) fn eks(texts: &str) -> Result<Vec<Sha256Digest>, StoreError> {
    let digest = |text: &str| {
        let bytes = hex::decode(text).map_err(|_| StoreError::Malformed("digest"))?;
        log::digest(&bytes)
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
