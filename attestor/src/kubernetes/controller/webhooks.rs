//! Our webhook configurations: that one was removed, narrowed or led elsewhere becomes an entry, an alarm and a metric.
//!
//! How they were is kept in the database, so that what happens while nobody looks is noticed by whoever looks next.

use touchstone_kubernetes::cluster::Cluster;
use touchstone_kubernetes::webhooks::{Callee, Webhooks};

use crate::attestor::Attestor;
use crate::audit::{self, Actor, Event, WebhooksSeen};
use crate::store::StoreError;

/// How long they may be out of sight before that is an alarm: rounds.
const BLIND_MAX: u32 = 10;

/// As they were seen last, by whichever replica.
pub(super) struct Watched {
    seen: Option<WebhooksSeen>,
    /// Whether what is missing was told since this replica leads.
    alarmed: bool,
    /// Looks in a row that failed.
    blind: u32,
}

impl Watched {
    /// As whoever led before left them.
    pub(super) async fn load(attestor: &Attestor, cluster: &Cluster) -> Result<Self, StoreError> {
        let mut tx = attestor.store.read().await?;
        let kept = tx
            .webhooks_seen(&attestor.cluster, &cluster.config().webhooks)
            .await?;
        Ok(Self {
            // What cannot be read is told anew.
            seen: kept.and_then(|kept| serde_json::from_str(&kept).ok()),
            alarmed: false,
            blind: 0,
        })
    }

    /// Looks, and tells what is new. How they are when anybody looks for the first time is news.
    pub(super) async fn round(&mut self, attestor: &Attestor, cluster: &Cluster, now: i64) {
        let ca = &attestor.keys.ca;
        let secrets = &attestor.keys.webhook;
        let lets_in = |segment: &str| secrets.lets_in(segment);
        let ours = Callee::new(ca.names(), &ca.bundle().pem, &lets_in);
        let found = match cluster.webhooks(&ours).await {
            Ok(found) => found,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                self.blind = self.blind.saturating_add(1);
                attestor.metrics.webhook_gaps(None);
                match self.blind == BLIND_MAX {
                    true => tracing::error!(
                        error,
                        "our webhook configurations are out of sight; may the attestor still get them?"
                    ),
                    false => tracing::debug!(error, "our webhook configurations were not seen"),
                }
                return;
            }
        };
        self.blind = 0;
        attestor.metrics.webhook_gaps(Some(found.gaps.len()));
        let faults = found.faults.join("; ");
        let found = seen(found, cluster);
        let news = self.seen.as_ref() != Some(&found);
        if news || !self.alarmed {
            alarm(self.seen.as_ref(), &found, &faults);
            self.alarmed = true;
        }
        if !news {
            return;
        }
        match write(attestor, &found, now).await {
            Ok(()) => self.seen = Some(found),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "an entry was not written");
            }
        }
    }
}

fn seen(found: Webhooks, cluster: &Cluster) -> WebhooksSeen {
    let config = cluster.config();
    WebhooksSeen {
        cluster: config.cluster.clone(),
        name: config.webhooks.clone(),
        validating: found.validating,
        mutating: found.mutating,
        validating_uid: found.validating_uid,
        mutating_uid: found.mutating_uid,
        gaps: found.gaps,
    }
}

fn alarm(before: Option<&WebhooksSeen>, now: &WebhooksSeen, faults: &str) {
    if !now.gaps.is_empty() {
        tracing::error!(
            gaps = now.gaps.join(", "),
            "the validating webhook `{}` does not ask us what it must: {faults}; apply it again, as docs/operators/clusters.md \
             says",
            now.name
        );
    } else if before.is_some_and(|before| !before.gaps.is_empty()) {
        tracing::info!(
            "the validating webhook `{}` asks us again what it must",
            now.name
        );
    }
    if now.mutating.is_none() && before.is_some_and(|before| before.mutating.is_some()) {
        tracing::error!(
            "the mutating webhook `{}` was taken away: pods are not steered to hosts that fit; apply it again",
            now.name
        );
    }
    if now.mutating.is_some() && before.is_some_and(|before| before.mutating.is_none()) {
        tracing::info!("the mutating webhook `{}` is there again", now.name);
    }
}

/// The entry, and what was seen, together.
async fn write(attestor: &Attestor, seen: &WebhooksSeen, now: i64) -> Result<(), StoreError> {
    let kept = serde_json::to_string(seen).map_err(|_| StoreError::Malformed("webhooks"))?;
    let event = Event::WebhooksChanged(seen.clone());
    let mut tx = attestor.store.write().await?;
    tx.keep_webhooks_seen(&seen.cluster, &seen.name, &kept)
        .await?;
    audit::append(&mut tx, &event, &Actor::Attestor, now).await?;
    tx.commit().await
}
