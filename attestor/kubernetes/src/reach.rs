//! Whether the API server answers: noted with each answer and each failure, told once when it goes away and once when it
//! is back.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{ClusterError, Trouble, root};

/// For how long nothing but failures makes it away: one request that fails is none.
const AWAY_AFTER: Duration = Duration::from_secs(3);

/// The way to one API server.
pub(crate) struct Reach {
    url: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether it ever answered.
    heard: bool,
    /// Since when all that was asked failed.
    failing: Option<Instant>,
    /// What is told of it.
    told: Option<Trouble>,
}

impl Reach {
    /// Nothing is known yet. `url`: as operators are told.
    pub(crate) fn new(url: String) -> Self {
        Self {
            url,
            state: Mutex::default(),
        }
    }

    /// Whether it answered, and has not gone away since.
    pub(crate) fn is_open(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.heard && state.told.is_none()
    }

    /// Notes that it answered, whatever it said.
    pub(crate) fn answered(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.answered() {
            tracing::info!(
                "the API server at {} answers again: nodes are marked and pods judged as before",
                self.url
            );
        }
    }

    /// Notes an error: the server answered with it, or did not answer.
    pub(crate) fn failed(&self, error: &ClusterError) {
        let Some(trouble) = error.trouble() else {
            return self.answered();
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.failed(trouble, Instant::now()) {
            tracing::error!(
                "the API server at {} is away ({}): until it is back no node is marked, no pod is ended, and pods of a policy \
                 are bound to no node; {}",
                self.url,
                root(error),
                trouble.advice()
            );
        }
    }
}

impl State {
    /// Says whether that is news.
    fn answered(&mut self) -> bool {
        self.heard = true;
        self.failing = None;
        self.told.take().is_some()
    }

    /// The same.
    fn failed(&mut self, trouble: Trouble, now: Instant) -> bool {
        let since = *self.failing.get_or_insert(now);
        let news = self.told != Some(trouble) && now.saturating_duration_since(since) >= AWAY_AFTER;
        if news {
            self.told = Some(trouble);
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_once_that_the_server_went_away_and_once_that_it_is_back() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut state = State::default();
        assert!(!state.answered());
        assert!(!state.failed(Trouble::Silence, at(0)));
        // A single failure among answers is none.
        assert!(!state.answered());
        let told = [1, 2, 4, 5, 60].map(|second| state.failed(Trouble::Silence, at(second)));
        assert_eq!(told, [false, false, true, false, false]);
        // Another trouble is other news.
        assert!(state.failed(Trouble::Credential, at(61)));
        assert!(!state.failed(Trouble::Credential, at(62)));
        assert!(state.answered());
        assert!(!state.answered());
    }

    #[test]
    fn before_it_answered_once_it_is_not_reached() {
        let reach = Reach::new("https://127.0.0.1:6443".to_owned());
        assert!(!reach.is_open());
        reach.failed(&ClusterError::Forbidden(String::new()));
        assert!(reach.is_open(), "who refuses is there");
    }
}
