//! Follows the log by its index, which misses nothing: entries are numbered in the order of their commits. What
//! another replica committed is read from the database as it stands then; what this process published itself is
//! passed over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::time::{MissedTickBehavior, interval, timeout};
use touchstone_evidence::host_id::HostId;
use touchstone_kubernetes::cluster_name::ClusterName;

use crate::appraisal::Verdict;
use crate::clock;
use crate::policy;
use crate::result_keys::ResultKeys;
use crate::store::{Store, StoreError, Tx};
use crate::trust_index::TrustIndex;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a look may take: a database that does not answer is asked anew.
const PATIENCE: Duration = Duration::from_secs(2);
/// Pages of entries that are read in one look: whoever is far behind comes nearer with each.
const PAGES_MAX: usize = 4;

/// Follows until it is dropped.
pub(crate) async fn run(store: Store, index: Arc<TrustIndex>, keys: Arc<ResultKeys>) {
    let mut ticks = interval(PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut behind = false;
    loop {
        if !behind {
            ticks.tick().await;
        }
        let looked = timeout(PATIENCE, follow(&store, &index, &keys)).await;
        behind = matches!(looked, Ok(Ok(Followed::Behind)));
        match looked {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "the log could not be followed");
            }
            Err(_) => tracing::error!("the database does not answer"),
        }
    }
}

/// What is looked at in an entry.
#[derive(Deserialize)]
struct Glance {
    kind: String,
    host: Option<HostId>,
    node: Option<String>,
    /// Whose node: `default` in entries from before clusters had names.
    #[serde(default)]
    cluster: ClusterName,
}

/// What others changed.
#[derive(Default)]
struct Changed {
    /// Hosts with another verdict, or none.
    hosts: BTreeSet<HostId>,
    /// Those of them with other nodes.
    machines: BTreeSet<HostId>,
    nodes: BTreeSet<(ClusterName, String)>,
    policies: bool,
    result_keys: bool,
}

impl Changed {
    fn by(&mut self, entry: Glance) {
        match entry.kind.as_str() {
            // They name host and node, and change nothing about them.
            "admission-decided" | "pod-ended" => return,
            "policy-applied" => self.policies = true,
            "result-key-added" | "result-key-revoked" => self.result_keys = true,
            // They change nothing about which nodes the host stands behind.
            "host-appraised" | "layer-key-released" | "data-key-released" | "images-purged" => {}
            _ => self.machines.extend(entry.host.clone()),
        }
        self.hosts.extend(entry.host);
        let node = entry.node.map(|node| (entry.cluster, node));
        self.nodes.extend(node);
    }
}

/// How far a look came.
enum Followed {
    /// To the end of the log as it was: nothing is missing.
    End,
    /// Nearer to it.
    Behind,
}

/// One look: reads what others committed, publishes it, and confirms if that was all.
async fn follow(
    store: &Store,
    index: &TrustIndex,
    keys: &ResultKeys,
) -> Result<Followed, StoreError> {
    let begun = Instant::now();
    let (from, own) = index.unfollowed();
    // Before the database is asked: what comes later may not be seen.
    let known = index.committed();
    let mut tx = store.read().await?;
    let size = tx.log_size().await?;
    if store.is_fenced() || size < known {
        tracing::error!("the database has {size} entries of the audit log, and had {known}");
        store.fence();
        return Err(StoreError::Fenced);
    }
    let (changed, next) = foreign(&mut tx, from, size, &own).await?;
    if changed.result_keys
        && let Err(error) = keys.look(&tx.result_keys().await?)
    {
        let error = &error as &dyn std::error::Error;
        tracing::error!(error, "no results are signed any more");
    }
    if let Some(order) = size.checked_sub(1) {
        publish(&mut tx, index, changed, order).await?;
    }
    if next < size {
        index.follow_to(next);
        return Ok(Followed::Behind);
    }
    index.confirm(size, begun);
    Ok(Followed::End)
}

/// What others changed from entry `from` on, and the first entry that was not looked at.
async fn foreign(
    tx: &mut Tx,
    from: u64,
    size: u64,
    own: &BTreeSet<u64>,
) -> Result<(Changed, u64), StoreError> {
    let mut changed = Changed::default();
    let mut next = from;
    for _ in 0..PAGES_MAX {
        let Some(missing) = (next..size).find(|order| !own.contains(order)) else {
            return Ok((changed, size));
        };
        let page = tx.entries(missing).await?;
        if page.is_empty() {
            return Err(StoreError::Malformed("audit log: entries are missing"));
        }
        for (order, body) in (missing..size).zip(page) {
            next = order.saturating_add(1);
            if !own.contains(&order) {
                let glance = serde_json::from_slice(&body);
                changed.by(glance.map_err(|_| StoreError::Malformed("audit entry"))?);
            }
        }
    }
    Ok((changed, next))
}

/// `order`: the last entry that `tx` sees.
async fn publish(
    tx: &mut Tx,
    index: &TrustIndex,
    changed: Changed,
    order: u64,
) -> Result<(), StoreError> {
    if changed.policies
        && let Some(stored) = tx.policy().await?
    {
        match policy::parse(stored.manifests).await? {
            Ok(policies) => index.put_policies(order, Arc::new(policies)),
            // A newer replica wrote them: what cannot be read must not be judged by.
            Err(_) => return Err(StoreError::Malformed("policy")),
        }
    }
    let hosts: Vec<HostId> = changed.hosts.into_iter().collect();
    let records = tx.hosts_named(&hosts).await?;
    for host in &hosts {
        let record = records.get(host);
        match record.map(Verdict::of).transpose()?.flatten() {
            Some(verdict) => {
                index.put_host(order, verdict.standing(host), verdict.entry, clock::now());
            }
            None => index.drop_standing(order, host),
        }
    }
    for host in &changed.machines {
        index.put_nodes_of(order, host, tx.nodes_of(host).await?);
    }
    for (cluster, node) in changed.nodes {
        if let Some(mapped) = tx.mapped_node(&cluster, &node).await? {
            index.put_node(order, mapped);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;
    use crate::store::PAGE;

    #[tokio::test]
    async fn whoever_is_far_behind_comes_nearer_with_each_look() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("database");
        let store = Store::open(&format!("sqlite:{}", file.display())).await;
        let mut tx = store.unwrap().write().await.unwrap();
        let pages = u64::try_from(PAGE).unwrap() * u64::try_from(PAGES_MAX).unwrap();
        let size = pages + 3;
        for order in 0..size {
            let entry = format!(r#"{{"kind":"host-appraised","host":"h-{order}"}}"#);
            assert_eq!(tx.append(entry.as_bytes()).await.unwrap(), order);
        }
        let own = BTreeSet::from([pages, pages + 1]);
        let (changed, next) = foreign(&mut tx, 0, size, &own).await.unwrap();
        assert_eq!((changed.hosts.len(), next), (2048, pages));
        let (changed, next) = foreign(&mut tx, next, size, &own).await.unwrap();
        assert_eq!((changed.hosts.len(), next), (1, size));
    }
}
