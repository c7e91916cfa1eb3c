//! Applying policy manifests: a broken set is refused and the old one stays in force.

mod breaker;
mod plan;

use std::sync::Arc;

use touchstone_evidence::digest::Sha256Digest;
use touchstone_kubernetes::cluster_name::ClusterName;
use touchstone_policies::manifest::{ManifestError, PolicySet};

use crate::attestor::Attestor;
use crate::audit::{Actor, Entry, Event};
use crate::clock;
use crate::store::{PendingReference, StoreError, Tx};
pub(crate) use plan::{AT_ONCE, Plan, plan};

/// Why manifests were not applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(
        "{falling} of {affirming} affirming hosts would not be affirming any more; look at it with \
         `touchstone policy plan`, and if it is meant, apply with --drain"
    )]
    WouldDrain { falling: usize, affirming: usize },
    #[error(
        "the pods of `{workload}` could not run any more on {falling} of {allowing} hosts; look at it with \
         `touchstone policy plan`, and if it is meant, apply with --drain"
    )]
    WouldStarve {
        workload: String,
        falling: usize,
        allowing: usize,
    },
    #[error("other plans are under way, and each judges the whole fleet; ask again in a while")]
    Busy,
    #[error("other manifests came into force meanwhile; plan and apply again")]
    Overtaken,
    #[error(
        "the policies in force are objects of the cluster `{0}`, and one cluster alone may be their source; say `policies = \
         \"bundle\"` in the settings of one of the two, and then, or where `{0}` is gone, take them over with `touchstone policy \
         apply`"
    )]
    OfOtherCluster(ClusterName),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ApplyError {
    /// Stable code.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Manifest(_) => "policy-broken",
            Self::WouldDrain { .. } | Self::WouldStarve { .. } => "policy-would-drain",
            Self::Busy => "busy",
            Self::Overtaken => "policy-overtaken",
            Self::OfOtherCluster(_) => "policies-from-other-cluster",
            Self::Store(_) => "internal",
        }
    }
}

/// What comes of manifests that are parsed.
type Parsed = Result<PolicySet, ManifestError>;

/// Parses manifests in force, of up to some MiB, on a thread that may take its time.
pub(crate) async fn parse(manifests: String) -> Result<Parsed, StoreError> {
    let parsed = tokio::task::spawn_blocking(move || PolicySet::parse(&manifests)).await;
    parsed.map_err(|_| StoreError::Unavailable)
}

/// The same of manifests that are to come into force after those `in_force`.
pub(crate) async fn parse_new(
    manifests: String,
    in_force: Arc<PolicySet>,
) -> Result<Parsed, StoreError> {
    let parse = move || PolicySet::parse_new(&manifests, &in_force);
    let parsed = tokio::task::spawn_blocking(parse).await;
    parsed.map_err(|_| StoreError::Unavailable)
}

/// How manifests came here.
pub(crate) enum Origin<'a> {
    /// Somebody applied them.
    Applied,
    /// Somebody put pending values into them.
    Activated(Activated<'a>),
    /// They are objects of this attestor's cluster.
    Objects,
}

/// What came into force.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) version: i64,
    pub(crate) digest: Sha256Digest,
}

/// Pending values that manifests put into force.
pub(crate) struct Activated<'a> {
    pub(crate) pending: &'a PendingReference,
    /// Of the manifests that they were written into; `None`: there were none.
    pub(crate) base: Option<Sha256Digest>,
}

/// Puts `manifests` into force as the next version. Verdicts reached before stand until they expire;
/// each host's next round is judged anew.
///
/// Unless told to `drain`, it refuses to take affirming away from too many hosts at once, or the hosts away from a
/// workload. Manifests that were made from others are refused where those are not in force any more, with `drain`
/// too. So are objects of one cluster where those in force are another's: two sources would undo each other for ever.
pub(crate) async fn apply(
    attestor: &Attestor,
    actor: &Actor,
    manifests: &str,
    drain: bool,
    origin: Origin<'_>,
) -> Result<Applied, ApplyError> {
    let cluster = matches!(origin, Origin::Objects).then_some(&attestor.cluster);
    let activated = match origin {
        Origin::Activated(activated) => Some(activated),
        Origin::Applied | Origin::Objects => None,
    };
    // Before the fleet is judged, too.
    check_source(&mut attestor.store.read().await?, cluster).await?;
    let in_force = attestor.index.policies();
    let set = Arc::new(parse_new(manifests.to_owned(), in_force).await??);
    let digest = set.digest;
    let planned = match drain {
        true => None,
        false => Some(plan::plan_set(attestor, &set).await?),
    };
    if let Some(plan) = &planned {
        plan.check()?;
    }
    let now = clock::now();
    let mut tx = attestor.store.write().await?;
    check_source(&mut tx, cluster).await?;
    let newest = tx.policy_digest().await?;
    let planned_from = planned.map(|plan| plan.in_force);
    let made_from = activated.as_ref().map(|activated| activated.base);
    if [planned_from, made_from]
        .into_iter()
        .flatten()
        .any(|base| base != newest)
    {
        return Err(ApplyError::Overtaken);
    }
    if let Some(activated) = &activated {
        tx.drop_reference(activated.pending).await?;
    }
    let version = tx.add_policy(&digest.0, manifests, cluster, now).await?;
    let event = Event::PolicyApplied {
        version,
        digest,
        drain,
        cluster: cluster.cloned(),
    };
    let order = Entry::new(&event, actor, now)?.append(&mut tx).await?;
    tx.commit().await?;
    attestor.index.put_policies(order, set);
    Ok(Applied { version, digest })
}

/// Whether objects of `cluster` may come into force after what is.
async fn check_source(tx: &mut Tx, cluster: Option<&ClusterName>) -> Result<(), ApplyError> {
    let Some(cluster) = cluster else {
        return Ok(());
    };
    match tx.policy_source().await?.filter(|source| source != cluster) {
        Some(other) => Err(ApplyError::OfOtherCluster(other)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;

    #[tokio::test]
    async fn others_go_on_while_manifests_are_parsed() {
        let region = |n| {
            format!(
                "apiVersion: touchstone.dev/v1\nkind: Region\nmetadata: {{name: r-{n}}}\nspec: {{countries: [DE]}}\n---\n"
            )
        };
        let text: String = (0..2000).map(region).collect();
        let others = tokio::spawn(async {});
        tokio::select! {
            biased;
            parsed = parse(text) => panic!("nobody else had a turn: {}", parsed.is_ok()),
            done = others => done.unwrap(),
        }
    }
}
