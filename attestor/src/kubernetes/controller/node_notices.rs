//! What is said of a node when it turns, when its pods end, and when too many turn for that.
//!
//! It goes by how a node stands, and how that was told last. A replica that begins to lead knows no such thing, and says
//! of a node only what it wrote onto it itself.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use touchstone_evidence::host_id::HostId;
use touchstone_evidence::result::TrustTier;
use touchstone_kubernetes::marks::Marks;
use touchstone_kubernetes::names::TAINT;
use touchstone_kubernetes::node::Node;
use touchstone_kubernetes::notice::Said;

use super::judged::{Fault, Judged};
use super::notices::{Notices, codes};

/// What was told, by node uid.
#[derive(Default)]
pub(super) struct NodeNotices {
    stands: HashMap<String, Told>,
    /// Those whose pods stay because too many turn.
    held: HashSet<String>,
}

#[derive(Default)]
struct Told {
    /// `None`: nothing yet.
    stands: Option<Stands>,
    /// That its pods end.
    ends: bool,
}

/// How a node stands.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Stands {
    host: Option<HostId>,
    tier: TrustTier,
    fault: Option<Fault>,
    tainted: bool,
}

/// What was done to a node in this round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marked {
    /// What it is marked for.
    fault: Option<Fault>,
    tainted: bool,
    /// Whether its pods end by that.
    ends: bool,
    /// Whether anything was written onto it.
    wrote: bool,
}

impl Marked {
    pub(super) fn new(fault: Option<Fault>, marks: &Marks, wrote: bool) -> Self {
        let tainted = marks.taint.is_some();
        Self {
            fault,
            tainted,
            ends: tainted && marks.execute,
            wrote,
        }
    }
}

impl NodeNotices {
    /// Forgets nodes that are there no more.
    pub(super) fn begin(&mut self, judged: &[(Arc<Node>, Judged)]) {
        let there: HashSet<&str> = judged.iter().filter_map(|(node, _)| uid(node)).collect();
        self.stands.retain(|uid, _| there.contains(&**uid));
        self.held.retain(|uid| there.contains(&**uid));
    }

    /// Says how a node stands, once it carries that, if it is not as it was told.
    pub(super) fn note(
        &mut self,
        notices: &mut Notices,
        node: &Node,
        judged: &Judged,
        marked: Marked,
        now: i64,
    ) {
        let Some(uid) = uid(node) else {
            return;
        };
        let stands = Stands {
            host: judged.host.clone(),
            tier: judged.tier,
            fault: marked.fault,
            tainted: marked.tainted,
        };
        let told = self
            .stands
            .entry(uid.to_owned())
            .or_insert_with(|| match marked.wrote {
                true => Told::default(),
                // As whoever led before left it.
                false => Told {
                    stands: Some(stands.clone()),
                    ends: marked.ends,
                },
            });
        if told.stands.as_ref() != Some(&stands) && notices.of_node(node, stands.said(judged), now)
        {
            told.stands = Some(stands);
        }
        if told.ends != marked.ends && (!marked.ends || notices.of_node(node, ends(judged), now)) {
            told.ends = marked.ends;
        }
    }

    /// Says that pods stay on these nodes, by name, since too many turn, and that they do so no more.
    pub(super) fn note_held(
        &mut self,
        notices: &mut Notices,
        judged: &[(Arc<Node>, Judged)],
        held: &HashSet<String>,
        now: i64,
    ) {
        for (node, _) in judged {
            let (Some(uid), Some(name)) = (uid(node), &node.metadata.name) else {
                continue;
            };
            let (is, was) = (held.contains(name), self.held.contains(uid));
            if is && !was && notices.of_node(node, stays(), now) {
                self.held.insert(uid.to_owned());
            }
            if was && !is && notices.of_node(node, stays_no_more(), now) {
                self.held.remove(uid);
            }
        }
    }
}

