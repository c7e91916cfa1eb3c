//! Refused messages: counted, and summarised in at most one entry a minute, so that a stranger can
//! neither fill the log nor go unseen.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::attestor::Attestor;
use crate::audit::{Actor, Entry, Event};
use crate::clock;
use crate::store::StoreError;

/// Seconds between two summaries.
const PAUSE: i64 = 60;

/// Counts since the last summary.
#[derive(Default)]
pub(crate) struct Refusals {
    inner: Mutex<Counted>,
}

#[derive(Default)]
struct Counted {
    counts: BTreeMap<String, u64>,
    last_entry: i64,
}

impl Refusals {
    /// Counts one; returns what is due for an entry.
    fn count(&self, code: &str, now: i64) -> Option<BTreeMap<String, u64>> {
        let mut counted = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counted.counts.entry(code.to_owned()).or_default();
        *count = count.saturating_add(1);
        if now.saturating_sub(counted.last_entry) < PAUSE {
            return None;
        }
        counted.last_entry = now;
        Some(std::mem::take(&mut counted.counts))
    }
}

impl Attestor {
    /// Notes that a message was refused for `code`. The refusal stands whether or not the entry can
    /// be written.
    pub(crate) async fn note_refusal(&self, code: &str) {
        let Some(counts) = self.refusals.count(code, clock::now()) else {
            return;
        };
        if let Err(error) = self.record_refusals(counts).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "refusals were not recorded"
            );
        }
    }

    async fn record_refusals(&self, counts: BTreeMap<String, u64>) -> Result<(), StoreError> {
        let mut tx = self.store.write().await?;
        Entry::new(&Event::Refused { counts }, Actor::Attestor, clock::now())?
            .append(&mut tx)
            .await?;
        tx.commit().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_becomes_one_summary_a_minute() {
        let refusals = Refusals::default();
        assert_eq!(refusals.count("a", 1000).map(|counts| counts["a"]), Some(1));
        for _ in 0..500 {
            assert_eq!(refusals.count("a", 1059), None);
        }
        assert_eq!(refusals.count("b", 1059), None);
        let summary = refusals.count("a", 1060).unwrap_or_default();
        assert_eq!((summary["a"], summary["b"]), (501, 1));
    }
}
