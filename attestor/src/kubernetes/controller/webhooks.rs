//! Our webhook configurations: that one was removed or narrowed becomes an entry, an alarm and a metric.

use touchstone_kubernetes::cluster::Cluster;
use touchstone_kubernetes::webhooks::Webhooks;

use super::write;
use crate::attestor::Attestor;
use crate::audit::Event;

/// As they were seen last.
#[derive(Default)]
pub(super) struct Watched {
    seen: Option<Webhooks>,
}

impl Watched {
    /// Looks, and tells what is new. What is whole when it is seen first is no news.
    pub(super) async fn round(&mut self, attestor: &Attestor, cluster: &Cluster, now: i64) {
        let webhooks = match cluster.webhooks().await {
            Ok(webhooks) => webhooks,
            Err(error) => {
                tracing::warn!("our webhook configurations could not be looked at: {error}");
                return;
            }
        };
        attestor.metrics.webhook_gaps(webhooks.gaps.len());
        if self.seen.as_ref() == Some(&webhooks) {
            return;
        }
        let first = self.seen.is_none();
        if !webhooks.gaps.is_empty() {
            tracing::error!(
                gaps = webhooks.gaps.join(", "),
                "the validating webhook `{}` does not ask us what it must; apply it again",
                cluster.config().webhooks
            );
        }
        let news = !first || !webhooks.gaps.is_empty();
        let event = Event::WebhooksChanged {
            name: cluster.config().webhooks.clone(),
            validating: webhooks.validating,
            mutating: webhooks.mutating,
            gaps: webhooks.gaps.clone(),
        };
        if news && let Err(error) = write(attestor, &event, now).await {
            tracing::error!(error = &*error, "an entry was not written");
            return;
        }
        self.seen = Some(webhooks);
    }
}
