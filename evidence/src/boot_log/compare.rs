//! In what two lists of measurements differ: the longest common sequence stays, the rest was removed,
//! added or changed.
//!
//! Only digests count. Type and data of an event are claims, and two logs of one boot may differ in them.

use std::collections::BTreeSet;

use super::bank::Bank;
use super::{BootLog, Event};

/// Most comparisons for one common sequence: two PCRs of a thousand events each.
const WORK_MAX: usize = 1 << 20;

/// One place where two lists differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference<A, B> {
    /// Only the first has it.
    Removed(A),
    /// Only the second has it.
    Added(B),
    /// Each has another one in the same place.
    Changed(A, B),
}

/// Differences from `before` to `after` in order. Within a place that differs, one is paired with the
/// next of the other list that is `alike`: the same kind of thing.
pub fn differences<'a, 'b, A, B>(
    before: &'a [A],
    after: &'b [B],
    same: impl Fn(&A, &B) -> bool,
    alike: impl Fn(&A, &B) -> bool,
) -> Vec<Difference<&'a A, &'b B>> {
    let beginning = before
        .iter()
        .zip(after)
        .take_while(|(a, b)| same(a, b))
        .count();
    let before = before.get(beginning..).unwrap_or_default();
    let after = after.get(beginning..).unwrap_or_default();
    let end = before
        .iter()
        .rev()
        .zip(after.iter().rev())
        .take_while(|(a, b)| same(a, b))
        .count();
    let until = |length: usize| length.saturating_sub(end);
    let before = before.get(..until(before.len())).unwrap_or_default();
    let after = after.get(..until(after.len())).unwrap_or_default();

    let mut found = Vec::new();
    let (mut removed, mut added) = (Vec::new(), Vec::new());
    for step in walk(before, after, &same) {
        match step {
            Step::Removed(a) => removed.push(a),
            Step::Added(b) => added.push(b),
            Step::Same => pair(&mut found, &mut removed, &mut added, &alike),
        }
    }
    pair(&mut found, &mut removed, &mut added, &alike);
    found
}

enum Step<A, B> {
    Same,
    Removed(A),
    Added(B),
}

/// The way through both lists along their longest common sequence; by position where that costs too much.
fn walk<'a, 'b, A, B>(
    before: &'a [A],
    after: &'b [B],
    same: &impl Fn(&A, &B) -> bool,
) -> Vec<Step<&'a A, &'b B>> {
    let work = before.len().checked_mul(after.len());
    if work.is_none_or(|work| work > WORK_MAX) {
        return by_position(before, after, same);
    }
    let lengths = common_lengths(before, after, same);
    let length = |rest_of_a: &[A], rest_of_b: &[B]| -> u32 {
        let row = lengths.get(before.len().saturating_sub(rest_of_a.len()));
        let column = after.len().saturating_sub(rest_of_b.len());
        row.and_then(|row| row.get(column)).copied().unwrap_or(0)
    };
    let (mut rest_of_a, mut rest_of_b) = (before, after);
    let mut steps = Vec::new();
    loop {
        match (rest_of_a.split_first(), rest_of_b.split_first()) {
            (Some((a, next_a)), Some((b, next_b))) if same(a, b) => {
                steps.push(Step::Same);
                (rest_of_a, rest_of_b) = (next_a, next_b);
            }
            (Some((a, next_a)), Some((_, next_b)))
                if length(next_a, rest_of_b) >= length(rest_of_a, next_b) =>
            {
                steps.push(Step::Removed(a));
                rest_of_a = next_a;
            }
            (_, Some((b, next_b))) => {
                steps.push(Step::Added(b));
                rest_of_b = next_b;
            }
            (Some((a, next_a)), None) => {
                steps.push(Step::Removed(a));
                rest_of_a = next_a;
            }
            (None, None) => return steps,
        }
    }
}

fn by_position<'a, 'b, A, B>(
    before: &'a [A],
    after: &'b [B],
    same: &impl Fn(&A, &B) -> bool,
) -> Vec<Step<&'a A, &'b B>> {
    let longer = before.len().max(after.len());
    (0..longer)
        .flat_map(|at| match (before.get(at), after.get(at)) {
            (Some(a), Some(b)) if same(a, b) => [Some(Step::Same), None],
            (a, b) => [a.map(Step::Removed), b.map(Step::Added)],
        })
        .flatten()
        .collect()
}

/// By row and column: how long the common sequence of the lists from there on is.
fn common_lengths<A, B>(
    before: &[A],
    after: &[B],
    same: &impl Fn(&A, &B) -> bool,
) -> Vec<Vec<u32>> {
    let mut rows = vec![vec![0; after.len().saturating_add(1)]];
    for a in before.iter().rev() {
        let mut row = vec![0_u32];
        let below = rows.last().map(Vec::as_slice).unwrap_or_default();
        // From the end: `diagonal` is below and to the right of the new cell, `under` below it.
        let cells = below.iter().rev().zip(below.iter().rev().skip(1));
        for (b, (diagonal, under)) in after.iter().rev().zip(cells) {
            let right = row.last().copied().unwrap_or(0);
            row.push(match same(a, b) {
                true => u32::saturating_add(*diagonal, 1),
                false => right.max(*under),
            });
        }
        row.reverse();
        rows.push(row);
    }
    rows.reverse();
    rows
}

