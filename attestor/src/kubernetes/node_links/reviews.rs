//! What came of the last token of each host, for a while: rounds come each minute, and the cluster is asked less often.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;
use touchstone_kubernetes::tokens::ReviewedToken;

/// How long it counts: a pod that is gone is noticed by then.
const COUNTS: Duration = Duration::from_secs(300);
/// Between two questions about one host: a kubelet exchanges its token each hour, and who sends others all the time must
/// not keep the task from the rest.
const PAUSE: Duration = Duration::from_secs(2);

/// One for each host.
pub(super) struct Reviews<T = ReviewedToken> {
    last: HashMap<HostId, Review<T>>,
    /// When what counts no more was last forgotten.
    swept: Option<Instant>,
}

struct Review<T> {
    token: Sha256Digest,
    /// `None`: the token, or the node that it is of, was refused.
    reviewed: Option<T>,
    at: Instant,
}

/// What is remembered about a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Recalled<T> {
    /// The cluster is to be asked.
    Nothing,
    /// It vouched for the token.
    Good(T),
    /// There is nothing to do now.
    Settled,
}

impl<T> Default for Reviews<T> {
    fn default() -> Self {
        Self {
            last: HashMap::new(),
            swept: None,
        }
    }
}

impl<T: Clone> Reviews<T> {
    /// `holds`: whether the node that the cluster named is still among those that are watched.
    pub(super) fn recall(
        &self,
        host: &HostId,
        token: &Sha256Digest,
        holds: impl FnOnce(&T) -> bool,
        now: Instant,
    ) -> Recalled<T> {
        let Some(last) = self.last.get(host) else {
            return Recalled::Nothing;
        };
        let age = now.saturating_duration_since(last.at);
        match &last.reviewed {
            Some(reviewed) if last.token == *token && age < COUNTS && holds(reviewed) => {
                Recalled::Good(reviewed.clone())
            }
            None if last.token == *token && age < COUNTS => Recalled::Settled,
            _ if age < PAUSE => Recalled::Settled,
            _ => Recalled::Nothing,
        }
    }

    /// Remembers what came of a token; `None`: it was refused. What counts no more is forgotten, once in a while: rounds of
    /// all hosts come through here.
    pub(super) fn keep(
        &mut self,
        host: &HostId,
        token: &Sha256Digest,
        reviewed: Option<T>,
        at: Instant,
    ) {
        let token = *token;
        let review = Review {
            token,
            reviewed,
            at,
        };
        let swept = self.swept.get_or_insert(at);
        if at.saturating_duration_since(*swept) >= COUNTS {
            *swept = at;
            self.last
                .retain(|_, last| at.saturating_duration_since(last.at) < COUNTS);
        }
        self.last.insert(host.clone(), review);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;

    const NODE: &str = "n1";

    #[test]
    fn a_token_is_asked_about_again_in_time_and_once_its_node_is_gone() {
        let (host, token) = ("de-1".parse().unwrap(), Sha256Digest::of(b"a"));
        let mut reviews = Reviews::default();
        let begun = Instant::now();
        let recall = |reviews: &Reviews<&'static str>, token: &Sha256Digest, there, after| {
            let holds = |node: &&str| *node == NODE && there;
            reviews.recall(&host, token, holds, begun + after)
        };
        let (soon, later) = (PAUSE / 2, PAUSE * 2);
        assert_eq!(recall(&reviews, &token, true, soon), Recalled::Nothing);
        reviews.keep(&host, &token, Some(NODE), begun);
        assert_eq!(recall(&reviews, &token, true, later), Recalled::Good(NODE));
        assert_eq!(recall(&reviews, &token, false, later), Recalled::Nothing);
        assert_eq!(recall(&reviews, &token, true, COUNTS), Recalled::Nothing);
        let exchanged = Sha256Digest::of(b"b");
        assert_eq!(recall(&reviews, &exchanged, true, later), Recalled::Nothing);
        // Another one each moment.
        assert_eq!(recall(&reviews, &exchanged, true, soon), Recalled::Settled);
        let other = "de-2".parse().unwrap();
        assert_eq!(
            reviews.recall(&other, &token, |_| true, begun),
            Recalled::Nothing
        );
        // Refused: not before it may be otherwise.
        reviews.keep(&host, &token, None, begun);
        assert_eq!(recall(&reviews, &token, true, later), Recalled::Settled);
        assert_eq!(recall(&reviews, &token, true, COUNTS), Recalled::Nothing);
    }

    #[test]
    fn a_host_that_comes_no_more_is_forgotten() {
        let token = Sha256Digest::of(b"a");
        let mut reviews = Reviews::default();
        let begun = Instant::now();
        for (host, after, kept) in [
            ("de-1", Duration::ZERO, 1),
            ("de-2", COUNTS / 2, 2),
            ("de-3", COUNTS, 2),
            // It does not count any more, and is not looked for before there may be many.
            ("de-4", COUNTS * 3 / 2, 3),
            ("de-5", COUNTS * 2, 2),
        ] {
            reviews.keep(&host.parse().unwrap(), &token, Some(NODE), begun + after);
            assert_eq!(reviews.last.len(), kept, "{host}");
        }
        let mut kept: Vec<&str> = reviews.last.keys().map(HostId::as_str).collect();
        kept.sort_unstable();
        assert_eq!(kept, ["de-4", "de-5"]);
    }
}
