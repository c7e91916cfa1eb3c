//! What is done now and then, for nobody in particular.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::attestor::Attestor;
use crate::clock;
use crate::layer_keys;
use crate::location;
use crate::store::{Store, StoreError};
use crate::workloads;

/// Between two rounds of it.
const PAUSE: Duration = Duration::from_secs(60);
/// Seconds for which answers are kept for hosts that lost them.
const ANSWER_SECONDS: i64 = 3600;

/// Keeps house until it is dropped.
pub(crate) async fn run(attestor: Arc<Attestor>) {
    let mut ticks = interval(PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Some(seconds) = clock::set_back() {
            tracing::error!("the clock was set back by {seconds} s; set it right");
        }
        attestor.flush_refusals().await;
        attestor.budgets.forget(clock::now());
        if let Err(error) = attestor.keys.ca.renew_if_due(clock::now()).await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "the TLS certificate was not renewed");
        }
        if let Err(error) = attestor.check_log().await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "no head of the audit log may be signed");
        }
        resume_sweeps(&attestor);
        if let Err(error) = layer_keys::tell_hosts(&attestor.store).await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(
                error,
                "hosts are still to be told of leases that are revoked"
            );
        }
        if let Err(error) = forget(&attestor.store, clock::now()).await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "what has expired was not forgotten");
        }
    }
}

/// It may take longer than everything else here.
fn resume_sweeps(attestor: &Arc<Attestor>) {
    let attestor = Arc::clone(attestor);
    tokio::spawn(async move {
        if let Err(error) = location::resume_sweeps(&attestor).await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(
                error,
                "tags of a revoked location authority are still to be taken back"
            );
        }
    });
}

/// Each by itself: one that cannot be forgotten keeps no other.
async fn forget(store: &Store, now: i64) -> Result<(), StoreError> {
    let workloads = workloads::forget(store, now).await;
    let challenges = forget_challenges(store, now).await;
    workloads.and(challenges)
}

async fn forget_challenges(store: &Store, now: i64) -> Result<(), StoreError> {
    let mut tx = store.write().await?;
    tx.forget_challenges(now.saturating_sub(ANSWER_SECONDS))
        .await?;
    tx.commit().await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;

    const NOW: i64 = 1_000_000;

    #[tokio::test]
    async fn challenges_are_forgotten_though_workloads_cannot_be() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("database");
        let url = format!("sqlite:{}", file.display());
        let store = Store::open(&url).await.unwrap();
        let mut tx = store.write().await.unwrap();
        for statement in [
            "INSERT INTO challenges (nonce, host, pcrs, issued_at, expires_at) VALUES (x'01', 'host-1', '[]', 0, 0)",
            "ALTER TABLE workload_places RENAME TO elsewhere",
        ] {
            tx.run(statement).await.unwrap();
        }
        tx.commit().await.unwrap();
        assert!(forget(&store, NOW).await.is_err());
        let mut tx = store.write().await.unwrap();
        assert_eq!(tx.run("DELETE FROM challenges").await.unwrap(), 0);
    }
}
