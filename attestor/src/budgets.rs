//! How much evidence a host may send. What is accepted is kept for good, so a host pays for each message
//! whatever becomes of it, also for what it costs to look at it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use touchstone_evidence::host_id::HostId;

/// Most bytes that a host may send at once: the longest runtime list that is replayed (64 MiB, a third more as
/// it stands in messages), and some boots with their logs.
const BURST: u64 = 128 << 20;
/// Bytes that it gets back each second, 338 MiB a day: a steady round has a few thousand.
const PER_SECOND: u64 = 4 << 10;
/// What a message costs besides its bytes: the entry and the result that it may bring, with as much text in their
/// findings as there may be.
const MESSAGE: u64 = 16 << 10;

/// Most bodies of one host that are on their way at once: of a round, and of one that was given up.
const COMING_MAX: usize = 4;

/// What each host has spent since the start of this process.
#[derive(Default)]
pub(crate) struct Budgets {
    inner: Mutex<HashMap<HostId, Spent>>,
    coming: Mutex<HashMap<HostId, usize>>,
}

/// A body that is on its way; it counts until this is dropped.
pub(crate) struct Coming<'a> {
    budgets: &'a Budgets,
    host: HostId,
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        let mut coming = lock(&self.budgets.coming);
        if let Some(count) = coming.get_mut(&self.host) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                coming.remove(&self.host);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Default)]
struct Spent {
    /// Not yet got back at `at`.
    bytes: u64,
    /// Seconds since 1970.
    at: i64,
}

impl Spent {
    /// What it has not got back at `now`. A clock that is set back gives nothing back.
    fn left(&self, now: i64) -> u64 {
        let passed = u64::try_from(now.saturating_sub(self.at)).unwrap_or_default();
        self.bytes.saturating_sub(passed.saturating_mul(PER_SECOND))
    }
}

impl Budgets {
    /// Lets another body of `host` come; `None`: enough of them do.
    pub(crate) fn coming(&self, host: &HostId) -> Option<Coming<'_>> {
        let mut coming = lock(&self.coming);
        let count = coming.entry(host.clone()).or_default();
        if *count >= COMING_MAX {
            return None;
        }
        *count = count.saturating_add(1);
        Some(Coming {
            budgets: self,
            host: host.clone(),
        })
    }

    /// Forgets who got everything back: at `now` such a host is as one that never sent.
    pub(crate) fn forget(&self, now: i64) {
        lock(&self.inner).retain(|_, spent| spent.left(now) > 0);
    }

    /// Takes a message of `length` bytes off what `host` may send. Nothing is taken where that is too
    /// little; then the error is the seconds after which it suffices.
    pub(crate) fn spend(&self, host: &HostId, length: usize, now: i64) -> Result<(), u64> {
        let cost = u64::try_from(length)
            .unwrap_or(u64::MAX)
            .saturating_add(MESSAGE);
        let mut hosts = lock(&self.inner);
        let spent = hosts.entry(host.clone()).or_default();
        spent.bytes = spent.left(now);
        spent.at = now;
        match spent.bytes.saturating_add(cost).checked_sub(BURST) {
            None | Some(0) => {
                spent.bytes = spent.bytes.saturating_add(cost);
                Ok(())
            }
            Some(missing) => Err(missing.div_ceil(PER_SECOND)),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn a_host_gets_back_what_it_spent_with_time_and_no_other_pays_for_it() {
        let budgets = Budgets::default();
        let [one, other] = ["de-1", "de-2"].map(|name| name.parse::<HostId>().unwrap());
        let part = usize::try_from(BURST / 8 - MESSAGE).unwrap();
        for _ in 0..8 {
            assert_eq!(budgets.spend(&one, part, 1000), Ok(()));
        }
        // One byte waits as long as the message that goes with it.
        assert_eq!(budgets.spend(&one, 1, 1000), Err(5));
        assert_eq!(budgets.spend(&one, part, 1000), Err(4096));
        assert_eq!(budgets.spend(&other, part, 1000), Ok(()));
        assert_eq!(budgets.spend(&one, 1, 1004), Err(1));
        assert_eq!(budgets.spend(&one, 1, 1005), Ok(()));
        assert_eq!(budgets.spend(&one, 1, 500), Err(4));
        // More than everything never fits, and never takes.
        let all = usize::try_from(BURST).unwrap();
        assert_eq!(budgets.spend(&other, all, i64::MAX), Err(4));
        assert_eq!(budgets.spend(&other, part, i64::MAX), Ok(()));
    }

    #[test]
    fn few_bodies_of_a_host_come_at_once() {
        let budgets = Budgets::default();
        let [one, other] = ["de-1", "de-2"].map(|name| name.parse::<HostId>().unwrap());
        let mut bodies: Vec<_> = (0..COMING_MAX)
            .map(|_| budgets.coming(&one).unwrap())
            .collect();
        assert!(budgets.coming(&one).is_none());
        assert!(budgets.coming(&other).is_some());
        bodies.pop();
        assert!(budgets.coming(&one).is_some());
        bodies.clear();
        assert!(lock(&budgets.coming).is_empty());
    }

    #[test]
    fn a_host_that_attests_each_minute_never_waits() {
        let (budgets, host) = (Budgets::default(), "de-1".parse().unwrap());
        // A boot of the longest log and a list of eight parts, then a week of rounds with what ran.
        for _ in 0..9 {
            assert_eq!(budgets.spend(&host, 3 << 20, 0), Ok(()));
        }
        for round in 1..10_000 {
            assert_eq!(budgets.spend(&host, 100 << 10, round * 60), Ok(()));
        }
    }

    #[test]
    fn who_got_everything_back_takes_no_room() {
        let budgets = Budgets::default();
        let host: HostId = "de-1".parse().unwrap();
        assert_eq!(budgets.spend(&host, 0, 1000), Ok(()));
        let seconds = i64::try_from(MESSAGE / PER_SECOND).unwrap();
        budgets.forget(1000 + seconds - 1);
        assert_eq!(lock(&budgets.inner).len(), 1);
        budgets.forget(1000 + seconds);
        assert!(lock(&budgets.inner).is_empty());
    }
}
