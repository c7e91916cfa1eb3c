//! What a host says that it took off its disk: images that lay there decrypted.

use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;
use crate::encoded::Few;
use crate::oci_digest::OciDigest;
use crate::wire::{REVOKED_MAX, RevokedLease};

/// Most images in one message.
pub const PURGED_MAX: usize = 256;

/// What keeps images on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContainerRuntime {
    /// containerd.
    Containerd,
    /// The storage of podman and CRI-O.
    Podman,
}

impl ContainerRuntime {
    /// As it stands in messages.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::Podman => "podman",
        }
    }
}

/// Images that a host purged. It is the host's word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Purge {
    /// Where from.
    pub runtime: ContainerRuntime,
    /// Their manifests.
    pub digests: Few<OciDigest, PURGED_MAX>,
    /// Whether the host looked again and found nothing left of them.
    pub complete: bool,
    /// Revoked leases of which nothing is left on the host.
    #[serde(default, skip_serializing_if = "Few::is_empty")]
    pub leases: Few<RevokedLease, REVOKED_MAX>,
}

/// Where the attestor wrote it down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PurgeNoted {
    /// Leaf hash of the audit entry.
    pub entry: Sha256Digest,
}
