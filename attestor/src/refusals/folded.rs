//! Refusals of pods, as they are written down: each by itself, and where a namespace has too many of them, the rest of a
//! minute in one entry. Whoever may ask for pods in it asks as often as they like, and the log keeps what it gets for ever.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::attestor::Attestor;
use crate::audit::{Actor, Entry, Event};
use crate::clock;

/// Refusals of one namespace that are entries of their own, between two summaries.
const WHOLE_MAX: u32 = 60;
/// Kinds of refusals that a summary tells apart.
const KINDS_MAX: usize = 32;

/// What refusals have in common that are counted together.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) struct RefusalKind {
    /// `CREATE pods`; empty: of whichever kinds there was no more room for.
    pub(crate) operation: String,
    pub(crate) policies: Vec<String>,
    /// Codes.
    pub(crate) refusals: Vec<String>,
}

/// Refusals of one kind that have no entry of their own.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FoldedRefusals {
    #[serde(flatten)]
    pub(crate) kind: RefusalKind,
    pub(crate) count: u64,
}

/// By namespace: what came of it since the last summary.
#[derive(Default)]
pub(crate) struct Folded {
    namespaces: Mutex<HashMap<String, Namespace>>,
}

#[derive(Default)]
struct Namespace {
    whole: u32,
    more: BTreeMap<RefusalKind, u64>,
}

impl Folded {
    /// Counts one; whether it is to be an entry of its own.
    pub(crate) fn is_whole(&self, namespace: &str, kind: &RefusalKind) -> bool {
        let mut namespaces = self
            .namespaces
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let namespace = namespaces.entry(namespace.to_owned()).or_default();
        if namespace.whole < WHOLE_MAX {
            namespace.whole += 1;
            return true;
        }
        namespace.fold(kind, 1);
        false
    }

    /// What was folded since the last time; all begin anew.
    fn take(&self) -> Vec<(String, BTreeMap<RefusalKind, u64>)> {
        let mut namespaces = self
            .namespaces
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let all = std::mem::take(&mut *namespaces).into_iter();
        let folded = all.map(|(name, namespace)| (name, namespace.more));
        folded.filter(|(_, more)| !more.is_empty()).collect()
    }

    /// Counts again what could not be written.
    fn put_back(&self, name: &str, more: &BTreeMap<RefusalKind, u64>) {
        let mut namespaces = self
            .namespaces
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let namespace = namespaces.entry(name.to_owned()).or_default();
        for (kind, count) in more {
            namespace.fold(kind, *count);
        }
    }
}

impl Namespace {
    fn fold(&mut self, kind: &RefusalKind, more: u64) {
        let known = self.more.contains_key(kind) || self.more.len() < KINDS_MAX;
        let kind = match known {
            true => kind.clone(),
            false => RefusalKind::default(),
        };
        let count = self.more.entry(kind).or_default();
        *count = count.saturating_add(more);
    }
}

impl Attestor {
    /// Writes an entry for each namespace that had more refusals than are entries of their own.
    pub(super) async fn flush_folded(&self) {
        for (namespace, more) in self.folded.take() {
            if let Err(error) = self.record_folded(&namespace, &more).await {
                self.folded.put_back(&namespace, &more);
                tracing::error!(error = &*error, "refusals of pods were not recorded");
            }
        }
    }

    async fn record_folded(
        &self,
        namespace: &str,
        more: &BTreeMap<RefusalKind, u64>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let folded = more.iter().map(|(kind, count)| FoldedRefusals {
            kind: kind.clone(),
            count: *count,
        });
        let event = Event::RefusalsFolded {
            cluster: self.cluster.clone(),
            namespace: namespace.to_owned(),
            folded: folded.collect(),
        };
        let entry = Entry::new(&event, &Actor::Attestor, clock::now())?;
        self.commits.entry(entry).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(number: usize) -> RefusalKind {
        RefusalKind {
            operation: "CREATE pods".to_owned(),
            policies: vec!["w".to_owned()],
            refusals: vec![number.to_string()],
        }
    }

    #[test]
    fn a_namespace_that_is_refused_all_the_time_has_so_many_entries_and_one_that_counts_the_rest() {
        let folded = Folded::default();
        for _ in 0..WHOLE_MAX {
            assert!(folded.is_whole("a", &kind(0)));
        }
        for _ in 0..500 {
            assert!(!folded.is_whole("a", &kind(0)));
        }
        assert!(!folded.is_whole("a", &kind(1)));
        assert!(folded.is_whole("b", &kind(0)));
        let taken = folded.take();
        let more = BTreeMap::from([(kind(0), 500), (kind(1), 1)]);
        assert_eq!(taken, [("a".to_owned(), more.clone())]);
        assert!(folded.take().is_empty() && folded.is_whole("a", &kind(0)));
        // It could not be written.
        folded.put_back("a", &more);
        assert_eq!(folded.take(), taken);
    }

    #[test]
    fn however_many_kinds_there_are_a_summary_has_room_for_all_that_it_counts() {
        let folded = Folded::default();
        let count = WHOLE_MAX as usize + 2 * KINDS_MAX;
        let whole = (0..count).filter(|number| folded.is_whole("a", &kind(*number)));
        assert_eq!(whole.count(), WHOLE_MAX as usize);
        let taken = folded.take();
        let more = taken
            .first()
            .map(|(_, more)| more.clone())
            .unwrap_or_default();
        assert_eq!(more.len(), KINDS_MAX + 1);
        assert_eq!(more[&RefusalKind::default()], KINDS_MAX as u64);
    }
}
