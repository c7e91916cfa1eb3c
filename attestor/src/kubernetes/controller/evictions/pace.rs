//! How many of the pods that may not stay end at once: what is wrong with all of them shows before all are gone.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::super::Moment;
use super::super::breaker::WINDOW;
use super::{OF_PODS, Refused};

/// Most pods that end in one round. Each is an entry and a request; the next round judges the others anew.
const ROUND_MAX: usize = 100;
/// Most pods of a namespace that end in a second for what they are themselves.
const CHANGED_MAX: usize = 20;
/// Most pods of all namespaces that end within [`WINDOW`] because their node runs another image. Those of more do not: a
/// runtime that reports otherwise, or a mirror, is the cause of it rather than so many nodes.
const IMAGES_MAX: usize = 50;
/// Most of them that count of one node: what each runs is its own word.
const NODE_IMAGES_MAX: usize = 10;

const IMAGE: &str = "image-other-runs";

/// What ended lately.
#[derive(Default)]
pub(super) struct Pace {
    /// The second that is counted, since 1970.
    second: i64,
    /// Pods that ended in it for what they are themselves, by namespace.
    changed: HashMap<String, usize>,
    /// Pods that ended because their node runs another image, by uid, and that node.
    images: HashMap<String, (Instant, String)>,
    /// Whether it was told that there are too many of those.
    told: bool,
}

/// What comes of it in a round.
pub(super) struct Chosen<'r, 'a> {
    /// Those that end now.
    pub(super) end: Vec<&'r Refused<'a>>,
    /// Nodes whose pods stay since too many are said to run another image.
    pub(super) kept: HashSet<&'a str>,
}

impl Pace {
    /// Chooses from those whose grace is over. What a host, a place or a policy did ends but on nodes that are `held`; what
    /// is said of the pod itself ends there too: one user's pods keep neither another's nor those of a fallen host.
    /// `tried`: those that were told to end before, whose turn is after all others'.
    pub(super) fn choose<'r, 'a>(
        &mut self,
        refused: &'r [Refused<'a>],
        held: &HashSet<String>,
        tried: &HashSet<String>,
        at: Moment,
    ) -> Chosen<'r, 'a> {
        if self.second != at.now {
            self.second = at.now;
            self.changed.clear();
        }
        let mut due: Vec<&Refused<'_>> = refused.iter().filter(|refused| refused.due).collect();
        due.sort_by_key(|refused| (tried.contains(refused.known.uid()), refused.is_of_the_pod()));
        let too_many_images = self.are_too_many_images(&due, at.instant);
        let mut chosen = Chosen {
            end: Vec::new(),
            kept: HashSet::new(),
        };
        for refused in due {
            let of_its_host = !refused.is_of_the_pod() && !held.contains(refused.node);
            let is_kept = too_many_images && refused.is_of_an_image();
            if !of_its_host && is_kept {
                chosen.kept.insert(refused.node);
            } else if chosen.end.len() < ROUND_MAX
                && (of_its_host || (refused.says_of_the_pod() && self.is_its_turn(refused)))
            {
                if refused.is_of_an_image() {
                    let uid = refused.known.uid().to_owned();
                    let of = || (at.instant, refused.node.to_owned());
                    self.images.entry(uid).or_insert_with(of);
                }
                chosen.end.push(refused);
            }
        }
        chosen
    }

    /// Takes one of the turns of its namespace, if any is left.
    fn is_its_turn(&mut self, refused: &Refused<'_>) -> bool {
        let namespace = refused.known.pod.metadata.namespace.clone();
        let count = self
            .changed
            .entry(namespace.unwrap_or_default())
            .or_default();
        let is_left = *count < CHANGED_MAX;
        *count += usize::from(is_left);
        is_left
    }

    /// Tells it, where it was not so before.
    fn are_too_many_images(&mut self, due: &[&Refused<'_>], now: Instant) -> bool {
        self.images
            .retain(|_, (at, _)| now.duration_since(*at) < WINDOW);
        let due = due.iter().filter(|refused| refused.is_of_an_image());
        let new = due.filter(|refused| !self.images.contains_key(refused.known.uid()));
        let ended = self.images.values().map(|(_, node)| &**node);
        let mut by_node: HashMap<&str, usize> = HashMap::new();
        for node in ended.chain(new.map(|refused| refused.node)) {
            let count = by_node.entry(node).or_default();
            *count = NODE_IMAGES_MAX.min(count.saturating_add(1));
        }
        let pods: usize = by_node.values().sum();
        let are = pods > IMAGES_MAX;
        if are && !self.told {
            tracing::warn!(
                pods,
                "nodes report other images than too many pods name: none of these is ended until fewer do; was a container runtime or a mirror changed?"
            );
        }
        self.told = are;
        are
    }
}

