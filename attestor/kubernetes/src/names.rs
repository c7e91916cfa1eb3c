//! What we write onto the objects of a cluster, and under which names.

/// How our labels on nodes begin. Kubelets may not set labels with the first part on themselves (NodeRestriction).
pub const LABELS: &str = "node-restriction.kubernetes.io/touchstone-";
/// Label on nodes: the tier of the host behind it.
pub const TIER: &str = "node-restriction.kubernetes.io/touchstone-tier";
/// Label on nodes: the country of the host behind it, ISO 3166-1.
pub const COUNTRY: &str = "node-restriction.kubernetes.io/touchstone-country";
/// Begins a label on nodes that is `true` where the host behind it stands in that `Region`.
pub const REGION: &str = "node-restriction.kubernetes.io/touchstone-region.";
/// Key of our taint.
pub const TAINT: &str = "touchstone.dev/untrusted";
/// Scheduling gate of pods that wait for a host that fits.
pub const GATE: &str = "touchstone.dev/awaiting-verdict";
/// Namespaces that our webhooks leave alone, besides the one of the installation: without them no cluster heals.
pub const EXEMPT: [&str; 3] = ["kube-system", "kube-node-lease", "kube-public"];
/// Who writes, as the API server is told.
pub const MANAGER: &str = "touchstone";

/// Whether a label on nodes is one of ours.
#[must_use]
pub fn is_ours(label: &str) -> bool {
    label.starts_with(LABELS)
}