/// Empties what was gathered between two events that both lists have.
fn pair<'a, 'b, A, B>(
    found: &mut Vec<Difference<&'a A, &'b B>>,
    removed: &mut Vec<&'a A>,
    added: &mut Vec<&'b B>,
    alike: &impl Fn(&A, &B) -> bool,
) {
    let mut added = std::mem::take(added).into_iter().peekable();
    for a in std::mem::take(removed) {
        let partner = added.clone().position(|b| alike(a, b));
        match partner {
            Some(at) => {
                found.extend(added.by_ref().take(at).map(Difference::Added));
                found.extend(added.next().map(|b| Difference::Changed(a, b)));
            }
            None => found.push(Difference::Removed(a)),
        }
    }
    found.extend(added.map(Difference::Added));
}

impl BootLog {
    /// What `other` measured otherwise, by PCR and then in order, told by the digests of `bank`; where an
    /// event has none of that bank, by type and data.
    #[must_use]
    pub fn compare<'a>(
        &'a self,
        other: &'a Self,
        bank: Bank,
    ) -> Vec<(u8, Difference<&'a Event, &'a Event>)> {
        let pcrs: BTreeSet<u8> = self
            .events
            .iter()
            .chain(&other.events)
            .map(|event| event.pcr)
            .collect();
        let mut found = Vec::new();
        for pcr in pcrs {
            let of = |log: &'a Self| -> Vec<&'a Event> {
                log.events.iter().filter(|event| event.pcr == pcr).collect()
            };
            let (mine, theirs) = (of(self), of(other));
            let same = |a: &&Event, b: &&Event| match (a.digest(bank), b.digest(bank)) {
                (None, None) => {
                    (a.untrusted_kind, &a.untrusted_data) == (b.untrusted_kind, &b.untrusted_data)
                }
                (a, b) => a == b,
            };
            let alike = |a: &&Event, b: &&Event| {
                a.untrusted_kind == b.untrusted_kind
                    && a.untrusted_variable_name() == b.untrusted_variable_name()
            };
            let differences = differences(&mine, &theirs, same, alike);
            found.extend(differences.into_iter().map(|difference| {
                let difference = match difference {
                    Difference::Removed(a) => Difference::Removed(*a),
                    Difference::Added(b) => Difference::Added(*b),
                    Difference::Changed(a, b) => Difference::Changed(*a, *b),
                };
                (pcr, difference)
            }));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Difference::{Added, Changed, Removed};
    use super::*;

    fn letters(before: &str, after: &str) -> String {
        let [before, after] = [before, after].map(|text| text.chars().collect::<Vec<_>>());
        // Letters and digits are two kinds.
        let alike = |a: &char, b: &char| a.is_ascii_digit() == b.is_ascii_digit();
        let told = differences(&before, &after, |a, b| a == b, alike);
        let told = told.into_iter().map(|difference| match difference {
            Removed(a) => format!("-{a}"),
            Added(b) => format!("+{b}"),
            Changed(a, b) => format!("{a}{b}"),
        });
        told.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_stays_is_the_longest_common_sequence() {
        for (before, after, told) in [
            ("abc", "abc", ""),
            ("", "", ""),
            ("abc", "", "-a -b -c"),
            ("", "ab", "+a +b"),
            ("abc", "axc", "bx"),
            ("abcd", "acd", "-b"),
            ("acd", "abcd", "+b"),
            ("abcd", "bcde", "-a +e"),
            ("abxcdy", "abcd", "-x -y"),
            ("aXbYc", "a1b2c", "-X +1 -Y +2"),
            ("ab1", "x2y", "ax +2 by -1"),
            ("aa", "aaa", "+a"),
        ] {
            assert_eq!(letters(before, after), told, "{before} {after}");
        }
    }

    #[test]
    fn long_lists_are_paired_in_order() {
        let before: Vec<u32> = (0..2000).collect();
        let mut after: Vec<u32> = (1..2001).collect();
        after.swap(1000, 1001);
        let found = differences(&before, &after, |a, b| a == b, |_, _| true);
        assert_eq!(found.len(), 1999);
        assert_eq!(found.first(), Some(&Changed(&0, &1)));
    }

    proptest! {
        /// Whatever differs, the second list comes out of the first one.
        #[test]
        fn differences_lead_from_one_list_to_the_other(
            before in proptest::collection::vec(0_u8..4, 0..12),
            after in proptest::collection::vec(0_u8..4, 0..12),
        ) {
            let found = differences(&before, &after, |a, b| a == b, |a, b| a % 2 == b % 2);
            let mut gone: Vec<*const u8> = Vec::new();
            let mut new: Vec<*const u8> = Vec::new();
            for difference in &found {
                match difference {
                    Removed(a) => gone.push(*a),
                    Added(b) => new.push(*b),
                    Changed(a, b) => {
                        prop_assert_ne!(a, b);
                        gone.push(*a);
                        new.push(*b);
                    }
                }
            }
            let kept = |list: &[u8], out: &[*const u8]| -> Vec<u8> {
                list.iter().filter(|one| !out.contains(&std::ptr::from_ref(*one))).copied().collect()
            };
            prop_assert_eq!(kept(&before, &gone), kept(&after, &new));
            prop_assert!(gone.is_sorted() && new.is_sorted());
        }
    }
}
