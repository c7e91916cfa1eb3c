//! The circuit breaker: when too many nodes would lose their pods at once, whyever, something else than the nodes is wrong,
//! and no pod is ended.
//!
//! New pods are kept away all the same: that harms nothing that runs. What it must not forget with its leader stands in the
//! log, and on the nodes.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// For how long a node that lost its pods counts among those that turn. Hosts attest at different moments, so that what is
/// wrong with all of them shows in one after the other.
pub(super) const WINDOW: Duration = Duration::from_secs(600);

/// What nodes were, and since when they are not.
#[derive(Default)]
pub(super) struct Breaker {
    /// Nodes that were trusted and did not lose their pods since.
    trusted: HashSet<String>,
    /// When nodes lost their pods, or some.
    ended: HashMap<String, Instant>,
    /// Since when a node is untrusted.
    turned: HashMap<String, Instant>,
    /// Untrusted nodes that were trusted before.
    fell: HashSet<String>,
}

/// One node, as it is looked at in a round of the controller.
pub(super) struct Turn<'a> {
    pub(super) node: &'a str,
    /// Whether its host is trusted, also where it is to prove another boot. One that is neither was not appraised yet.
    pub(super) trusted: bool,
    pub(super) untrusted: bool,
    /// Whether what it carries says that it was trusted, or that its turn is not over: for a controller that is new.
    pub(super) was_trusted: bool,
    /// Whether some pod is to be ended there, because of the host, of its place, of a new policy: not for what the pod is.
    pub(super) loses: bool,
    /// Whether it lost its pods already.
    pub(super) executed: bool,
    /// How long ago, where the node says so: of one that never was trusted it does not.
    pub(super) executed_for: Option<Duration>,
}

/// With those of `losing` that are none of `turns`: pods run there, though the cluster shows no such node, as one that
/// cannot be read.
pub(super) fn with_unseen<'a>(
    mut turns: Vec<Turn<'a>>,
    losing: &HashSet<&'a str>,
) -> Vec<Turn<'a>> {
    let seen: HashSet<&str> = turns.iter().map(|turn| turn.node).collect();
    let unseen = losing.iter().filter(|node| !seen.contains(*node));
    let unseen = unseen.map(|node| Turn {
        node,
        trusted: false,
        untrusted: false,
        was_trusted: false,
        loses: true,
        executed: false,
        executed_for: None,
    });
    turns.extend(unseen);
    turns
}

/// What comes of a round.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Turns {
    /// Nodes whose pods end now.
    pub(super) over: HashSet<String>,
    /// Nodes that would lose them, if it were not for the breaker.
    pub(super) held: HashSet<String>,
    /// Untrusted nodes that were trusted before. The others are new: what runs on them ran there before anybody asked.
    pub(super) fell: HashSet<String>,
    /// Nodes that lost pods lately, of those that could be trusted before or ran some of a policy.
    pub(super) lately: HashSet<String>,
}

impl Turns {
    /// Lets nodes of `of` lose their pods in a later round; of those that lost them already nothing is given back.
    pub(super) fn put_off(&mut self, nodes: &[Turn<'_>], of: &HashSet<&str>) {
        let later = nodes
            .iter()
            .filter(|turn| !turn.executed && of.contains(turn.node));
        for turn in later {
            self.over.remove(turn.node);
        }
    }
}

impl Breaker {
    /// One that goes on for another: `lost` says which nodes lost pods, and how long ago.
    pub(super) fn resume(lost: impl Iterator<Item = (String, Duration)>, now: Instant) -> Self {
        let mut breaker = Self::default();
        for (node, ago) in lost {
            breaker.note_ended(node, now.checked_sub(ago).unwrap_or(now));
        }
        breaker
    }

    /// Notes that pods of a node were ended.
    pub(super) fn note_ended(&mut self, node: String, at: Instant) {
        let last = self.ended.entry(node).or_insert(at);
        *last = at.max(*last);
    }

