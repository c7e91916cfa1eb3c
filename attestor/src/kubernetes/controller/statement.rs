//! `HostTrust` objects: written when what they say changed, or when half of the time that they hold is over.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::result::{NodeStatement, TrustTier};
use touchstone_kubernetes::cluster::Cluster;
use touchstone_kubernetes::host_trust::{Condition, HostTrustStatus};
use touchstone_kubernetes::node::Node;
use touchstone_policies::prose;

use super::judged::Judged;
use super::moment;
use crate::appraisal::{Verdict, VerdictBoot};
use crate::attestor::Attestor;

/// Longest reason, bytes: it is for a column of a table.
const REASON_MAX: usize = 1024;

/// What was said last of each node.
#[derive(Default)]
pub(super) struct Statements {
    said: HashMap<String, Said>,
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

impl Statements {
    /// Says what is new, and takes back what was said of nodes that are gone. Nodes that no host stands behind have no
    /// such object.
    pub(super) async fn round(
        &mut self,
        attestor: &Attestor,
        cluster: &Cluster,
        judged: &[(Arc<Node>, Judged)],
        now: i64,
    ) {
        let mut failed = self.resume(cluster).await.err();
        let mapped = judged.iter().filter(|(_, judged)| judged.host.is_some());
        let mut named = HashSet::new();
        for (node, judged) in mapped {
            named.insert(node.metadata.name.as_deref().unwrap_or_default());
            if let Err(error) = self.say(attestor, cluster, node, judged, now).await {
                failed = Some(error);
            }
        }
        if let Some(error) = failed.as_deref().filter(|_| !self.complained) {
            tracing::warn!(error, "not every HostTrust is written");
        }
        self.complained = failed.is_some();
        let said = self.said.keys();
        let gone: Vec<String> = said
            .filter(|name| !named.contains(name.as_str()))
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
        node: &Node,
        judged: &Judged,
        now: i64,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let name = node.metadata.name.clone().unwrap_or_default();
        let node_uid = node.metadata.uid.clone().unwrap_or_default();
        let before = self.said.get(&name);
        let before = before.filter(|said| said.node_uid == node_uid);
        let due = before.is_none_or(|said| now >= said.again_at);
        let status = status_of(judged, &node_uid, before.map(|said| &said.status), now);
        if !due && before.is_some_and(|said| says_the_same(&said.status, &status)) {
            return Ok(());
        }
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

/// What is signed of a node.
enum Signed {
    /// No round reached what is held about the host.
    Nothing,
    /// The boot that was appraised, and the statement on it.
    Token { boot: String, token: String },
    /// The database has another verdict by now than the one that is to be stated, and the boot of that one.
    Behind,
}

async fn sign(
    attestor: &Attestor,
    node: &str,
    node_uid: &str,
    judged: &Judged,
    now: i64,
) -> Result<Signed, Box<dyn std::error::Error + Send + Sync>> {
    let (Some(held), Some(host)) = (&judged.held, &judged.host) else {
        return Ok(Signed::Nothing);
    };
    let Some(record) = attestor.store.read().await?.host(host).await? else {
        return Ok(Signed::Nothing);
    };
    let boot = match boot_of(Verdict::of(&record)?.as_ref(), &held.entry) {
        Ok(Some(boot)) => boot,
        Ok(None) => return Ok(Signed::Nothing),
        Err(Behind) => return Ok(Signed::Behind),
    };
    let statement = NodeStatement {
        node: node.to_owned(),
        node_uid: node_uid.to_owned(),
        host: host.clone(),
        tier: judged.tier,
        reset_count: boot.reset_count,
        restart_count: boot.restart_count,
        entry: held.entry,
        issued_at: now,
        expires_at: held.standing.expires_at,
    };
    let boot = format!("{}.{}", boot.reset_count, boot.restart_count);
    let token = attestor.keys.result.sign_node(&statement)?;
    Ok(Signed::Token { boot, token })
}

/// Another verdict is kept.
#[derive(Debug, Eq, PartialEq)]
struct Behind;

/// The boot that the verdict with this entry is of, whichever quote came last; `None`: no round reached it.
fn boot_of(kept: Option<&Verdict>, entry: &Sha256Digest) -> Result<Option<VerdictBoot>, Behind> {
    match kept {
        Some(kept) if kept.entry != *entry => Err(Behind),
        kept => Ok(kept.and_then(|kept| kept.boot)),
    }
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

    use touchstone_evidence::result::TrustVector;

    use super::*;
    use crate::trust_index::OnNode;

    #[test]
    fn a_statement_names_the_boot_of_its_verdict_and_of_no_other() {
        let boot = |reset_count| VerdictBoot {
            reset_count,
            restart_count: 0,
        };
        let verdict = |entry: &[u8], boot| Verdict {
            tier: TrustTier::Affirming,
            vector: TrustVector::NONE,
            findings: Vec::new(),
            place: None,
            policy: String::new(),
            policy_digest: Sha256Digest::ZERO,
            boot,
            challenged_at: 1,
            issued_at: 1,
            expires_at: 2,
            entry: Sha256Digest::of(entry),
        };
        let (first, newer) = (verdict(b"1", Some(boot(7))), verdict(b"2", Some(boot(8))));
        assert_eq!(boot_of(Some(&first), &first.entry), Ok(Some(boot(7))));
        // What is held is behind what is kept by a moment.
        assert_eq!(boot_of(Some(&newer), &first.entry), Err(Behind));
        // An identity that ended has no verdict, and one from before boots were kept says none.
        assert_eq!(boot_of(None, &first.entry), Ok(None));
        let old = verdict(b"1", None);
        assert_eq!(boot_of(Some(&old), &first.entry), Ok(None));
    }

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
}
