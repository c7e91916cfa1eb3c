//! The Kubernetes seam: validating admission of pods, of their bindings to nodes, and of our marks on nodes
//! (docs/operators.md).
//!
//! Only here are there nodes, pods and reviews. A binding review carries no pod spec: the pod is what the cluster has
//! and what reviews said of it; one that neither knows is refused.

mod asked;
mod cluster_identity;
pub(crate) mod controller;
mod decision;
pub(crate) mod extender;
mod images;
mod judge;
mod lookup;
pub(crate) mod mutate;
mod node_links;
mod nodes;
mod pod_memory;
mod policy_reviews;
mod pull_secrets;
mod registry;
mod resolve;
pub(crate) mod review;
mod running;
mod same_image;
mod tolerations;
mod turns;
mod workload;

use std::sync::Arc;

use tokio::sync::Semaphore;
use touchstone_evidence::finding::Finding;
use touchstone_kubernetes::cluster::Cluster;
use touchstone_kubernetes::config::Config;
use touchstone_policies::admit::concerns_namespace;
use touchstone_policies::prose;

use crate::appraisal::RoundError;
use crate::attestor::Attestor;
use crate::audit::Actor;
use asked::Asked;
pub(crate) use cluster_identity::ClusterIdentity;
pub(crate) use images::Images;
use judge::{Judge, Judged};
use mutate::Fitting;
pub(crate) use node_links::NodeLinks;
use pod_memory::PodMemory;
use review::{Request, Response};

/// Who sets labels and taints on nodes where no cluster is configured: the service account of an installation.
const OWN_ACCOUNT: &str = "system:serviceaccount:touchstone:touchstone";

/// What reviews are answered with, beside what the attestor knows of hosts.
pub(crate) struct Webhook {
    pods: PodMemory,
    images: Images,
    fitting: Fitting,
    /// The cluster, where one is configured.
    pub(crate) cluster: Option<Arc<Cluster>>,
    /// Whether it is the one that is meant.
    pub(crate) identity: Arc<ClusterIdentity>,
    /// Who alone may set our labels and taints on nodes, in the API server's words.
    user: String,
    /// Pods that may be rewritten at once.
    rewriting: Semaphore,
}

impl Webhook {
    /// Nothing remembered yet.
    pub(crate) fn new(images: Images, cluster: Option<Arc<Cluster>>) -> Self {
        let config = cluster.as_ref().map(|cluster| cluster.config());
        Self {
            pods: PodMemory::default(),
            images,
            fitting: Fitting::default(),
            user: config.map_or_else(|| OWN_ACCOUNT.to_owned(), Config::account),
            identity: Arc::new(ClusterIdentity::new(cluster.is_some())),
            cluster,
            rewriting: Semaphore::new(mutate::AT_ONCE),
        }
    }

    /// Nothing is decided in a cluster that may be another than the one whose nodes and workloads are kept under its name.
    fn unless_in_doubt(&self, judged: Judged) -> Judged {
        match (judged, self.identity.doubt()) {
            (Judged::Decided(_), Some(doubt)) => Judged::Unanswerable(doubt),
            (judged, _) => judged,
        }
    }
}

/// Answers one review. An error means that nothing was decided: the caller must refuse.
pub(crate) async fn answer(
    attestor: &Attestor,
    webhook: &Webhook,
    request: &Request,
    caller: &Actor,
) -> Result<Response, RoundError> {
    if nodes::asks_about_nodes(request) {
        return Ok(match nodes::refusal(request, &webhook.user) {
            Some(finding) => refuse(attestor, request, &finding).await,
            None => Response::allowed(request, None),
        });
    }
    if policy_reviews::asks_about_policies(request) {
        let doubt = webhook.identity.doubt();
        let cluster = webhook.cluster.as_deref().filter(|_| doubt.is_none());
        // Of another cluster nothing is in force, so its manifests may be cleared away.
        let may_clear =
            |doubt: &Finding| request.operation == "DELETE" && doubt.code == "cluster-replaced";
        return match doubt.filter(|doubt| !may_clear(doubt)) {
            Some(doubt) => Ok(refuse(attestor, request, &doubt).await),
            None => policy_reviews::answer(attestor, cluster, request, caller).await,
        };
    }
    if asked::is_mere_status(request) {
        return Ok(Response::allowed(request, None));
    }
    // Nothing that is held may be as it is, the policies neither: they might be for any pod by now.
    if request.asks_about_pods() && !attestor.index.is_confirmed() {
        let finding = Finding::new("standing-unconfirmed");
        return Ok(refuse(attestor, request, &finding).await);
    }
    // No policy names the namespace: nothing about the pod could make it our concern, and a pod that
    // we do not remember must not wait for us.
    let policies = attestor.index.policies();
    if request.asks_about_pods() && !concerns_namespace(&policies, &request.namespace) {
        return Ok(Response::allowed(request, None));
    }
    let asked = match Asked::read(request) {
        Ok(asked) => asked,
        Err(finding) => return Ok(refuse(attestor, request, &finding).await),
    };
    let judge = Judge {
        attestor,
        webhook,
        request,
        policies: &policies,
    };
    let judged = judge.judge(&asked).await?;
    match webhook.unless_in_doubt(judged) {
        Judged::Unconcerned => Ok(Response::allowed(request, None)),
        Judged::Decided(mut decision) => decision.answer(attestor, request, caller, &asked).await,
        Judged::Unanswerable(finding) => Ok(refuse(attestor, request, &finding).await),
    }
}

/// Refuses what no decision is about. It is counted, unless it was only tried.
async fn refuse(attestor: &Attestor, request: &Request, finding: &Finding) -> Response {
    if !request.dry_run {
        attestor.note_refusal(&finding.code).await;
    }
    let why = format!(
        "touchstone: {} ({})",
        prose::sentence(finding),
        finding.code
    );
    Response::refused(request, &why, None)
}
