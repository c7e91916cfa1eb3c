//! Waits for what the attestor writes into its log.

use serde_json::Value;
use touchstone_tests::cluster::{Cluster, PATIENCE};
use touchstone_tpm_sim::kubernetes::until;

/// The newest entry that is meant, once there is one.
pub(super) async fn entry(cluster: &Cluster, meant: impl Fn(&Value) -> bool) -> Value {
    until("the entry is written", PATIENCE, async || {
        let entries = cluster.world.server.audit_entries();
        Ok(entries.into_iter().rfind(|entry| meant(entry)))
    })
    .await
    .unwrap()
}

/// Waits until the newest entry of this kind is the one that is meant.
pub(super) async fn entry_once(cluster: &Cluster, kind: &str, meant: impl Fn(&Value) -> bool) {
    until("the newest entry says it", PATIENCE, async || {
        let entries = cluster.world.server.audit_entries();
        let mut entries = entries.into_iter();
        let last = entries.rfind(|entry| entry["kind"] == kind);
        Ok(last.is_some_and(|last| meant(&last)).then_some(()))
    })
    .await
    .unwrap();
}
