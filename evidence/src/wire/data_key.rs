//! A data key, for one host in one boot: a new one to encrypt a secret with, or the one of a secret that is there.

use serde::{Deserialize, Serialize};

use super::{Evidence, Release};
use crate::annotation::{KeyName, PolicyName};
use crate::data_key::WRAPPED_MAX;
use crate::digest::Sha256Digest;
use crate::encoded::Bytes;
use crate::host_id::HostId;

/// A round of evidence that carries a release key, and the key of the attestor's under which a data key is to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataKeyWish {
    /// Answers a fresh challenge.
    pub evidence: Evidence,
    /// Name of the attestor's key.
    pub key: KeyName,
}

/// A new data key, wrapped to be kept, and sealed to be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataKeyMade {
    /// The JSON of a [`WrappedDataKey`](crate::data_key::WrappedDataKey).
    pub wrapped: Bytes<WRAPPED_MAX>,
    /// Its lease is a [`DataKeyLease`], its payload the data key.
    pub release: Release,
}

/// A round of evidence that carries a release key, and the wrapped data key that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataKeyRequest {
    /// Answers a fresh challenge.
    pub evidence: Evidence,
    /// As [`DataKeyMade::wrapped`].
    pub wrapped: Bytes<WRAPPED_MAX>,
}

/// Who may have which data key, and until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataKeyLease {
    /// The host.
    pub host: HostId,
    /// TPM resets in its boot.
    pub reset_count: u32,
    /// TPM restarts.
    pub restart_count: u32,
    /// Name of the key that wraps.
    pub key: KeyName,
    /// Which of its versions.
    pub key_version: u32,
    /// Id of the data key.
    pub data_key: Sha256Digest,
    /// Name of the `WorkloadPolicy` that was judged.
    pub policy: PolicyName,
    /// Seconds since 1970.
    pub issued_at: i64,
    /// Seconds since 1970.
    pub expires_at: i64,
    /// Milliseconds on the TPM's clock (`TPMS_CLOCK_INFO`), at which the secret does not open any more.
    pub clock_end: u64,
    /// Leaf hash of the audit entry.
    pub entry: Sha256Digest,
}
