//! What entries about clusters hold: webhook configurations, what shows which host a node is, where pods went.

use serde::{Deserialize, Serialize};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::oci_digest::OciDigest;
use touchstone_evidence::result::TrustTier;
use touchstone_kubernetes::cluster_name::ClusterName;
use touchstone_policies::admit::Workload;

/// Our webhook configurations. `validating`, `mutating`: their generation; absent: removed.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct WebhooksSeen {
    /// `default` in what was kept before clusters had names.
    #[serde(default)]
    pub(crate) cluster: ClusterName,
    pub(crate) name: String,
    pub(crate) validating: Option<i64>,
    pub(crate) mutating: Option<i64>,
    /// Which ones of their name they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) validating_uid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mutating_uid: Option<String>,
    /// What the API server does not ask us though it must.
    pub(crate) gaps: Vec<String>,
}

/// What showed that a node is a host.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub(crate) enum NodeProof {
    /// A service account token: the cluster vouched for it, and the host's TPM signed for it. `token`: SHA-256 of it.
    Token { token: Sha256Digest },
}

/// A pod of a workload, and the one that it came after.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Moved {
    pub(crate) cluster: ClusterName,
    pub(crate) namespace: String,
    pub(crate) workload: Workload,
    pub(crate) from: Custodian,
    pub(crate) to: Custodian,
    /// Manifests that the pod asks for.
    pub(crate) images: Vec<OciDigest>,
    /// Whether it is what the record of its workload says; `None`: there is none.
    pub(crate) same: Option<bool>,
}

/// Where a pod runs, or ran.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Custodian {
    pub(crate) pod: String,
    pub(crate) pod_uid: String,
    pub(crate) node: String,
    pub(crate) host: Option<HostId>,
    /// Of the host, when the pod was seen at the new place.
    pub(crate) tier: TrustTier,
}
