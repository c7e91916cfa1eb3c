//! A release: the key of one layer, for one host in one boot.

use serde::{Deserialize, Serialize};

use super::{Evidence, SealedRelease};
use crate::annotation::{ANNOTATION_MAX, KeyName, OPTIONS_MAX, PolicyName};
use crate::digest::Sha256Digest;
use crate::encoded::Bytes;
use crate::host_id::HostId;
use crate::oci_digest::OciDigest;

/// Most bytes of a lease.
pub const LEASE_MAX: usize = 4 << 10;
/// Most revoked leases in one message; further ones are told once these are purged.
pub const REVOKED_MAX: usize = 128;
/// Most bytes of what is released: the cipher's options, and the tag of their encryption.
const PAYLOAD_MAX: usize = OPTIONS_MAX + 16;

/// A round of evidence that carries a release key, and the annotation of the layer whose key is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRequest {
    /// Answers a fresh challenge.
    pub evidence: Evidence,
    /// As it stands in the image's manifest.
    pub annotation: Bytes<ANNOTATION_MAX>,
    /// The manifest that the host found the layer in. It is the host's word; the register says whether it is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<OciDigest>,
}

/// What opens the layer, in this TPM and in this boot alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The JSON of a [`Lease`], whose very bytes the payload is bound to.
    pub lease: Bytes<LEASE_MAX>,
    /// The secret that the payload is encrypted under.
    pub sealed: SealedRelease,
    /// The cipher's options, encrypted ([`crate::sealed_release::payload`]).
    pub payload: Bytes<PAYLOAD_MAX>,
    /// A round is due at once: its answer tells which leases of the host are revoked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub round_due: bool,
}

/// A lease of the host's that is revoked: what it opened is to be purged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokedLease {
    /// Name of the key.
    pub key: KeyName,
    /// Which of its versions.
    pub key_version: u32,
    /// The plain layer.
    pub layer: OciDigest,
}

/// Who may read what, and until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// The host.
    pub host: HostId,
    /// TPM resets in its boot.
    pub reset_count: u32,
    /// TPM restarts.
    pub restart_count: u32,
    /// Name of the key.
    pub key: KeyName,
    /// Which of its versions.
    pub key_version: u32,
    /// The plain layer.
    pub layer: OciDigest,
    /// Name of the `WorkloadPolicy` that was judged.
    pub policy: PolicyName,
    /// The manifest that it was released for, where one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<OciDigest>,
    /// Seconds since 1970.
    pub issued_at: i64,
    /// Seconds since 1970.
    pub expires_at: i64,
    /// Milliseconds on the TPM's clock (`TPMS_CLOCK_INFO`), at which the secret does not open any more.
    pub clock_end: u64,
    /// Leaf hash of the audit entry.
    pub entry: Sha256Digest,
}