impl Stands {
    fn said(&self, judged: &Judged) -> Said {
        let (reason, what) = match (&self.host, self.fault) {
            (None, _) => ("TouchstoneNew", "no host stands behind this node"),
            (_, None) => ("TouchstoneTrusted", "its host is trusted"),
            (_, Some(Fault::New)) => ("TouchstoneNew", "its host never was trusted so far"),
            (_, Some(Fault::Rebooted)) => (
                "TouchstoneRebooted",
                "it rebooted, and its host has not proven itself since",
            ),
            (_, Some(Fault::Untrusted)) => ("TouchstoneUntrusted", "its host is trusted no longer"),
        };
        let why = match &*codes(&judged.why) {
            "" => format!("tier {}", self.tier),
            codes => format!("tier {}: {codes}", self.tier),
        };
        let so = match (self.fault, self.tainted) {
            (None, _) => "pods may come",
            (Some(_), true) => "new pods stay away",
            (Some(_), false) => "new pods that a policy is for stay away",
        };
        Said {
            reason,
            message: format!("{what} ({why}); {so}; see {}", next(judged)),
            warns: self.fault.is_some(),
        }
    }
}

/// What an operator asks next.
fn next(judged: &Judged) -> String {
    match &judged.host {
        Some(host) => format!("`touchstone host explain {host}`"),
        None => "`touchstone node list`".to_owned(),
    }
}

fn ends(judged: &Judged) -> Said {
    Said {
        reason: "TouchstoneEnding",
        message: format!(
            "the grace is over: pods that do not tolerate the taint {TAINT} are ended; see {}",
            next(judged)
        ),
        warns: true,
    }
}

fn stays() -> Said {
    Said {
        reason: "TouchstoneHeld",
        message: "too many nodes would lose pods at once, or too many pods are said to run another image: those that may \
                  not stay here do until it is fewer; see `touchstone host list`, the policies and the attestor's log"
            .to_owned(),
        warns: true,
    }
}

fn stays_no_more() -> Said {
    Said {
        reason: "TouchstoneReleased",
        message: "it is not too many any more: pods that may not stay here are ended again"
            .to_owned(),
        warns: false,
    }
}

