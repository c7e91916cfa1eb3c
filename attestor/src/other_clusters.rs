//! Nodes that were mapped while the cluster had another name: they are nothing to an attestor that calls it otherwise.

use std::collections::BTreeMap;

use touchstone_kubernetes::cluster_name::ClusterName;

use crate::attestor::Attestor;
use crate::store::StoreError;

/// Most clusters that are named.
const NAMED_MAX: usize = 5;

/// Warns where hosts stand behind nodes of other clusters, and behind none of the one that the attestor is for.
pub(crate) async fn warn(attestor: &Attestor) -> Result<(), StoreError> {
    let nodes = attestor.store.read().await?.nodes().await?;
    let clusters = nodes.into_iter().map(|mapped| mapped.cluster);
    let Some(others) = others(&attestor.cluster, clusters) else {
        return Ok(());
    };
    tracing::warn!(
        "no host stands behind a node of the cluster `{}`, as this one is called here, but hosts stand behind nodes of {others}; \
         if it is the same cluster, say its name in the file of --kubernetes (`cluster = \"NAME\"`); if it is to be called \
         otherwise from now on, map its nodes again with `touchstone node map`, or wait for its agents' tokens; if `touchstone \
         kubernetes` serves the other one, and no node of this one was mapped yet, all is well",
        attestor.cluster
    );
    Ok(())
}

/// The other clusters and how many nodes each has, in words; `None` where there are none, or where `own` has nodes too.
fn others(own: &ClusterName, clusters: impl Iterator<Item = ClusterName>) -> Option<String> {
    let mut nodes: BTreeMap<ClusterName, usize> = BTreeMap::new();
    for cluster in clusters {
        let count = nodes.entry(cluster).or_default();
        *count = count.saturating_add(1);
    }
    if nodes.is_empty() || nodes.contains_key(own) {
        return None;
    }
    let named = nodes.iter().take(NAMED_MAX);
    let named: Vec<String> = named
        .map(|(cluster, count)| format!("`{cluster}` ({count})"))
        .collect();
    let more = match nodes.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!("{}{more}", named.join(", ")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;

    fn told(own: &str, clusters: &[&str]) -> Option<String> {
        let name = |cluster: &str| cluster.parse().unwrap();
        others(&name(own), clusters.iter().map(|cluster| name(cluster)))
    }

    #[test]
    fn nodes_of_other_clusters_are_told_where_there_are_none_of_this_one() {
        let west = told("default", &["west", "east", "west"]);
        assert_eq!(west.unwrap(), "`east` (1), `west` (2)");
        assert_eq!(told("west", &["west", "east"]), None);
        assert_eq!(told("west", &[]), None);
    }

    #[test]
    fn of_many_clusters_a_few_are_named() {
        let many = ["a", "b", "c", "d", "e", "f", "g"];
        let said = told("default", &many).unwrap();
        assert!(said.ends_with("`e` (1) and 2 more"), "{said}");
    }
}
