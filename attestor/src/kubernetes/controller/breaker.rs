//! The circuit breaker: when too many nodes turn at once, something else than the nodes is wrong, and no pod is ended.
//!
//! New pods are kept away all the same: that harms nothing that runs.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// What nodes were, and since when they are not.
#[derive(Default)]
pub(super) struct Breaker {
    /// Nodes that were trusted and did not lose their pods since.
    trusted: HashSet<String>,
    /// Since when a node is untrusted.
    turned: HashMap<String, Instant>,
}

/// One node, as it is looked at in a round of the controller.
pub(super) struct Turn<'a> {
    pub(super) node: &'a str,
    pub(super) untrusted: bool,
    /// Whether what it carries says that it was trusted, or that its turn is not over: for a controller that is new.
    pub(super) was_trusted: bool,
    /// Whether it lost its pods already.
    pub(super) executed: bool,
}

/// What comes of a round.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Turns {
    /// Nodes whose pods end now.
    pub(super) over: HashSet<String>,
    /// Nodes that would lose them, if it were not for the breaker.
    pub(super) held: usize,
}

impl Breaker {
    /// Looks at all nodes that a host stands behind. More than `percent` of them, and more than one, turning within
    /// `grace` and not executed yet: none is.
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
        for turn in nodes {
            match turn.untrusted {
                false => {
                    self.turned.remove(turn.node);
                    self.trusted.insert(turn.node.to_owned());
                }
                true => {
                    let first = !self.turned.contains_key(turn.node);
                    self.turned.entry(turn.node.to_owned()).or_insert(now);
                    if first && turn.was_trusted {
                        self.trusted.insert(turn.node.to_owned());
                    }
                    if turn.executed {
                        self.trusted.remove(turn.node);
                    }
                }
            }
        }
        let turning = |turn: &&Turn<'_>| turn.untrusted && self.trusted.contains(turn.node);
        let count = nodes.iter().filter(turning).count();
        let opened = count > 1 && count.saturating_mul(100) > percent.saturating_mul(nodes.len());
        let over = nodes.iter().filter(|turn| {
            let long = self
                .turned
                .get(turn.node)
                .is_some_and(|since| now.duration_since(*since) >= grace);
            turn.untrusted && (turn.executed || (long && !(opened && turning(turn))))
        });
        Turns {
            over: over.map(|turn| turn.node.to_owned()).collect(),
            held: if opened { count } else { 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    fn turn(node: &str, untrusted: bool) -> Turn<'_> {
        Turn {
            node,
            untrusted,
            was_trusted: false,
            executed: false,
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
    fn too_many_that_turn_at_once_keep_their_pods() {
        let (mut breaker, begin) = (Breaker::default(), Instant::now());
        let all =
            |bad: &[&'static str]| ["a", "b", "c", "d"].map(|node| turn(node, bad.contains(&node)));
        breaker.look(&all(&[]), 50, GRACE, begin);
        breaker.look(&all(&["a", "b", "c"]), 50, GRACE, begin);
        let turns = breaker.look(&all(&["a", "b", "c"]), 50, GRACE, begin + GRACE);
        assert_eq!((turns.held, turns.over.len()), (3, 0));
        // One came back: two of four are not more than half.
        let turns = breaker.look(&all(&["a", "b"]), 50, GRACE, begin + GRACE);
        assert_eq!((turns.held, over(&turns)), (0, vec!["a", "b"]));
    }

    #[test]
    fn nodes_that_never_were_trusted_do_not_open_it() {
        let (mut breaker, begin) = (Breaker::default(), Instant::now());
        let nodes = ["a", "b", "c"].map(|node| turn(node, true));
        breaker.look(&nodes, 50, GRACE, begin);
        let turns = breaker.look(&nodes, 50, GRACE, begin + GRACE);
        assert_eq!((turns.held, turns.over.len()), (0, 3));
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
        assert_eq!((turns.held, turns.over.len()), (3, 0));
        // What lost its pods before stays so, also for a controller that is new, and counts no more.
        let mut nodes = nodes;
        nodes[0].executed = true;
        nodes[1].executed = true;
        let turns = Breaker::default().look(&nodes, 50, GRACE, begin);
        assert_eq!(over(&turns), ["a", "b"]);
        let turns = breaker.look(&nodes, 50, GRACE, begin + GRACE);
        assert_eq!((turns.held, over(&turns)), (0, vec!["a", "b", "c"]));
    }
}
