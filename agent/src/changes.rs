//! What tells between two rounds that the last one may be out of date: signs that cost next to nothing to
//! read, looked at every few seconds.
//!
//! Invariant: the TPM is not asked and nothing is sent. A sign only brings the next round forward, so a false
//! one costs a round and a missed one an interval.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{boot, clock};

/// How often the signs are looked at.
const LOOK: Duration = Duration::from_secs(3);
/// Time asleep that is no rounding.
const ASLEEP: Duration = Duration::from_secs(1);
/// A step of the wall clock that no slewing makes between two looks.
const STEP_MILLISECONDS: i64 = 5_000;

/// The signs, as they stood at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Signs {
    /// `None` while the file does not read, which the next round will tell of.
    boot_id: Option<[u8; 16]>,
    /// How long the machine has slept since it booted.
    asleep: Duration,
    /// How far the wall clock is ahead of the one that never steps, milliseconds.
    ahead: i64,
}

impl Signs {
    fn read(boot_id: &Path) -> Self {
        Self {
            boot_id: boot::boot_id(boot_id).ok(),
            asleep: clock::asleep(),
            ahead: clock::ahead(),
        }
    }

    /// What is new since `before`, in words for the log.
    fn since(&self, before: &Self) -> Option<&'static str> {
        let other_boot =
            matches!((self.boot_id, before.boot_id), (Some(now), Some(then)) if now != then);
        if other_boot {
            return Some("the boot id is another one");
        }
        if self.asleep.saturating_sub(before.asleep) >= ASLEEP {
            return Some("the machine was asleep");
        }
        let step = self.ahead.saturating_sub(before.ahead);
        (step.saturating_abs() >= STEP_MILLISECONDS)
            .then_some("the clock was set, or the machine stood still")
    }
}

/// Looks out for changes.
#[derive(Debug)]
pub(crate) struct Watch {
    boot_id: PathBuf,
    seen: Signs,
}

impl Watch {
    /// From now on, with the kernel's boot id in this file.
    pub(crate) fn begin(boot_id: &Path) -> Self {
        Self {
            boot_id: boot_id.to_owned(),
            seen: Signs::read(boot_id),
        }
    }

    /// Waits for the next change, and says which. May be dropped and called again.
    pub(crate) async fn change(&mut self) -> &'static str {
        loop {
            tokio::time::sleep(LOOK).await;
            let now = Signs::read(&self.boot_id);
            let change = now.since(&self.seen);
            self.seen = Signs {
                // An id that does not read for a moment is compared with later.
                boot_id: now.boot_id.or(self.seen.boot_id),
                ..now
            };
            if let Some(change) = change {
                return change;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signs() -> Signs {
        Signs {
            boot_id: Some([1; 16]),
            asleep: Duration::from_secs(100),
            ahead: 1_000_000,
        }
    }

    #[test]
    fn sleep_another_boot_and_a_step_of_the_clock_are_changes() {
        let changed = |change: fn(&mut Signs)| {
            let mut now = signs();
            change(&mut now);
            now.since(&signs())
        };
        assert_eq!(changed(|_| ()), None);
        assert!(changed(|now| now.boot_id = Some([2; 16])).is_some());
        assert!(changed(|now| now.asleep += Duration::from_secs(60)).is_some());
        for step in [-60_000, 60_000] {
            let mut now = signs();
            now.ahead += step;
            assert!(now.since(&signs()).is_some(), "{step}");
        }
    }

    #[test]
    fn a_slewing_clock_and_a_file_that_does_not_read_are_none() {
        let slewed = Signs {
            ahead: signs().ahead + 2,
            asleep: signs().asleep + Duration::from_millis(3),
            ..signs()
        };
        assert_eq!(slewed.since(&signs()), None);
        let unread = Signs {
            boot_id: None,
            ..signs()
        };
        assert_eq!(unread.since(&signs()), None);
        assert_eq!(signs().since(&unread), None);
    }
}
