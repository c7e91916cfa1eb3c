//! `HostTrust` objects: written when what they say changed, or when half of the time that they hold is over.

mod signed;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use touchstone_evidence::result::TrustTier;
use touchstone_kubernetes::cluster::Cluster;
use touchstone_kubernetes::host_trust::{Condition, HostTrustStatus};
use touchstone_kubernetes::node::Node;
use touchstone_policies::prose;

use super::judged::Judged;
use super::round::moment;
use crate::attestor::Attestor;

use signed::{Signed, sign};

/// Longest reason, bytes: it is for a column of a table.
const REASON_MAX: usize = 1024;
/// Most that is said, and most that is taken back, in one round: nodes are tainted and pods ended between rounds.
const SAID_MAX: usize = 200;

/// What was said last of each node.
#[derive(Default)]
pub(super) struct Statements {
    said: HashMap<String, Said>,
    /// Nodes of which the last try to say something failed.
    failed: HashSet<String>,
    /// Whether it is known what whoever led before said.
    resumed: bool,
    /// Whether it was logged that the cluster does not take them.
    complained: bool,
}

struct Said {
    node_uid: String,
    status: HostTrustStatus,
    /// Seconds since 1970 from which it is to be said anew.
    again_at: i64,
}

/// A node of which something is to be said.
struct Due<'a> {
    node: &'a Node,
    judged: &'a Judged,
    status: HostTrustStatus,
    urgency: Urgency,
}

/// What is said first: what nobody said yet, then what ends soonest; and all that before what failed the last time, which
/// may fail for ever.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Urgency {
    failed: bool,
    said: bool,
    /// When that ends, seconds since 1970.
    ends_at: i64,
}

impl Statements {
    /// Says what is new, and takes back what was said of nodes that are gone, as much of it as one round has room for.
    /// Nodes that no host stands behind have no such object.
    pub(super) async fn round(
        &mut self,
        attestor: &Attestor,
        cluster: &Cluster,
        judged: &[(Arc<Node>, Judged)],
        now: i64,
    ) {
        let mut failed = self.resume(cluster).await.err();
        for due in self.due(judged, now) {
            let name = due.node.metadata.name.clone().unwrap_or_default();
            match self.say(attestor, cluster, due, now).await {
                Ok(()) => drop(self.failed.remove(&name)),
                Err(error) => {
                    self.failed.insert(name);
                    failed = Some(error);
                }
            }
        }
        if let Some(error) = failed.as_deref().filter(|_| !self.complained) {
            tracing::warn!(error, "not every HostTrust is written");
        }
        self.complained = failed.is_some();
        self.take_back(cluster, judged).await;
    }

