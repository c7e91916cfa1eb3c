//! Reviews that were not let in: counted, and told once in a while. An API server with an old secret says nothing that its
//! operator finds here, and whoever guesses is to be seen without filling the log.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two lines of the log.
const PAUSE: Duration = Duration::from_secs(60);

/// Who knocked.
#[derive(Default)]
pub(crate) struct Strangers(Mutex<Told>);

#[derive(Default)]
struct Told {
    at: Option<Instant>,
    /// How many came since.
    since: u64,
}

impl Strangers {
    /// Notes one. `why`: what it showed.
    pub(crate) fn note(&self, why: &str) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = told.note(Instant::now()) {
            tracing::warn!(
                count,
                "reviews were not let in: {why}; if that is your API server, apply the webhooks again with the URL of \
                 `operator.json` (docs/operators/clusters.md)"
            );
        }
    }
}

impl Told {
    /// How many are to be told of now.
    fn note(&mut self, now: Instant) -> Option<u64> {
        self.since = self.since.saturating_add(1);
        let soon = |at: Instant| now.saturating_duration_since(at) < PAUSE;
        if self.at.is_some_and(soon) {
            return None;
        }
        self.at = Some(now);
        Some(std::mem::take(&mut self.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_those_after_it_together() {
        let begin = Instant::now();
        let mut told = Told::default();
        let counts = [0, 1, 59, 60, 61].map(|at| told.note(begin + Duration::from_secs(at)));
        assert_eq!(counts, [Some(1), None, None, Some(3), None]);
    }
}
