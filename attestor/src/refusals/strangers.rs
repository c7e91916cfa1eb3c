//! Reviews that were not let in: counted, and told once in a while, by what they showed. An API server with an old secret says
//! nothing that its operator finds here, and whoever guesses is to be seen without filling the log.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two lines of the log about the same.
const PAUSE: Duration = Duration::from_secs(60);

/// What somebody showed who was not let in.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Stranger {
    /// A TLS key that may not call the webhook.
    Key,
    /// Another secret at the end of the path.
    Secret,
}

impl Stranger {
    fn told(self) -> &'static str {
        match self {
            Self::Key => {
                "a TLS key that no `--webhook-caller` names; if that is your API server, name its key so, or take its client \
                 certificate away and let it call the URL of `operator.json` or `cluster.json`"
            }
            Self::Secret => {
                "another secret at the end of the path; if that is your API server, apply the webhooks again with the URL of \
                 `operator.json` or `cluster.json`"
            }
        }
    }
}

/// Who knocked.
#[derive(Default)]
pub(crate) struct Strangers(Mutex<BTreeMap<Stranger, Told>>);

#[derive(Default)]
struct Told {
    at: Option<Instant>,
    /// How many came since.
    since: u64,
}

impl Strangers {
    /// Notes one.
    pub(crate) fn note(&self, stranger: Stranger) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = all.entry(stranger).or_default();
        if let Some(count) = told.note(Instant::now()) {
            tell(stranger, count);
        }
    }

    /// Tells of those that nobody came after.
    pub(super) fn flush(&self) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (stranger, told) in all.iter_mut() {
            if let Some(count) = told.rest(Instant::now()) {
                tell(*stranger, count);
            }
        }
    }
}

fn tell(stranger: Stranger, count: u64) {
    let why = stranger.told();
    tracing::warn!(
        count,
        "reviews were not let in: {why} (docs/operators/clusters.md)"
    );
}

impl Told {
    /// How many are to be told of now.
    fn note(&mut self, now: Instant) -> Option<u64> {
        self.since = self.since.saturating_add(1);
        let soon = |at: Instant| now.saturating_duration_since(at) < PAUSE;
        match self.at.is_some_and(soon) {
            true => None,
            false => self.rest(now),
        }
    }

    /// How many were not told of, whenever that was; `None`: all were.
    fn rest(&mut self, now: Instant) -> Option<u64> {
        let rest = std::mem::take(&mut self.since);
        if rest == 0 {
            return None;
        }
        self.at = Some(now);
        Some(rest)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_those_after_it_together_or_with_the_rest() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut told = Told::default();
        let counts = [0, 1, 59, 60, 61].map(|seconds| told.note(at(seconds)));
        assert_eq!(counts, [Some(1), None, None, Some(3), None]);
        assert_eq!(told.rest(at(62)), Some(1));
        assert_eq!(told.rest(at(63)), None);
        assert_eq!(told.note(at(121)), None, "told a moment ago");
    }

    #[test]
    fn whoever_shows_something_else_is_told_of_apart_and_nobody_is_left_out() {
        let strangers = Strangers::default();
        for stranger in [Stranger::Secret, Stranger::Secret, Stranger::Key] {
            strangers.note(stranger);
        }
        let waiting = || -> Vec<u64> {
            let all = strangers.0.lock().unwrap();
            all.values().map(|told| told.since).collect()
        };
        assert_eq!(waiting(), [0, 1]);
        strangers.flush();
        assert_eq!(waiting(), [0, 0]);
        assert_ne!(Stranger::Key.told(), Stranger::Secret.told());
    }
}