impl Refused<'_> {
    fn says_of_the_pod(&self) -> bool {
        let mut refusals = self.refusals.iter();
        refusals.any(|finding| OF_PODS.contains(&&*finding.code))
    }

    /// Whether all that is said of the pod itself is that its node runs another image. Whoever changes the image of a pod brings
    /// `workload-changed` about, too.
    fn is_of_an_image(&self) -> bool {
        let codes = self.refusals.iter().map(|finding| &*finding.code);
        let mut of_the_pod = codes.filter(|code| OF_PODS.contains(code)).peekable();
        of_the_pod.peek().is_some() && of_the_pod.all(|code| code == IMAGE)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use serde_json::json;
    use touchstone_evidence::finding::Finding;

    use super::super::losing;
    use super::*;
    use crate::kubernetes::controller::pods::Known;

    fn refused(namespace: &str, node: &'static str, codes: &[&'static str]) -> Refused<'static> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let uid = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
        let metadata = json!({ "name": "p", "namespace": namespace, "uid": uid });
        let pod = json!({ "metadata": metadata, "spec": {} });
        let pod = Arc::new(serde_json::from_value(pod).unwrap());
        Refused {
            known: Arc::new(Known { pod, meant: None }),
            node,
            judged: None,
            policies: Vec::new(),
            refusals: codes.iter().map(|code| Finding::new(code)).collect(),
            due: true,
        }
    }

    fn at(second: u64) -> Moment {
        static BEGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        Moment {
            now: i64::try_from(second).unwrap(),
            instant: *BEGIN.get_or_init(Instant::now) + Duration::from_secs(second),
        }
    }

    fn none() -> HashSet<String> {
        HashSet::new()
    }

    #[test]
    fn pods_that_their_users_changed_neither_open_the_breaker_nor_are_held_by_it() {
        let all = [
            refused("mallory", "a", &["workload-changed"]),
            refused("mallory", "b", &["image-other-runs", "workload-changed"]),
            refused("shop", "b", &["tier-too-low", "workload-changed"]),
            refused("shop", "c", &["tier-too-low"]),
        ];
        assert_eq!(losing(&all), HashSet::from(["b", "c"]));
        let held = ["a", "b", "c"].map(str::to_owned).into();
        let nodes = |held| -> Vec<&str> {
            let chosen = Pace::default().choose(&all, held, &none(), at(1)).end;
            let mut nodes: Vec<_> = chosen.iter().map(|refused| refused.node).collect();
            nodes.sort_unstable();
            nodes
        };
        // What its user changed ends, whatever else is said of the pod.
        assert_eq!(nodes(&held), ["a", "b", "b"]);
        assert_eq!(nodes(&none()), ["a", "b", "b", "c"]);
    }

    #[test]
    fn of_one_namespace_a_few_that_changed_end_in_a_second_and_of_others_as_many() {
        let changed = |namespace| refused(namespace, "a", &["workload-changed"]);
        let mut all: Vec<Refused<'_>> = (0..3 * CHANGED_MAX).map(|_| changed("mallory")).collect();
        all.push(changed("shop"));
        all.extend((0..2 * CHANGED_MAX).map(|_| refused("mallory", "a", &["tier-too-low"])));
        let mut pace = Pace::default();
        let mut ended = |second| pace.choose(&all, &none(), &none(), at(second)).end.len();
        assert_eq!(ended(1), CHANGED_MAX + 1 + 2 * CHANGED_MAX);
        // Another round within that second.
        assert_eq!(ended(1), 1 + 2 * CHANGED_MAX);
        assert_eq!(ended(2), CHANGED_MAX + 1 + 2 * CHANGED_MAX);
    }

    #[test]
    fn a_round_ends_so_many_pods_and_first_those_that_were_not_told_to_yet() {
        let all: Vec<_> = (0..2 * ROUND_MAX)
            .map(|_| refused("shop", "a", &["tier-too-low"]))
            .collect();
        let mut pace = Pace::default();
        let mut round = |tried: &HashSet<String>| -> HashSet<String> {
            let chosen = pace.choose(&all, &none(), tried, at(1)).end.into_iter();
            chosen.map(|one| one.known.uid().to_owned()).collect()
        };
        let first = round(&none());
        assert_eq!(first.len(), ROUND_MAX);
        let second = round(&first);
        assert_eq!(second.len(), ROUND_MAX);
        assert!(first.is_disjoint(&second));
    }

    #[test]
    fn too_many_pods_whose_nodes_run_another_image_stay_wherever_they_are() {
        let others = |namespace, count| -> Vec<Refused<'_>> {
            let nodes = ["a", "b", "c", "d", "e", "f"].into_iter().cycle();
            let other = |node| refused(namespace, node, &["image-other-runs"]);
            nodes.take(count).map(other).collect()
        };
        let mut pace = Pace::default();
        let mut all = Vec::new();
        for namespace in ["a", "b", "c"] {
            all.extend(others(namespace, CHANGED_MAX));
        }
        let round = |pace: &mut Pace, all: &[Refused<'_>], second| {
            let chosen = pace.choose(all, &none(), &none(), at(second));
            (chosen.end.len(), chosen.kept.len())
        };
        assert_eq!(round(&mut pace, &all, 1), (0, 6));
        // Fewer end, and count for a while, once each.
        all.truncate(2 * CHANGED_MAX);
        assert_eq!(round(&mut pace, &all, 2), (2 * CHANGED_MAX, 0));
        assert_eq!(round(&mut pace, &all, 3), (2 * CHANGED_MAX, 0));
        let mut more = others("c", CHANGED_MAX);
        // These two end for something else.
        more.push(refused("d", "a", &["image-other-runs", "workload-changed"]));
        more.push(refused("d", "b", &["image-other-runs", "tier-too-low"]));
        assert_eq!(round(&mut pace, &more, 4), (2, 6));
        more.truncate(CHANGED_MAX);
        let later = 3 + WINDOW.as_secs();
        assert_eq!(round(&mut pace, &more, later), (CHANGED_MAX, 0));
    }

    #[test]
    fn one_node_s_word_keeps_no_other_node_s_pods() {
        let liar = |_| refused("shop", "z", &["image-other-runs"]);
        let mut all: Vec<Refused<'_>> = (0..2 * IMAGES_MAX).map(liar).collect();
        all.push(refused("other", "a", &["image-other-runs"]));
        let chosen = Pace::default().choose(&all, &none(), &none(), at(1)).end;
        let namespaces = chosen
            .iter()
            .map(|one| one.known.pod.metadata.namespace.as_deref());
        let namespaces: HashSet<_> = namespaces.collect();
        assert_eq!(namespaces, HashSet::from([Some("shop"), Some("other")]));
        assert_eq!(chosen.len(), CHANGED_MAX + 1);
    }
}
