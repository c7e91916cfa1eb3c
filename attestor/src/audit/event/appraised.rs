//! What the entry of an appraisal holds.

use serde::Serialize;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::finding::Finding;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::ima::ImaState;
use touchstone_evidence::location::Place;
use touchstone_evidence::result::{TrustTier, TrustVector};

/// All that led to a verdict: enough to appraise again and reach the same.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Appraised {
    pub(crate) host: HostId,
    pub(crate) tier: TrustTier,
    pub(crate) vector: TrustVector,
    pub(crate) findings: Vec<Finding>,
    pub(crate) place: Option<Place>,
    pub(crate) policy: String,
    pub(crate) policy_digest: Sha256Digest,
    pub(crate) evidence: Sha256Digest,
    pub(crate) boot_log: Sha256Digest,
    /// Where replay of the runtime list stood afterwards; the next round began there.
    pub(crate) runtime: Option<ImaState>,
    pub(crate) result: String,
    pub(crate) challenged_at: i64,
    pub(crate) expires_at: i64,
    pub(crate) firmware_version: i64,
    pub(crate) reset_count: i64,
    pub(crate) restart_count: i64,
    pub(crate) clock: i64,
}