    /// What is to be said in this round.
    fn due<'a>(&self, judged: &'a [(Arc<Node>, Judged)], now: i64) -> Vec<Due<'a>> {
        let mapped = judged.iter().filter(|(_, judged)| judged.host.is_some());
        let due = mapped.filter_map(|(node, judged)| self.is_due(node, judged, now));
        let mut due: Vec<Due<'_>> = due.collect();
        due.sort_by_key(|due| due.urgency);
        due.truncate(SAID_MAX);
        due
    }

    fn is_due<'a>(&self, node: &'a Node, judged: &'a Judged, now: i64) -> Option<Due<'a>> {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let node_uid = node.metadata.uid.as_deref().unwrap_or_default();
        let before = self.said.get(name);
        let before = before.filter(|said| said.node_uid == node_uid);
        let status = status_of(judged, node_uid, before.map(|said| &said.status), now);
        let same = before.filter(|said| says_the_same(&said.status, &status));
        if same.is_some_and(|said| now < said.again_at) {
            return None;
        }
        let urgency = Urgency {
            failed: self.failed.contains(name),
            said: same.is_some(),
            ends_at: same.map_or(0, |said| ends_at(&said.status)),
        };
        Some(Due {
            node,
            judged,
            status,
            urgency,
        })
    }

    /// Takes back what was said of nodes that are gone, or that no host stands behind any more.
    async fn take_back(&mut self, cluster: &Cluster, judged: &[(Arc<Node>, Judged)]) {
        let mapped = judged.iter().filter(|(_, judged)| judged.host.is_some());
        let named = mapped.map(|(node, _)| node.metadata.name.as_deref().unwrap_or_default());
        let named: HashSet<&str> = named.collect();
        self.failed.retain(|name| named.contains(name.as_str()));
        let said = self.said.keys();
        let gone: Vec<String> = said
            .filter(|name| !named.contains(name.as_str()))
            .take(SAID_MAX)
            .cloned()
            .collect();
        for name in gone {
            match cluster.unsay(&name).await {
                Ok(()) => drop(self.said.remove(&name)),
                Err(error) => tracing::warn!("a HostTrust could not be taken back: {error}"),
            }
        }
    }

    /// Takes over, once, what whoever led before said: it is all said anew, or taken back.
    async fn resume(
        &mut self,
        cluster: &Cluster,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if self.resumed {
            return Ok(());
        }
        for (name, status) in cluster.said().await? {
            let node_uid = status.node_uid.clone();
            self.said.entry(name).or_insert(Said {
                node_uid,
                status,
                again_at: 0,
            });
        }
        self.resumed = true;
        Ok(())
    }

    async fn say(
        &mut self,
        attestor: &Attestor,
        cluster: &Cluster,
        due: Due<'_>,
        now: i64,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let Due {
            node,
            judged,
            status,
            ..
        } = due;
        let name = node.metadata.name.clone().unwrap_or_default();
        let node_uid = node.metadata.uid.clone().unwrap_or_default();
        let signed = match sign(attestor, &name, &node_uid, judged, now).await? {
            Signed::Nothing => None,
            Signed::Token { boot, token } => Some((boot, token)),
            // With the next look at it.
            Signed::Behind => return Ok(()),
        };
        let status = HostTrustStatus {
            boot: signed.as_ref().map(|(boot, _)| boot.clone()),
            signed: signed.map(|(_, token)| token),
            ..status
        };
        cluster.say(node, &status).await?;
        let ends = judged.held.as_ref().map(|held| held.standing.expires_at);
        let left = ends
            .filter(|_| judged.tier != TrustTier::None)
            .map(|ends| ends.saturating_sub(now));
        let again_at = left.map_or(i64::MAX, |left| now.saturating_add((left / 2).max(1)));
        self.said.insert(
            name,
            Said {
                node_uid,
                status,
                again_at,
            },
        );
        Ok(())
    }
}

/// Without what is looked up in the database: boot and signature.
fn status_of(
    judged: &Judged,
    node_uid: &str,
    before: Option<&HostTrustStatus>,
    now: i64,
) -> HostTrustStatus {
    let standing = judged.held.as_ref().map(|held| &held.standing);
    let trusted = judged.fault.is_none();
    let mut reason = match judged.why.is_empty() {
        true => "everything that policy demands was proven".to_owned(),
        false => prose::summary(&judged.why),
    };
    if reason.len() > REASON_MAX {
        let end = reason.floor_char_boundary(REASON_MAX);
        reason.truncate(end);
    }
    let state = match trusted {
        true => "True",
        false => "False",
    };
    let condition = before
        .and_then(|before| before.conditions.first())
        .filter(|condition| condition.status == state);
    HostTrustStatus {
        host: judged.host.as_ref().map(ToString::to_string),
        tier: judged.tier.to_string(),
        country: standing
            .filter(|_| judged.tier.satisfies(TrustTier::Warning))
            .and_then(|standing| standing.place.as_ref())
            .map(|place| place.country().to_string()),
        node_uid: node_uid.to_owned(),
        boot: None,
        expires_at: standing
            .filter(|_| judged.tier != TrustTier::None)
            .and_then(|standing| moment(standing.expires_at)),
        conditions: vec![Condition {
            kind: "Trusted".to_owned(),
            status: state.to_owned(),
            reason: judged
                .why
                .first()
                .map_or_else(|| "Attested".to_owned(), |finding| pascal(&finding.code)),
            message: reason.clone(),
            last_transition_time: condition.map_or_else(
                || moment(now).unwrap_or_default(),
                |condition| condition.last_transition_time.clone(),
            ),
        }],
        reason,
        signed: None,
    }
}