    /// Looks at all nodes that a host stands behind, or that lose pods. Where more than `percent` of them, and more than one,
    /// turn now or lost pods within [`WINDOW`], none of those that turn now does. One that lost pods counts for as long,
    /// also where the cluster shows it no more.
    pub(super) fn look(
        &mut self,
        nodes: &[Turn<'_>],
        percent: usize,
        grace: Duration,
        now: Instant,
    ) -> Turns {
        let known: HashSet<&str> = nodes.iter().map(|turn| turn.node).collect();
        self.trusted.retain(|node| known.contains(&**node));
        self.turned.retain(|node, _| known.contains(&**node));
        self.fell.retain(|node| known.contains(&**node));
        self.ended.retain(|_, at| now.duration_since(*at) < WINDOW);
        for turn in nodes {
            self.note(turn, now);
        }
        let turning =
            |turn: &&Turn<'_>| turn.loses || (turn.untrusted && self.trusted.contains(turn.node));
        let held: HashSet<String> = nodes
            .iter()
            .filter(turning)
            .map(|turn| turn.node.to_owned())
            .collect();
        let before = self.ended.keys().filter(|node| !held.contains(*node));
        let count = held.len().saturating_add(before.count());
        let gone = self.ended.keys().filter(|node| !known.contains(&***node));
        let all = nodes.len().saturating_add(gone.count());
        let opened = !held.is_empty()
            && count > 1
            && count.saturating_mul(100) > percent.saturating_mul(all);
        let held = match opened {
            true => held,
            false => HashSet::new(),
        };
        let over: HashSet<String> = nodes
            .iter()
            .filter(|turn| turn.untrusted && self.fell.contains(turn.node))
            .filter(|turn| {
                turn.executed || (self.is_long(turn, grace, now) && !held.contains(turn.node))
            })
            .map(|turn| turn.node.to_owned())
            .collect();
        // Whether it is tainted so or not: its turn is over.
        for node in &over {
            if self.trusted.remove(node) {
                self.note_ended(node.clone(), now);
            }
        }
        let lately = self.ended.keys().cloned().collect();
        Turns {
            over,
            held,
            lately,
            fell: self.fell.clone(),
        }
    }

    fn note(&mut self, turn: &Turn<'_>, now: Instant) {
        if turn.trusted {
            self.trusted.insert(turn.node.to_owned());
        }
        if !turn.untrusted {
            self.turned.remove(turn.node);
            self.fell.remove(turn.node);
            return;
        }
        if turn.was_trusted || turn.executed || self.trusted.contains(turn.node) {
            self.fell.insert(turn.node.to_owned());
        }
        let first = !self.turned.contains_key(turn.node);
        self.turned.entry(turn.node.to_owned()).or_insert(now);
        if first && turn.was_trusted && !turn.executed {
            self.trusted.insert(turn.node.to_owned());
        }
        let lately = turn.executed_for.filter(|_| first && turn.executed);
        if let Some(ago) = lately.filter(|ago| *ago < WINDOW) {
            self.note_ended(turn.node.to_owned(), now.checked_sub(ago).unwrap_or(now));
        }
        if turn.executed && self.trusted.remove(turn.node) {
            self.note_ended(turn.node.to_owned(), now);
        }
    }

    fn is_long(&self, turn: &Turn<'_>, grace: Duration, now: Instant) -> bool {
        let since = self.turned.get(turn.node);
        since.is_some_and(|since| now.duration_since(*since) >= grace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    fn turn(node: &str, untrusted: bool) -> Turn<'_> {
        Turn {
            node,
            trusted: !untrusted,
            untrusted,
            was_trusted: false,
            loses: false,
            executed: false,
            executed_for: None,
        }
    }

    fn over(turns: &Turns) -> Vec<&str> {
        let mut over: Vec<&str> = turns.over.iter().map(String::as_str).collect();
        over.sort_unstable();
        over
    }

    #[test]
    fn one_that_turns_loses_its_pods_after_the_grace() {
        let (mut breaker, begin) = (Breaker::default(), Instant::now());
        let look = |breaker: &mut Breaker, a: bool, at: Duration| {
            breaker.look(&[turn("a", a), turn("b", false)], 50, GRACE, begin + at)
        };
        look(&mut breaker, false, Duration::ZERO);
        assert!(
            look(&mut breaker, true, Duration::from_secs(1))
                .over
                .is_empty()
        );
        assert!(
            look(&mut breaker, true, Duration::from_secs(10))
                .over
                .is_empty()
        );
        assert_eq!(
            over(&look(&mut breaker, true, Duration::from_secs(11))),
            ["a"]
        );
        // Trusted in between: the grace begins anew.
        look(&mut breaker, false, Duration::from_secs(12));
        assert!(
            look(&mut breaker, true, Duration::from_secs(13))
                .over
                .is_empty()
        );
    }

    #[test]
    fn a_node_whose_pods_are_not_all_written_down_loses_them_later_and_none_gets_them_back() {
        let executed = Turn {
            executed: true,
            ..turn("c", true)
        };
        let nodes = [turn("a", true), turn("b", true), executed];
        let mut turns = Turns {
            over: ["a", "b", "c"].map(str::to_owned).into(),
            ..Turns::default()
        };
        turns.put_off(&nodes, &HashSet::from(["b", "c"]));
        assert_eq!(over(&turns), ["a", "c"]);
    }

    #[test]
    fn too_many_that_turn_at_once_keep_their_pods() {
        let (mut breaker, begin) = (Breaker::default(), Instant::now());
        let all =
            |bad: &[&'static str]| ["a", "b", "c", "d"].map(|node| turn(node, bad.contains(&node)));
        breaker.look(&all(&[]), 50, GRACE, begin);
        breaker.look(&all(&["a", "b", "c"]), 50, GRACE, begin);
        let turns = breaker.look(&all(&["a", "b", "c"]), 50, GRACE, begin + GRACE);
        assert_eq!((turns.held.len(), turns.over.len()), (3, 0));
        // One came back: two of four are not more than half.
        let turns = breaker.look(&all(&["a", "b"]), 50, GRACE, begin + GRACE);
        assert_eq!((turns.held.len(), over(&turns)), (0, vec!["a", "b"]));
    }

    #[test]
    fn those_that_turn_one_after_the_other_open_it_too() {
        let (mut breaker, begin) = (Breaker::default(), Instant::now());
        let all =
            |bad: &[&'static str]| ["a", "b", "c", "d"].map(|node| turn(node, bad.contains(&node)));
        breaker.look(&all(&[]), 50, GRACE, begin);
        for (seconds, bad) in [(0, &["a"][..]), (20, &["a", "b"]), (40, &["a", "b", "c"])] {
            let at = begin + Duration::from_secs(seconds);
            breaker.look(&all(bad), 50, GRACE, at);
            let turns = breaker.look(&all(bad), 50, GRACE, at + GRACE);
            let third = bad.len() == 3;
            assert_eq!(turns.held.contains("c"), third, "{bad:?}");
            assert!(!turns.over.contains("c"));
        }
        // They count no more once that is long ago.
        let turns = breaker.look(&all(&["a", "b", "c"]), 50, GRACE, begin + 2 * WINDOW);
        assert!(turns.held.is_empty() && turns.over.contains("c"));
    }

    #[test]
    fn nodes_that_never_were_trusted_neither_open_it_nor_lose_pods() {
        let (mut breaker, begin) = (Breaker::default(), Instant::now());
        let nodes = ["a", "b", "c"].map(|node| turn(node, true));
        breaker.look(&nodes, 50, GRACE, begin);
        let turns = breaker.look(&nodes, 50, GRACE, begin + GRACE);
        assert_eq!((turns.held.len(), turns.over.len()), (0, 0));
        assert!(turns.fell.is_empty());
        // Once it was trusted, it falls.
        let turn_of = |untrusted| [turn("a", untrusted), turn("b", true), turn("c", true)];
        breaker.look(&turn_of(false), 50, GRACE, begin + GRACE);
        breaker.look(&turn_of(true), 50, GRACE, begin + GRACE);
        let turns = breaker.look(&turn_of(true), 50, GRACE, begin + 2 * GRACE);
        assert_eq!(over(&turns), ["a"]);
        assert_eq!(turns.fell.len(), 1);
    }

    #[test]
    fn a_controller_that_is_new_goes_by_what_nodes_carry() {
        let (mut breaker, begin) = (Breaker::default(), Instant::now());
        let nodes = ["a", "b", "c"].map(|node| Turn {
            was_trusted: true,
            ..turn(node, true)
        });
        breaker.look(&nodes, 50, GRACE, begin);
        let turns = breaker.look(&nodes, 50, GRACE, begin + GRACE);
        assert_eq!((turns.held.len(), turns.over.len()), (3, 0));
        // What lost its pods stays so, also for a controller that is new, and counts for a while.
        let mut nodes = nodes;
        nodes[0].executed = true;
        nodes[1].executed = true;
        let turns = Breaker::default().look(&nodes, 50, GRACE, begin);
        assert_eq!(over(&turns), ["a", "b"]);
        let turns = breaker.look(&nodes, 50, GRACE, begin + GRACE);
        assert_eq!((turns.held.len(), over(&turns)), (1, vec!["a", "b"]));
    }

    /// Those that lose pods although their hosts are trusted: their place is not allowed any more, perhaps.
    fn losing<'a>(nodes: &[&'a str], losing: &[&str]) -> Vec<Turn<'a>> {
        let turn = |node: &&'a str| Turn {
            loses: losing.contains(node),
            ..turn(node, false)
        };
        nodes.iter().map(turn).collect()
    }

