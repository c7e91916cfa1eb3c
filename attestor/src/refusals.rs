//! Refused messages: counted, and summarised in at most one entry a minute, so that a stranger can
//! neither fill the log nor go unseen.

mod folded;
mod strangers;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::attestor::Attestor;
use crate::audit::{Actor, Entry, Event};
use crate::clock;
pub(crate) use folded::{Folded, FoldedRefusals, RefusalKind};
pub(crate) use strangers::{Stranger, Strangers};

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

    /// What was counted since the last summary, whenever that was; `None`: nothing.
    fn rest(&self, now: i64) -> Option<BTreeMap<String, u64>> {
        let mut counted = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.counts.is_empty() {
            return None;
        }
        counted.last_entry = now;
        Some(std::mem::take(&mut counted.counts))
    }

    /// Counts again what could not be written.
    fn put_back(&self, counts: BTreeMap<String, u64>) {
        let mut counted = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        for (code, more) in counts {
            let count = counted.counts.entry(code).or_default();
            *count = count.saturating_add(more);
        }
    }
}

impl Attestor {
    /// Notes that a message was refused for `code`. The refusal stands whether or not the entry can
    /// be written.
    pub(crate) async fn note_refusal(&self, code: &str) {
        self.metrics.refusal(code);
        if let Some(counts) = self.refusals.count(code, clock::now()) {
            self.record_refusals(counts).await;
        }
    }

    /// Writes down what was counted and waits for its summary: a flood must not go unseen because nothing
    /// followed it. So too of pods, and in the log of whoever was not let in.
    pub(crate) async fn flush_refusals(&self) {
        self.strangers.flush();
        self.flush_folded().await;
        if let Some(counts) = self.refusals.rest(clock::now()) {
            self.record_refusals(counts).await;
        }
    }

    async fn record_refusals(&self, counts: BTreeMap<String, u64>) {
        let event = Event::Refused {
            counts: counts.clone(),
        };
        let written = async {
            let entry = Entry::new(&event, &Actor::Attestor, clock::now())?;
            self.commits.entry(entry).await
        };
        if let Err(error) = written.await {
            self.refusals.put_back(counts);
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "refusals were not recorded");
        }
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

    #[test]
    fn what_nothing_follows_is_not_forgotten() {
        let refusals = Refusals::default();
        assert_eq!(refusals.rest(999), None);
        refusals.count("a", 1000);
        assert_eq!(refusals.count("a", 1001), None);
        let rest = refusals.rest(1002).unwrap_or_default();
        assert_eq!(rest["a"], 1);
        // It could not be written.
        refusals.put_back(rest);
        assert_eq!(refusals.count("a", 1003), None);
        assert_eq!(refusals.rest(1004).unwrap_or_default()["a"], 2);
        assert_eq!(refusals.rest(1005), None);
    }
}
