//! Turns at the network: few at once for all, and of these no namespace has more than its share. Whoever may create pods
//! in one namespace chooses which registry is asked, and how slow that one is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// Most calls under way.
const AT_ONCE: usize = 16;
/// Most of them for one namespace.
const SHARE: usize = 4;

/// Who may call.
pub(super) struct Turns {
    all: Semaphore,
    /// Of namespaces for which somebody calls or waits.
    shares: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// One call; it ends with the value.
pub(super) struct Turn<'a> {
    _all: SemaphorePermit<'a>,
    _share: OwnedSemaphorePermit,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            all: Semaphore::new(AT_ONCE),
            shares: Mutex::default(),
        }
    }
}

impl Turns {
    /// Waits for a turn; `None`: the attestor ends.
    pub(super) async fn take(&self, namespace: &str) -> Option<Turn<'_>> {
        // The share first: who waits for it keeps nobody else waiting.
        let share = self.share(namespace).acquire_owned().await.ok()?;
        Some(Turn {
            _all: self.all.acquire().await.ok()?,
            _share: share,
        })
    }

    fn share(&self, namespace: &str) -> Arc<Semaphore> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody calls, and nobody waits.
        shares.retain(|_, share| Arc::strong_count(share) > 1);
        let share = shares.entry(namespace.to_owned());
        Arc::clone(share.or_insert_with(|| Arc::new(Semaphore::new(SHARE))))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_namespace_has_its_share_and_leaves_the_others_theirs() {
        let turns = Turns::default();
        let take = |namespace| turns.take(namespace).now_or_never().flatten();
        let mut held: Vec<_> = (0..SHARE).map(|_| take("a").unwrap()).collect();
        assert!(take("a").is_none());
        let others = ["b", "c", "d"];
        held.extend(
            others
                .iter()
                .flat_map(|other| (0..SHARE).map(|_| take(other).unwrap())),
        );
        assert_eq!(held.len(), AT_ONCE);
        assert!(take("e").is_none());
        held.remove(0);
        let _again = take("a").unwrap();
        drop(held);
        let _last = take("a").unwrap();
        assert_eq!(turns.shares.lock().unwrap().len(), 1);
    }
}