    #[test]
    fn too_many_that_lose_pods_for_another_reason_than_their_tier_open_it_too() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        let all = ["a", "b", "c", "d"];
        let mut look = |bad: &[&str]| breaker.look(&losing(&all, bad), 50, GRACE, now).held.len();
        assert_eq!(
            [look(&["a"]), look(&["a", "b"]), look(&["a", "b", "c"])],
            [0, 0, 3]
        );
        // One that stands behind no host any more is one of them.
        let never = [
            turn("a", true),
            Turn {
                loses: true,
                ..turn("b", true)
            },
        ];
        let held = Breaker::default().look(&never, 50, GRACE, now).held;
        assert!(held.is_empty(), "a single one");
    }

    #[test]
    fn nodes_that_the_cluster_does_not_show_are_held_and_counted_as_any_other() {
        let now = Instant::now();
        let lose = |unseen: &[&'static str]| {
            let all = losing(&["a", "b", "c"], &["a"]);
            with_unseen(all, &unseen.iter().copied().chain(["a"]).collect())
        };
        assert_eq!(lose(&["x", "y"]).len(), 5);
        let turns = Breaker::default().look(&lose(&["x", "y"]), 50, GRACE, now);
        assert_eq!(turns.held, ["a", "x", "y"].map(str::to_owned).into());
    }

