//! Whether a pod of some policies could run on any node, remembered for a moment: pods come in crowds, and each asks about
//! every node.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use touchstone_evidence::digest::Sha256Digest;

/// How long an answer counts at most: verdicts run out, and nodes are made anew, without a change of what is held.
const COUNTS: Duration = Duration::from_secs(1);
/// Most sets of policies that answers are kept of.
const SETS_MAX: usize = 1024;

/// What the answers rest on: digest of the policies in force, and number of changes of what is held about hosts and nodes.
type Basis = (Sha256Digest, u64);

/// The last answers, by the names of policies.
#[derive(Default)]
pub(crate) struct Fitting {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    basis: Basis,
    answers: HashMap<Vec<String>, (Instant, bool)>,
}

impl Fitting {
    /// The answer for pods of these policies, `now`: the last one, or `look`'s.
    pub(super) fn of(
        &self,
        basis: Basis,
        policies: Vec<String>,
        now: Instant,
        look: impl FnOnce() -> bool,
    ) -> bool {
        if let Some(fits) = self.last(basis, &policies, now) {
            return fits;
        }
        // Nobody waits for it: at worst several look at once.
        let fits = look();
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.basis != basis || inner.answers.len() >= SETS_MAX {
            inner.basis = basis;
            inner.answers.clear();
        }
        inner.answers.insert(policies, (now, fits));
        fits
    }

    fn last(&self, basis: Basis, policies: &[String], now: Instant) -> Option<bool> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, fits) = inner.answers.get(policies)?;
        let counts = inner.basis == basis && now.saturating_duration_since(*at) < COUNTS;
        counts.then_some(*fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_looked_at_again_after_a_change_or_a_second_and_not_before() {
        let fitting = Fitting::default();
        let begun = Instant::now();
        let basis = (Sha256Digest::ZERO, 7);
        let of = |basis: Basis, policy: &str, after: Duration, looked: bool| {
            fitting.of(basis, vec![policy.to_owned()], begun + after, || looked)
        };
        assert!(of(basis, "a", Duration::ZERO, true));
        assert!(of(basis, "a", COUNTS / 2, false), "remembered");
        assert!(!of(basis, "b", COUNTS / 2, false), "of other policies");
        assert!(!of(basis, "a", COUNTS, false), "too old");
        assert!(!of(basis, "a", COUNTS, true), "the last one");
        assert!(of((Sha256Digest::ZERO, 8), "a", COUNTS, true), "changed");
        assert!(of((Sha256Digest::of(b"p"), 8), "b", COUNTS, true));
    }
}
