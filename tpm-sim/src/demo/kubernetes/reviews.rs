//! Without a cluster: what its API server would ask, asked over TLS of the same attestor.
//!
//! Not shown here: that an API server asks, and that a scheduler heeds the answer.

use std::path::Path;

use touchstone_tpm_sim::kubernetes::webhooks;
use touchstone_tpm_sim::review::Pod;

use super::asks::{Ask, Landing, Way};
use crate::demo::webhook::Webhook;
use crate::machine::fresh_uuid;

/// What is said of a namespace that is not our concern.
const EXEMPT: &str = "exempt: an API server does not ask";

pub(super) struct Reviews {
    webhook: Webhook,
}

impl Reviews {
    /// To the webhook that the operator's credential names.
    pub(super) fn of(operator: &Path) -> anyhow::Result<Self> {
        let webhook = Webhook::of(operator)?;
        Ok(Self { webhook })
    }

    /// The review of a pod's creation, and that of its binding unless it has a node already.
    pub(super) async fn place(&self, ask: &Ask) -> anyhow::Result<Landing> {
        let node = ask.six.node();
        if webhooks::exempts(ask.namespace)? {
            return Ok(Landing {
                node: Some(node),
                why: Some(EXEMPT.to_owned()),
            });
        }
        let uid = fresh_uuid()?;
        let pod = Pod {
            namespace: ask.namespace,
            name: &ask.name,
            uid: &uid,
            app: ask.app,
        };
        let review = fresh_uuid()?;
        let mut creation = pod.creation(&review);
        if ask.way == Way::Preset {
            creation["request"]["object"]["spec"]["nodeName"] = node.clone().into();
        }
        let created = self.webhook.ask(&review, creation).await?;
        if !created.allowed || ask.way == Way::Preset {
            return Ok(landing(created.message(), node));
        }
        let review = fresh_uuid()?;
        let bound = pod.binding(&review, &node);
        let bound = self.webhook.ask(&review, bound).await?;
        Ok(landing(bound.message(), node))
    }
}

/// A refusal has a message, and nothing else has.
fn landing(message: Option<&str>, node: String) -> Landing {
    match message {
        Some(why) => Landing::refused(why),
        None => Landing::on(node),
    }
}
