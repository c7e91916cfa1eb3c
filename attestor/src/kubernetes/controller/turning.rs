//! Which nodes turned, for the breaker: as their hosts are judged, and as whoever led before left them marked.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use touchstone_kubernetes::names::{TAINT, TIER};
use touchstone_kubernetes::node::{Node, Taint};

use super::breaker::{self, Turn};
use super::judged::{Fault, Judged};

/// Every node that a host stands behind, and those that lose pods.
pub(super) fn of<'a>(
    judged: &'a [(Arc<Node>, Judged)],
    losing: &HashSet<&'a str>,
    now: i64,
) -> Vec<Turn<'a>> {
    let turns = judged.iter().map(|(node, judged)| {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let execution = taint(node, "NoExecute");
        let turn = Turn {
            node: name,
            trusted: !matches!(judged.fault, Some(Fault::New | Fault::Untrusted)),
            untrusted: judged.fault == Some(Fault::Untrusted),
            was_trusted: carries_trust(node)
                || taint(node, "NoSchedule").is_some()
                || judged.was_trusted(),
            loses: losing.contains(name),
            executed: execution.is_some(),
            executed_for: execution.and_then(|taint| age(taint, now)),
        };
        (judged, turn)
    });
    let counting = turns.filter(|(judged, turn)| judged.host.is_some() || turn.loses);
    breaker::with_unseen(counting.map(|(_, turn)| turn).collect(), losing)
}

fn carries_trust(node: &Node) -> bool {
    let labels: Option<&_> = node.metadata.labels.as_ref();
    let tier = labels.and_then(|labels| labels.get(TIER));
    tier.is_some_and(|tier| tier == "affirming" || tier == "warning")
}

/// Our taint with this effect on the node, for a host that is not trusted.
fn taint<'a>(node: &'a Node, effect: &str) -> Option<&'a Taint> {
    let mut taints = node.spec.taints.iter();
    taints.find(|taint| taint.key == TAINT && taint.value == "untrusted" && taint.effect == effect)
}

/// How long ago it was put there, where it says so.
fn age(taint: &Taint, now: i64) -> Option<Duration> {
    let added = OffsetDateTime::parse(taint.time_added.as_deref()?, &Rfc3339).ok()?;
    let ago = now.saturating_sub(added.unix_timestamp());
    Some(Duration::from_secs(u64::try_from(ago).unwrap_or(0)))
}
