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
         `touchstone policy plan`, and if it is meant, {if_meant}"
    )]
    WouldDrain {
        falling: usize,
        affirming: usize,
        if_meant: &'static str,
    },
    #[error(
        "the pods of `{workload}` could not run any more on {falling} of {allowing} hosts; look at it with \
         `touchstone policy plan`, and if it is meant, {if_meant}"
    )]
    WouldStarve {
        workload: String,
        falling: usize,
        allowing: usize,
        if_meant: &'static str,
    },
    #[error("other plans are under way, and each judges the whole fleet; ask again in a while")]
    Busy,
    #[error("other manifests came into force meanwhile; plan and apply again")]
    Overtaken,
    #[error(
        "the policies in force are objects of the cluster `{0}`, which alone is their source: change them there, with `kubectl \
         apply`. To take them over, say `policies = \"bundle\"` in the settings of `{0}`, and then, or where it is gone, \
         `touchstone policy apply --take-over`"
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
    /// Somebody applied them. `take_over`: they may take the place of objects of another cluster.
    Applied { take_over: bool },
    /// Somebody put pending values into them.
    Activated(Activated<'a>),
    /// They are objects of this attestor's cluster.
    Objects,
}

impl Origin<'_> {
    /// The only cluster whose objects may be in force until then; `None`: whichever's.
    fn beside<'a>(&self, own: &'a ClusterName) -> Option<&'a ClusterName> {
        (!matches!(self, Self::Applied { take_over: true })).then_some(own)
    }

    /// What whoever means to take hosts away does: no object can say that it is meant.
    fn if_meant(&self) -> &'static str {
        match self {
            Self::Applied { .. } | Self::Activated(_) => "apply with --drain",
            Self::Objects => {
                "change the objects in steps that take away fewer hosts each, or say `policies = \"bundle\"` in the attestor's \
                 Kubernetes settings and start it again, use `touchstone policy apply --drain` (`--take-over` too where another \
                 process serves the cluster), and then say `objects` again and start it once more"
            }
        }
    }
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
/// too. So are all where those in force are another cluster's objects, unless they are told to take their place: two
/// sources would undo each other for ever.
pub(crate) async fn apply(
    attestor: &Attestor,
    actor: &Actor,
    manifests: &str,
    drain: bool,
    origin: Origin<'_>,
) -> Result<Applied, ApplyError> {
    let cluster = matches!(origin, Origin::Objects).then_some(&attestor.cluster);
    let own = origin.beside(&attestor.cluster);
    let if_meant = origin.if_meant();
    let activated = match origin {
        Origin::Activated(activated) => Some(activated),
        Origin::Applied { .. } | Origin::Objects => None,
    };
    // Before the fleet is judged, too.
    check_source(&mut attestor.store.read().await?, own).await?;
    let in_force = attestor.index.policies();
    let set = Arc::new(parse_new(manifests.to_owned(), in_force).await??);
    let digest = set.digest;
    let planned = match drain {
        true => None,
        false => Some(plan::plan_set(attestor, &set).await?),
    };
    if let Some(plan) = &planned {
        plan.check(if_meant)?;
    }
    let now = clock::now();
    let mut tx = attestor.store.write().await?;
    check_source(&mut tx, own).await?;
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

/// Refuses where what is in force are objects of another cluster than `own`, if that matters.
async fn check_source(tx: &mut Tx, own: Option<&ClusterName>) -> Result<(), ApplyError> {
    let Some(own) = own else {
        return Ok(());
    };
    match tx.policy_source().await?.filter(|source| source != own) {
        Some(other) => Err(ApplyError::OfOtherCluster(other)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;
    use crate::store::Store;

    #[tokio::test]
    async fn what_another_cluster_is_the_source_of_is_taken_over_on_purpose_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("database");
        let store = Store::open(&format!("sqlite:{}", file.display())).await;
        let mut tx = store.unwrap().write().await.unwrap();
        let [own, west] = ["default", "west"].map(|name| name.parse::<ClusterName>().unwrap());
        let applied = |take_over| Origin::Applied { take_over };
        for source in [None, Some(&own), Some(&west)] {
            tx.add_policy(&[1; 32], "", source, 1).await.unwrap();
            for (origin, anyway) in [
                (applied(false), false),
                (applied(true), true),
                (Origin::Objects, false),
            ] {
                let checked = check_source(&mut tx, origin.beside(&own)).await;
                let code = checked.map_err(|error| error.code());
                let expected = match anyway || source != Some(&west) {
                    true => Ok(()),
                    false => Err("policies-from-other-cluster"),
                };
                assert_eq!(code, expected);
            }
        }
    }

    #[test]
    fn whoever_means_to_drain_the_fleet_is_told_what_works_where_the_policies_come_from() {
        let told = |origin: Origin<'_>| {
            let drains = ApplyError::WouldDrain {
                falling: 2,
                affirming: 3,
                if_meant: origin.if_meant(),
            };
            drains.to_string()
        };
        assert!(
            told(Origin::Applied { take_over: false })
                .ends_with("and if it is meant, apply with --drain")
        );
        assert!(told(Origin::Objects).contains("if it is meant, change the objects in steps"));
    }

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
