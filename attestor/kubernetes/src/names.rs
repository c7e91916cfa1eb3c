//! What we write onto the objects of a cluster, and under which names.

pub use touchstone_policies::placement::{
    COUNTRY_LABEL as COUNTRY, TIER_LABEL as TIER, region_label,
};

/// How our labels on nodes begin. Kubelets may not set labels with the first part on themselves (NodeRestriction).
pub const LABELS: &str = "node-restriction.kubernetes.io/touchstone-";
/// Key of our taint.
pub const TAINT: &str = "touchstone.dev/untrusted";
/// Scheduling gate of pods that wait for a host that fits.
pub const GATE: &str = "touchstone.dev/awaiting-verdict";
/// Namespaces that our webhooks leave alone, besides the one of the installation.
pub use touchstone_policies::manifest::EXEMPT;
/// Who writes, as the API server is told.
pub const MANAGER: &str = "touchstone";

/// Whether a label on nodes is one of ours.
#[must_use]
pub fn is_ours(label: &str) -> bool {
    label.starts_with(LABELS)
}
