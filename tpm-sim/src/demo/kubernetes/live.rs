//! The cluster, where there is one: its scheduler places pods, and its API server asks the webhook.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use touchstone_tpm_sim::kubernetes::pods::{self, Placement};
use touchstone_tpm_sim::kubernetes::webhooks::{self, Attestor};
use touchstone_tpm_sim::kubernetes::{
    self, Api, Assets, ControlPlane, Error, namespaces, nodes, until,
};
use touchstone_tpm_sim::six_nodes;

use super::asks::{Ask, Landing, Way};
use super::members::Member;
use crate::attestor::{Console, Credential};

/// A scheduler that nobody runs.
const NOBODY: &str = "nobody";
/// Longest that the scheduler may take until it says something of ours.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Cluster {
    plane: ControlPlane,
}

impl Cluster {
    pub(super) async fn start(assets: Assets, folder: &Path) -> kubernetes::Result<Self> {
        let plane = ControlPlane::start(assets, folder).await?;
        Ok(Self { plane })
    }

    /// SubjectPublicKeyInfo of what the API server shows to the webhook.
    pub(super) fn webhook_caller(&self) -> &[u8] {
        self.plane.webhook_caller()
    }

    /// A file for kubectl, as an administrator.
    pub(super) fn kubeconfig(&self) -> kubernetes::Result<PathBuf> {
        self.plane
            .kubeconfig("kubernetes-admin", Some("system:masters"))
    }

    /// The hosts become nodes, and the API server is told of the webhook.
    pub(super) async fn join(&self, members: &[Member], console: &Console) -> anyhow::Result<()> {
        let api = self.plane.admin();
        for member in members {
            nodes::join(api, &member.six.node()).await?;
        }
        for namespace in [six_nodes::NAMESPACE, "shop"] {
            namespaces::create(api, namespace).await?;
        }
        let credential = Credential::read(&console.operator)?;
        let configuration = webhooks::validating(Attestor {
            url: &credential.server,
            ca: &credential.ca,
        })?;
        webhooks::install(api, &configuration).await?;
        let pod = pods::pod(six_nodes::NAMESPACE, "trial", six_nodes::APP);
        Ok(webhooks::in_force(api, &pod).await?)
    }

    /// Asks for a pod.
    pub(super) async fn place(&self, ask: &Ask) -> anyhow::Result<Landing> {
        let api = self.plane.admin();
        let mut pod = pods::pod(ask.namespace, &ask.name, ask.app);
        let landed = match ask.way {
            Way::Scheduled => {
                let pinned = pods::pinned(pod, &ask.six.node());
                pods::create(api, &pinned).await?;
                return Ok(scheduled(api, ask).await?);
            }
            Way::Preset => {
                pod["spec"]["nodeName"] = ask.six.node().into();
                pods::create(api, &pod).await
            }
            Way::ByHand => {
                pod["spec"]["schedulerName"] = NOBODY.into();
                let pod = pods::create(api, &pod).await?;
                bind(api, ask, &pod).await
            }
        };
        match landed {
            Err(Error::Refused(refusal)) => Ok(Landing::refused(&refusal.message)),
            landed => {
                landed?;
                let node = pods::bound(api, ask.namespace, &ask.name, PATIENCE).await?;
                Ok(Landing::on(node))
            }
        }
    }
}

/// Where the scheduler puts it; or what it says once that is something of ours, or nothing else comes.
async fn scheduled(api: &Api, ask: &Ask) -> kubernetes::Result<Landing> {
    let path = pods::path(ask.namespace, &ask.name);
    let mut last = None;
    let settled = until("the scheduler says something", PATIENCE, async || {
        let placed = pods::placed(&api.get(&path).await?);
        let settled = match &placed {
            Some(Placement::Waiting(why)) => why.contains("touchstone: "),
            Some(Placement::Bound(_)) => true,
            None => false,
        };
        last.clone_from(&placed);
        Ok(placed.filter(|_| settled))
    })
    .await;
    match settled {
        Err(Error::Late { .. }) => match last {
            Some(placed) => Ok(landing(placed)),
            None => settled.map(landing),
        },
        settled => settled.map(landing),
    }
}

fn landing(placed: Placement) -> Landing {
    match placed {
        Placement::Bound(node) => Landing::on(node),
        Placement::Waiting(why) => Landing::refused(&why),
    }
}

async fn bind(api: &Api, ask: &Ask, pod: &Value) -> kubernetes::Result<Value> {
    let uid = pod["metadata"]["uid"].as_str();
    let binding = pods::binding(ask.namespace, &ask.name, uid, &ask.six.node());
    let path = format!("{}/binding", pods::path(ask.namespace, &ask.name));
    api.create(&path, &binding).await
}
