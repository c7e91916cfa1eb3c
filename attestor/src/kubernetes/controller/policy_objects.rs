//! Policy manifests that are objects of the cluster: put into force together, all or none, and told what came of it; or
//! told that they are in vain, where policies come from elsewhere.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_kubernetes::cluster::Cluster;
use touchstone_kubernetes::objects::{PolicyObjects, PolicyStatus};

use crate::attestor::Attestor;
use crate::audit::Actor;
use crate::policy::{self, Origin};

/// What came of the manifests that were tried last.
#[derive(Default)]
pub(super) struct Applier {
    tried: Option<(Sha256Digest, Outcome)>,
    /// Whether it was logged that the cluster does not take what is told.
    complained: bool,
}

#[derive(Clone)]
struct Outcome {
    effect: &'static str,
    /// The next try may bring another one.
    passing: bool,
    version: Option<i64>,
    digest: Option<Sha256Digest>,
    message: String,
}

impl Applier {
    /// Puts them into force where they are others than those that are. What is broken is refused, and what was in force
    /// stays; so does what would take too many hosts away: an operator applies that with `--drain`.
    pub(super) async fn round(&mut self, attestor: &Attestor, cluster: &Cluster) {
        if let Some(objects) = cluster.policies_in_vain() {
            self.tell(cluster, objects, &Outcome::ignored()).await;
        }
        let Some(objects) = cluster.policies().filter(|objects| objects.is_listed()) else {
            return;
        };
        let manifests = objects.manifests();
        let text = Sha256Digest::of(manifests.as_bytes());
        // Nothing at all is what a cluster has whose CRDs were taken away by mistake.
        if manifests.is_empty() {
            return;
        }
        // Not if others came into force meanwhile, whoever put them there.
        let stands = attestor.index.policies().digest == text;
        let known = self.tried.as_ref();
        let last = known.map(|(_, outcome)| outcome);
        let known = known.filter(|(tried, outcome)| {
            *tried == text && !outcome.passing && (stands || outcome.effect != IN_FORCE)
        });
        let outcome = match known {
            Some((_, outcome)) => outcome.clone(),
            None => apply(attestor, &manifests, text, last).await,
        };
        self.tell(cluster, objects, &outcome).await;
        self.tried = Some((text, outcome));
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

impl Outcome {
    /// Of those that nobody takes.
    fn ignored() -> Self {
        Self {
            effect: IGNORED,
            passing: false,
            version: None,
            digest: None,
            message: IN_VAIN.to_owned(),
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
        return Outcome {
            effect: IN_FORCE,
            passing: false,
            version: version_in_force(attestor).await,
            digest: Some(text),
            message: String::new(),
        };
    }
    match policy::apply(
        attestor,
        &Actor::Attestor,
        manifests,
        false,
        Origin::Objects,
    )
    .await
    {
        Ok(applied) => {
            tracing::info!(
                policy.version = applied.version,
                "policy objects came into force"
            );
            Outcome {
                effect: IN_FORCE,
                passing: false,
                version: Some(applied.version),
                digest: Some(applied.digest),
                message: String::new(),
            }
        }
        Err(error) => {
            let message = error.to_string();
            if last.is_none_or(|last| last.message != message) {
                tracing::error!(
                    finding.code = error.code(),
                    "policy objects were refused: {message}"
                );
            }
            let (effect, passing) = match error.code() {
                "policy-broken" | "policy-would-drain" => (REFUSED, false),
                // Until somebody takes them over.
                "policies-from-other-cluster" => (REFUSED, true),
                _ => (BUSY, true),
            };
            Outcome {
                effect,
                passing,
                version: None,
                digest: None,
                message,
            }
        }
    }
}

async fn version_in_force(attestor: &Attestor) -> Option<i64> {
    let mut tx = attestor.store.read().await.ok()?;
    Some(tx.policy().await.ok()??.version)
}