/// Whether a person would read the same: what is signed and when it ends is new with each round of the host.
fn says_the_same(said: &HostTrustStatus, status: &HostTrustStatus) -> bool {
    let HostTrustStatus {
        host,
        tier,
        country,
        node_uid,
        boot: _,
        expires_at: _,
        reason,
        conditions,
        signed: _,
    } = said;
    *host == status.host
        && *tier == status.tier
        && *country == status.country
        && *node_uid == status.node_uid
        && *reason == status.reason
        && *conditions == status.conditions
}

/// When what is said ends, seconds since 1970; what says nothing of that does not.
fn ends_at(status: &HostTrustStatus) -> i64 {
    let ends = status.expires_at.as_deref();
    let ends = ends.and_then(|ends| OffsetDateTime::parse(ends, &Rfc3339).ok());
    ends.map_or(i64::MAX, OffsetDateTime::unix_timestamp)
}

/// `result-expired` as conditions name reasons: `ResultExpired`.
fn pascal(code: &str) -> String {
    let words = code.split('-').map(|word| {
        let mut letters = word.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    });
    words.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;
    use crate::trust_index::OnNode;

    #[test]
    fn a_condition_keeps_the_time_of_its_last_turn() {
        let unknown = OnNode {
            host: "de-1".parse().unwrap(),
            held: None,
            rebooted: false,
        };
        let judged = Judged::of(Some(unknown), 100);
        let first = status_of(&judged, "u", None, 100);
        let condition = &first.conditions[0];
        assert_eq!(
            (&*condition.status, &*condition.reason),
            ("False", "HostUnknown")
        );
        let later = status_of(&judged, "u", Some(&first), 200);
        assert!(says_the_same(&first, &later));
        assert_eq!(
            first.conditions[0].last_transition_time,
            "1970-01-01T00:01:40Z"
        );
    }

    #[test]
    fn of_many_nodes_one_round_says_what_is_new_and_then_what_ends_soonest() {
        let node = |name: &str| {
            let node = serde_json::json!({ "metadata": { "name": name, "uid": "u" }, "spec": {} });
            Arc::new(serde_json::from_value::<Node>(node).unwrap())
        };
        let judged = || {
            let host = "de-1".parse().unwrap();
            let unknown = OnNode {
                host,
                held: None,
                rebooted: false,
            };
            Judged::of(Some(unknown), 100)
        };
        let mut names: Vec<String> = (0..SAID_MAX + 9).map(|n| format!("old-{n}")).collect();
        let mut statements = Statements::default();
        for (ends, name) in (1000..).zip(&names) {
            let mut status = status_of(&judged(), "u", None, 100);
            status.expires_at = moment(ends);
            let said = Said {
                node_uid: "u".to_owned(),
                status,
                again_at: 0,
            };
            statements.said.insert(name.clone(), said);
        }
        names.reverse();
        names.extend(["new".to_owned(), "failing".to_owned()]);
        statements.failed.insert("failing".to_owned());
        let all: Vec<_> = names.iter().map(|name| (node(name), judged())).collect();
        let due = |statements: &Statements| -> Vec<String> {
            let due = statements.due(&all, 100).into_iter();
            due.map(|due| due.node.metadata.name.clone().unwrap())
                .collect()
        };
        let said = due(&statements);
        assert_eq!(
            (said.len(), &*said[0], &*said[1]),
            (SAID_MAX, "new", "old-0")
        );
        assert_eq!(said[SAID_MAX - 1], format!("old-{}", SAID_MAX - 2));
        for said in statements.said.values_mut() {
            said.again_at = 200;
        }
        assert_eq!(due(&statements), ["new", "failing"]);
    }
}
