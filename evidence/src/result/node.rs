//! What the attestor says of a Kubernetes node, for its `HostTrust` object.

use serde::{Deserialize, Serialize};

use super::TrustTier;
use crate::digest::Sha256Digest;
use crate::host_id::HostId;

/// Copied to another node, to a node that was made anew under the same name, or over a boot, it says nothing: node, uid
/// and boot are what is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeStatement {
    /// The node's name.
    #[serde(rename = "sub")]
    pub node: String,
    /// `metadata.uid` of the node.
    pub node_uid: String,
    /// The host behind it.
    pub host: HostId,
    /// Its tier.
    pub tier: TrustTier,
    /// Boots of its TPM.
    pub reset_count: u32,
    /// Restarts within it.
    pub restart_count: u32,
    /// Leaf hash of the audit entry of the appraisal.
    pub entry: Sha256Digest,
    /// Seconds since 1970.
    #[serde(rename = "iat")]
    pub issued_at: i64,
    /// Seconds since 1970.
    #[serde(rename = "exp")]
    pub expires_at: i64,
}
