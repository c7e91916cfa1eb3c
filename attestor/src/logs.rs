//! Boot logs that were parsed, and those that were replayed: shared by all hosts that booted alike, so that a
//! round whose log is unchanged costs neither parsing nor hashing.
//!
//! Only caches: what is not here is read, parsed and replayed again.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use touchstone_evidence::boot_log::{BootLog, QuotedBoot, ReplayError, ReplayedLog};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::quote::VerifiedQuote;

/// Logs and replays that are expected to be there at once: a fleet has few images and many firmwares.
const EXPECTED: usize = 1024;
/// Events that parsed logs may hold together: about 64 MiB.
const EVENTS_MAX: u64 = 256 << 10;

/// Logs that are known to be in the database.
const KEPT_MAX: usize = 16 << 10;

/// The caches.
pub(crate) struct BootLogs {
    parsed: Cache<Sha256Digest, Arc<BootLog>, ByEvents>,
    replayed: Cache<(Sha256Digest, QuotedBoot), Arc<ReplayedLog>, ByEvents>,
    kept: Cache<Sha256Digest, ()>,
}

/// Weighs a log by its events.
#[derive(Clone)]
struct ByEvents;

impl<K> Weighter<K, Arc<BootLog>> for ByEvents {
    fn weight(&self, _: &K, log: &Arc<BootLog>) -> u64 {
        weight(log.events().len())
    }
}

impl<K> Weighter<K, Arc<ReplayedLog>> for ByEvents {
    fn weight(&self, _: &K, log: &Arc<ReplayedLog>) -> u64 {
        weight(log.events().len())
    }
}

fn weight(events: usize) -> u64 {
    u64::try_from(events).unwrap_or(u64::MAX).saturating_add(1)
}

impl Default for BootLogs {
    fn default() -> Self {
        Self {
            parsed: Cache::with_weighter(EXPECTED, EVENTS_MAX, ByEvents),
            replayed: Cache::with_weighter(EXPECTED, EVENTS_MAX, ByEvents),
            kept: Cache::new(KEPT_MAX),
        }
    }
}

impl BootLogs {
    /// The log with this digest, if it was parsed lately.
    pub(crate) fn parsed(&self, digest: &Sha256Digest) -> Option<Arc<BootLog>> {
        self.parsed.get(digest)
    }

    /// Keeps a log that some host's TPM bore out. One that nobody proved must not push others out.
    pub(crate) fn keep(&self, digest: Sha256Digest, log: Arc<BootLog>) {
        self.parsed.insert(digest, log);
    }

    /// Whether the log with this digest was committed to the database.
    pub(crate) fn is_kept(&self, digest: &Sha256Digest) -> bool {
        self.kept.get(digest).is_some()
    }

    /// The log with this digest was committed to the database.
    pub(crate) fn note_kept(&self, digest: Sha256Digest) {
        self.kept.insert(digest, ());
    }

    /// [`ReplayedLog::verify`], or what it came to before.
    pub(crate) fn replay(
        &self,
        digest: Sha256Digest,
        log: &Arc<BootLog>,
        quote: &VerifiedQuote,
    ) -> Result<Arc<ReplayedLog>, ReplayError> {
        let key = (digest, QuotedBoot::of(quote));
        if let Some(replayed) = self.replayed.get(&key) {
            return Ok(replayed);
        }
        let replayed = Arc::new(ReplayedLog::verify(Arc::clone(log), quote)?);
        self.replayed.insert(key, Arc::clone(&replayed));
        Ok(replayed)
    }
}
