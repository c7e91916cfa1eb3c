//! Which host stands behind which node, as entries of the log say it, in whatever order they come here.

use std::sync::PoisonError;

use touchstone_evidence::host_id::HostId;
use touchstone_kubernetes::cluster_name::ClusterName;

use super::super::{Inner, TrustIndex};
use super::{Behind, Link};
use crate::store::{MappedNode, NodeBoot};

impl TrustIndex {
    /// Takes over a committed mapping. One from before the host's end took the node away from whom it was
    /// mapped to, and then ended itself.
    pub(crate) fn put_node(&self, order: u64, mapped: MappedNode) {
        self.change(order, |inner| {
            let ended = inner.ended.get(&mapped.host);
            let ended = ended.is_some_and(|end| order < *end);
            put(inner, order, mapped, !ended);
        });
    }

    /// Takes over that a node began a boot, which the log says later.
    pub(crate) fn begin_boot(&self, boot: &NodeBoot) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        inner.changes = inner.changes.wrapping_add(1);
        if let Some((_, Some(behind))) = inner.nodes.get_mut(&boot.node)
            && behind.is(&boot.uid)
        {
            behind.booted_at = boot.booted_at;
        }
    }

    /// Takes over that no host stands behind the node of this name in `cluster` any more.
    pub(crate) fn drop_node(&self, order: u64, cluster: ClusterName, node: String) {
        self.change(order, |inner| insert(inner, order, cluster, node, None));
    }

    /// Takes over that `host` stands behind no node any more.
    pub(crate) fn drop_nodes_of(&self, order: u64, host: &HostId) {
        self.change(order, |inner| drop_nodes(inner, order, host));
    }

    /// Takes over that `host` stands behind these nodes and no others.
    pub(crate) fn put_nodes_of(&self, order: u64, host: &HostId, mut nodes: Vec<MappedNode>) {
        self.change(order, |inner| {
            for mapped in &mut nodes {
                keep_boot(inner, mapped);
            }
            drop_nodes(inner, order, host);
            for mapped in nodes {
                put(inner, order, mapped, true);
            }
        });
    }
}

/// `stands`: whether the host does behind the node.
fn put(inner: &mut Inner, order: u64, mut mapped: MappedNode, stands: bool) {
    keep_boot(inner, &mut mapped);
    let behind = Behind {
        host: mapped.host,
        uid: mapped.uid,
        booted_at: mapped.booted_at,
    };
    let behind = stands.then_some(behind);
    insert(inner, order, mapped.cluster, mapped.node, behind);
}

/// What was read before the node's last boot was told does not unsay it, nor does another host behind the node.
fn keep_boot(inner: &Inner, mapped: &mut MappedNode) {
    if mapped.cluster == inner.cluster
        && let Some((_, Some(held))) = inner.nodes.get(&mapped.node)
        && held.uid == mapped.uid
    {
        mapped.booted_at = mapped.booted_at.max(held.booted_at);
    }
}

/// Of two, what was committed later stays.
fn insert(
    inner: &mut Inner,
    order: u64,
    cluster: ClusterName,
    node: String,
    behind: Option<Behind>,
) {
    let is_newest = |held: Option<&Link>| held.is_none_or(|(old, _)| *old <= order);
    match cluster == inner.cluster {
        true if is_newest(inner.nodes.get(&node)) => {
            inner.nodes.insert(node, (order, behind));
        }
        true => {}
        false => {
            let key = (cluster, node);
            if is_newest(inner.elsewhere.get(&key)) {
                inner.elsewhere.insert(key, (order, behind));
            }
        }
    }
}

fn drop_nodes(inner: &mut Inner, order: u64, host: &HostId) {
    let end = inner.ended.entry(host.clone()).or_insert(order);
    *end = order.max(*end);
    let elsewhere = inner.elsewhere.values_mut();
    for (old, behind) in inner.nodes.values_mut().chain(elsewhere) {
        if is_behind(behind.as_ref(), host) && *old <= order {
            (*old, *behind) = (order, None);
        }
    }
}

fn is_behind(behind: Option<&Behind>, host: &HostId) -> bool {
    behind.is_some_and(|behind| behind.host == *host)
}
