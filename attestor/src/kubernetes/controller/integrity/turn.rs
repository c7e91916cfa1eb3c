//! Whose question is next: namespaces in turn, so that one whose registries are slow keeps no other waiting; of one, first
//! what was never asked, then what was asked longest ago.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Instant;

use super::Pair;

/// Questions, by namespace. None that stands here is empty.
#[derive(Default)]
pub(super) struct Waiting(BTreeMap<String, BTreeSet<(Option<Instant>, Pair)>>);

impl Waiting {
    /// `asked_at`: when it was asked last; `None`: never.
    pub(super) fn add(&mut self, asked_at: Option<Instant>, pair: Pair) {
        let questions = self.0.entry(pair.namespace.clone()).or_default();
        questions.insert((asked_at, pair));
    }

    /// Takes out the next question, where the last one was of this namespace.
    pub(super) fn next_after(&mut self, last: &str) -> Option<Pair> {
        let behind = (Excluded(last), Unbounded);
        let next = self.0.range::<str, _>(behind).next();
        let namespace = next.or_else(|| self.0.first_key_value())?.0.clone();
        let questions = self.0.get_mut(&namespace)?;
        let (_, pair) = questions.pop_first()?;
        if questions.is_empty() {
            self.0.remove(&namespace);
        }
        Some(pair)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use touchstone_evidence::digest::Sha256Digest;
    use touchstone_evidence::oci_digest::OciDigest;

    use super::super::Runs;
    use super::*;

    fn pair(namespace: &str, reference: &str) -> Pair {
        let digest = OciDigest(Sha256Digest::ZERO);
        Pair {
            namespace: namespace.to_owned(),
            reference: reference.to_owned(),
            asked: digest,
            runs: Runs::Id(digest),
        }
    }

    #[test]
    fn namespaces_take_turns_and_what_was_never_asked_is_before_what_is_asked_again() {
        let mut waiting = Waiting::default();
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        for (asked_at, namespace, reference) in [
            (Some(later), "a", "a1"),
            (Some(now), "a", "a2"),
            (None, "a", "a3"),
            (None, "b", "b1"),
            (None, "d", "d1"),
        ] {
            waiting.add(asked_at, pair(namespace, reference));
        }
        // The last one was of a namespace that has no question any more.
        let mut last = "c".to_owned();
        let mut order = Vec::new();
        while let Some(next) = waiting.next_after(&last) {
            last = next.namespace;
            order.push(next.reference);
        }
        assert_eq!(order, ["d1", "a3", "b1", "a2", "a1"]);
    }
}