fn uid(node: &Node) -> Option<&str> {
    node.metadata.uid.as_deref()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use serde_json::json;
    use tokio::sync::mpsc::Receiver;
    use touchstone_evidence::finding::Finding;
    use touchstone_kubernetes::notice::Notice;

    use super::super::notices::tests::unwritten;
    use super::*;

    fn node(name: &str) -> Arc<Node> {
        let metadata = json!({ "name": name, "uid": format!("uid of {name}") });
        Arc::new(serde_json::from_value(json!({ "metadata": metadata, "spec": {} })).unwrap())
    }

    fn judged(tier: TrustTier, codes: &[&str]) -> Judged {
        Judged {
            host: Some("de-1".parse().unwrap()),
            held: None,
            tier,
            why: codes.iter().map(|code| Finding::new(code)).collect(),
            fault: None,
        }
    }

    fn marked(fault: Option<Fault>, ends: bool, wrote: bool) -> Marked {
        let marks = Marks {
            taint: fault.map(|_| "untrusted"),
            execute: ends,
            ..Marks::default()
        };
        Marked::new(fault, &marks, wrote)
    }

    fn told(waiting: &mut Receiver<Notice>) -> Vec<String> {
        let all = std::iter::from_fn(|| waiting.try_recv().ok());
        all.map(|notice| notice.said().reason.to_owned()).collect()
    }

    #[tokio::test]
    async fn each_turn_of_a_node_is_told_once() {
        let (mut notices, mut waiting) = unwritten();
        let (mut nodes, node) = (NodeNotices::default(), node("a"));
        let good = || judged(TrustTier::Affirming, &[]);
        let bad = || judged(TrustTier::Contraindicated, &["secure-boot-off"]);
        let fell = Some(Fault::Untrusted);
        for (judged, marked, reasons) in [
            (
                good(),
                marked(None, false, true),
                &["TouchstoneTrusted"][..],
            ),
            (good(), marked(None, false, false), &[]),
            // Somebody took a label away, and it was put back.
            (good(), marked(None, false, true), &[]),
            (bad(), marked(fell, false, true), &["TouchstoneUntrusted"]),
            (bad(), marked(fell, true, true), &["TouchstoneEnding"]),
            (bad(), marked(fell, true, false), &[]),
            (
                good(),
                marked(Some(Fault::Rebooted), false, true),
                &["TouchstoneRebooted"],
            ),
            (good(), marked(None, false, true), &["TouchstoneTrusted"]),
            (
                bad(),
                marked(fell, true, true),
                &["TouchstoneUntrusted", "TouchstoneEnding"],
            ),
        ] {
            nodes.note(&mut notices, &node, &judged, marked, 1);
            assert_eq!(told(&mut waiting), reasons);
        }
    }

    #[tokio::test]
    async fn who_begins_to_lead_says_nothing_of_what_stood_there_before() {
        let (mut notices, mut waiting) = unwritten();
        let (mut nodes, node) = (NodeNotices::default(), node("a"));
        let bad = judged(TrustTier::None, &["result-expired"]);
        let fell = Some(Fault::Untrusted);
        nodes.note(&mut notices, &node, &bad, marked(fell, true, false), 1);
        assert_eq!(told(&mut waiting), [""; 0]);
        let good = judged(TrustTier::Affirming, &[]);
        nodes.note(&mut notices, &node, &good, marked(None, false, true), 2);
        assert_eq!(told(&mut waiting), ["TouchstoneTrusted"]);
        // One that was made anew under its name is another one.
        nodes.begin(&[]);
        assert!(nodes.stands.is_empty());
    }

    #[tokio::test]
    async fn what_did_not_fit_into_a_round_is_said_in_the_next() {
        let (mut notices, mut waiting) = unwritten();
        let (mut nodes, last) = (NodeNotices::default(), node("last"));
        let good = judged(TrustTier::Affirming, &[]);
        let mut first_of_all = 0;
        while notices.of_node(&last, stays(), 1) {
            first_of_all += 1;
        }
        nodes.note(&mut notices, &last, &good, marked(None, false, true), 1);
        assert_eq!(told(&mut waiting).len(), first_of_all);
        notices.begin();
        nodes.note(&mut notices, &last, &good, marked(None, false, false), 2);
        assert_eq!(told(&mut waiting), ["TouchstoneTrusted"]);
    }

    #[tokio::test]
    async fn pods_that_stay_are_told_once_a_node_and_so_is_the_end_of_it() {
        let (mut notices, mut waiting) = unwritten();
        let mut nodes = NodeNotices::default();
        let all = ["a", "b", "c"].map(|name| (node(name), judged(TrustTier::None, &[])));
        for (held, reasons) in [
            (&["a", "b"][..], &["TouchstoneHeld"; 2][..]),
            (&["a", "b"], &[]),
            (&["a", "b", "c"], &["TouchstoneHeld"]),
            (&[], &["TouchstoneReleased"; 3]),
            (&[], &[]),
        ] {
            let held = held.iter().map(|&name| name.to_owned()).collect();
            nodes.note_held(&mut notices, &all, &held, 1);
            assert_eq!(told(&mut waiting), reasons);
        }
    }

    #[test]
    fn what_is_said_names_tier_codes_and_what_to_ask_next() {
        let stands = |host: bool, tier, fault, tainted| Stands {
            host: host.then(|| "de-1".parse().unwrap()),
            tier,
            fault,
            tainted,
        };
        let off = judged(TrustTier::Contraindicated, &["secure-boot-off"]);
        let said = stands(true, off.tier, Some(Fault::Untrusted), true).said(&off);
        assert_eq!(
            said.message,
            "its host is trusted no longer (tier contraindicated: secure-boot-off); new pods stay away; see `touchstone \
             host explain de-1`"
        );
        assert!(said.warns);
        let good = judged(TrustTier::Affirming, &[]);
        let said = stands(true, good.tier, None, false).said(&good);
        assert_eq!(
            said.message,
            "its host is trusted (tier affirming); pods may come; see `touchstone host explain de-1`"
        );
        assert!(!said.warns);
        let nobody = Judged {
            host: None,
            ..judged(TrustTier::None, &["node-unmapped"])
        };
        let said = stands(false, nobody.tier, Some(Fault::New), false).said(&nobody);
        assert_eq!(
            said.message,
            "no host stands behind this node (tier none: node-unmapped); new pods that a policy is for stay away; see \
             `touchstone node list`"
        );
    }
}