    #[test]
    fn nodes_that_lost_pods_count_for_a_while_though_the_cluster_shows_them_no_more() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        let mut look = |node: &'static str| {
            let nodes = with_unseen(losing(&["a"], &[]), &HashSet::from([node]));
            let held = breaker.look(&nodes, 50, GRACE, now).held.len();
            breaker.note_ended(node.to_owned(), now);
            held
        };
        assert_eq!([look("x"), look("y"), look("z")], [0, 1, 1]);
    }

    #[test]
    fn those_that_lost_pods_count_for_a_while_whoever_leads() {
        let begin = Instant::now();
        let all = ["a", "b", "c", "d"];
        let mut breaker = Breaker::default();
        for node in ["a", "b"] {
            assert!(
                breaker
                    .look(&losing(&all, &[node]), 50, GRACE, begin)
                    .held
                    .is_empty()
            );
            breaker.note_ended(node.to_owned(), begin);
        }
        // The same node once more is not another one.
        assert!(
            breaker
                .look(&losing(&all, &["b"]), 50, GRACE, begin)
                .held
                .is_empty()
        );
        assert_eq!(
            breaker
                .look(&losing(&all, &["c"]), 50, GRACE, begin)
                .held
                .len(),
            1
        );
        let minute = Duration::from_secs(60);
        let lost = || [("a".to_owned(), minute), ("b".to_owned(), minute)].into_iter();
        let mut next = Breaker::resume(lost(), begin + minute);
        let turns = next.look(&losing(&all, &["c"]), 50, GRACE, begin + minute);
        assert_eq!(turns.held.len(), 1);
        let turns = next.look(&losing(&all, &["c"]), 50, GRACE, begin + WINDOW);
        assert!(turns.held.is_empty());
        // Where no pod of a policy was on them, nodes say it.
        let mut nodes = losing(&all, &["c"]);
        for (at, ago) in [(0, minute), (1, minute)] {
            (nodes[at].untrusted, nodes[at].trusted) = (true, false);
            (nodes[at].executed, nodes[at].executed_for) = (true, Some(ago));
        }
        let turns = Breaker::default().look(&nodes, 50, GRACE, begin + minute);
        assert_eq!(turns.held.len(), 1);
        for node in &mut nodes {
            node.executed_for = Some(WINDOW);
        }
        let turns = Breaker::default().look(&nodes, 50, GRACE, begin + minute);
        assert!(turns.held.is_empty());
    }
}
