//! Policy manifests that are objects of the cluster: put into force together, all or none, and told what came of it; or
//! told that they are in vain, where policies come from elsewhere.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_kubernetes::cluster::Cluster;
use touchstone_kubernetes::objects::{PolicyObjects, PolicyStatus};

use crate::attestor::Attestor;
use crate::audit::Actor;
use crate::kubernetes::cluster_identity::ClusterIdentity;
use crate::policy::{self, ApplyError, Origin};

/// Between a try that would have taken too many hosts away and the next one: each judges the whole fleet.
const DRAIN_PAUSE: Duration = Duration::from_secs(300);

/// Puts manifests into force beside the rounds: that judges the whole fleet, and the nodes are looked at meanwhile.
#[derive(Default)]
pub(super) struct Applier {
    read: Option<Manifests>,
    tried: Option<Tried>,
    /// The try that is under way. It ends with this value.
    trying: JoinSet<Tried>,
    /// Whether it was logged that the cluster does not take what is told.
    complained: bool,
}

/// All manifests, put together once for each version of them.
#[derive(Clone)]
struct Manifests {
    versions: Vec<(Option<String>, Option<String>)>,
    text: Arc<str>,
    digest: Sha256Digest,
}

/// What came of manifests.
struct Tried {
    /// Of their text.
    digest: Sha256Digest,
    outcome: Outcome,
    at: Instant,
}

#[derive(Clone)]
struct Outcome {
    effect: &'static str,
    /// After that long another try may bring another one; `None`: none does.
    again: Option<Duration>,
    version: Option<i64>,
    digest: Option<Sha256Digest>,
    message: String,
}

impl Applier {
    /// Puts them into force where they are others than those that are. What is broken is refused, and what was in force
    /// stays; so does what would take too many hosts away, until it would not any more.
    pub(super) async fn round(
        &mut self,
        attestor: &Arc<Attestor>,
        (cluster, identity): (&Cluster, &ClusterIdentity),
    ) {
        if let Some(objects) = cluster.policies_in_vain() {
            self.tell(cluster, objects, &Outcome::ignored()).await;
        }
        let Some(objects) = cluster.policies().filter(|objects| objects.is_listed()) else {
            return;
        };
        let manifests = self.read(objects);
        // Nothing at all is what a cluster has whose CRDs were taken away by mistake.
        if manifests.text.is_empty() {
            return;
        }
        self.collect();
        let digest = manifests.digest;
        // Not if others came into force meanwhile, whoever put them there.
        let stands = attestor.index.policies().digest == digest;
        if self.is_due(digest, stands, Instant::now()) {
            // Another cluster's objects would be in force for all.
            identity.look(attestor, cluster).await;
            if identity.doubt().is_some() {
                return;
            }
            let last = self.tried.as_ref().map(|tried| tried.outcome.clone());
            let attestor = Arc::clone(attestor);
            self.begin(digest, async move {
                apply(&attestor, &manifests.text, digest, last.as_ref()).await
            });
        }
        let known = self.tried.as_ref();
        let known = known.filter(|tried| tried.is_so(digest, stands));
        if let Some(outcome) = known.map(|tried| tried.outcome.clone()) {
            self.tell(cluster, objects, &outcome).await;
        }
    }

    fn read(&mut self, objects: &PolicyObjects) -> Manifests {
        let versions = objects.versions();
        let read = self.read.take().filter(|read| read.versions == versions);
        let read = read.unwrap_or_else(|| {
            let text = objects.manifests();
            Manifests {
                versions,
                digest: Sha256Digest::of(text.as_bytes()),
                text: text.into(),
            }
        });
        self.read.insert(read).clone()
    }

    /// Whether manifests with this digest are to be tried now. `stands`: they are in force.
    fn is_due(&self, digest: Sha256Digest, stands: bool, now: Instant) -> bool {
        let tried = self.tried.as_ref();
        let lasts = tried.is_some_and(|tried| tried.is_so(digest, stands) && tried.lasts(now));
        self.trying.is_empty() && !lasts
    }

    fn begin(
        &mut self,
        digest: Sha256Digest,
        outcome: impl Future<Output = Outcome> + Send + 'static,
    ) {
        self.trying.spawn(async move {
            let outcome = outcome.await;
            Tried {
                digest,
                outcome,
                at: Instant::now(),
            }
        });
    }

    /// Takes what came of the try that was under way, if it is over.
    fn collect(&mut self) {
        match self.trying.try_join_next() {
            None => {}
            Some(Ok(tried)) => self.tried = Some(tried),
            Some(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "what came of policy objects is not known");
            }
        }
    }

    /// Says it in the status of each.
    async fn tell(&mut self, cluster: &Cluster, objects: &PolicyObjects, outcome: &Outcome) {
        let said = objects.say(cluster, |generation| PolicyStatus {
            effect: outcome.effect.to_owned(),
            version: outcome.version,
            digest: outcome.digest.map(|digest| digest.to_string()),
            message: outcome.message.clone(),
            observed_generation: generation,
        });
        let failed = said.await.err();
        if let Some(error) = failed.as_ref().filter(|_| !self.complained) {
            let error = error as &dyn std::error::Error;
            tracing::warn!(error, "the status of policy objects could not be written");
        }
        self.complained = failed.is_some();
    }
}

impl Tried {
    /// Whether it is of these manifests, and no other ones came into force or went since.
    fn is_so(&self, digest: Sha256Digest, stands: bool) -> bool {
        self.digest == digest && stands == (self.outcome.effect == IN_FORCE)
    }

    /// Whether another try would bring nothing else, or comes too early.
    fn lasts(&self, now: Instant) -> bool {
        let again = self.outcome.again;
        again.is_none_or(|pause| now.duration_since(self.at) < pause)
    }
}

impl Outcome {
    /// Of those that nobody takes.
    fn ignored() -> Self {
        Self {
            effect: IGNORED,
            again: None,
            version: None,
            digest: None,
            message: IN_VAIN.to_owned(),
        }
    }

    fn in_force(version: Option<i64>, digest: Sha256Digest) -> Self {
        Self {
            effect: IN_FORCE,
            again: None,
            version,
            digest: Some(digest),
            message: String::new(),
        }
    }

    fn refused(error: &ApplyError) -> Self {
        let (effect, again) = match error {
            ApplyError::Manifest(_) => (REFUSED, None),
            // Until hosts prove themselves otherwise, or fewer are to be taken away.
            ApplyError::WouldDrain { .. } | ApplyError::WouldStarve { .. } => {
                (REFUSED, Some(DRAIN_PAUSE))
            }
            // Until somebody takes them over.
            ApplyError::OfOtherCluster(_) => (REFUSED, Some(Duration::ZERO)),
            ApplyError::Busy | ApplyError::Overtaken | ApplyError::Store(_) => {
                (BUSY, Some(Duration::ZERO))
            }
        };
        Self {
            effect,
            again,
            version: None,
            digest: None,
            message: error.to_string(),
        }
    }
}

const IN_FORCE: &str = "InForce";
const REFUSED: &str = "Refused";
const BUSY: &str = "Busy";
const IGNORED: &str = "Ignored";
/// Why those have no effect that nobody takes.
const IN_VAIN: &str = "not in force: the attestor takes its policies from `touchstone policy apply` (`policies = \"bundle\"` in its \
                       Kubernetes settings); apply this manifest there, or set `policies = \"objects\"`";

/// What came of it is told where it is other than `last`.
async fn apply(
    attestor: &Attestor,
    manifests: &str,
    text: Sha256Digest,
    last: Option<&Outcome>,
) -> Outcome {
    if attestor.index.policies().digest == text {
        return Outcome::in_force(version_in_force(attestor).await, text);
    }
    let actor = Actor::Attestor;
    match policy::apply(attestor, &actor, manifests, false, Origin::Objects).await {
        Ok(applied) => {
            tracing::info!(
                policy.version = applied.version,
                "policy objects came into force"
            );
            Outcome::in_force(Some(applied.version), applied.digest)
        }
        Err(error) => {
            let outcome = Outcome::refused(&error);
            let message = &outcome.message;
            if last.is_none_or(|last| last.message != *message) {
                tracing::error!(
                    finding.code = error.code(),
                    "policy objects were refused: {message}"
                );
            }
            outcome
        }
    }
}

async fn version_in_force(attestor: &Attestor) -> Option<i64> {
    let mut tx = attestor.store.read().await.ok()?;
    Some(tx.policy().await.ok()??.version)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use std::future::pending;

    use tokio::sync::oneshot;

    use super::*;

    fn drains() -> ApplyError {
        ApplyError::WouldDrain {
            falling: 2,
            affirming: 3,
            if_meant: "",
        }
    }

    async fn came(applier: &mut Applier) {
        while !applier.trying.is_empty() {
            tokio::task::yield_now().await;
            applier.collect();
        }
    }

    #[tokio::test]
    async fn what_would_drain_the_fleet_is_tried_again_after_minutes_and_what_is_broken_is_not() {
        let (one, other) = (Sha256Digest::of(b"1"), Sha256Digest::of(b"2"));
        let mut applier = Applier::default();
        assert!(applier.is_due(one, false, Instant::now()));
        let outcome = Outcome::refused(&drains());
        assert_eq!(outcome.effect, REFUSED);
        applier.begin(one, async { outcome });
        came(&mut applier).await;
        let now = Instant::now();
        assert!(!applier.is_due(one, false, now));
        assert!(applier.is_due(one, false, now + DRAIN_PAUSE));
        // Others were written, or somebody else put these into force.
        assert!(applier.is_due(other, false, now) && applier.is_due(one, true, now));
        let broken = touchstone_policies::manifest::PolicySet::parse("x").unwrap_err();
        applier.begin(one, async move { Outcome::refused(&broken.into()) });
        came(&mut applier).await;
        assert!(!applier.is_due(one, false, now + 100 * DRAIN_PAUSE));
        applier.begin(one, async { Outcome::refused(&ApplyError::Overtaken) });
        came(&mut applier).await;
        assert!(applier.is_due(one, false, Instant::now()));
        applier.begin(one, async move { Outcome::in_force(Some(1), one) });
        came(&mut applier).await;
        let now = Instant::now();
        assert!(!applier.is_due(one, true, now) && applier.is_due(one, false, now));
    }

    #[tokio::test]
    async fn a_try_is_beside_the_rounds_and_ends_with_whoever_leads() {
        let digest = Sha256Digest::ZERO;
        let mut applier = Applier::default();
        let (held, ended) = oneshot::channel::<()>();
        applier.begin(digest, async move {
            let _held = held;
            pending().await
        });
        tokio::task::yield_now().await;
        applier.collect();
        assert!(applier.tried.is_none() && !applier.is_due(digest, false, Instant::now()));
        drop(applier);
        assert!(ended.await.is_err());
    }
}
