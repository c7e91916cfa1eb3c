//! The only place that reads clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Seconds since 1970; 0 where the clock stands before that.
pub(crate) fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or(0)
}

/// How long the machine has been suspended since it booted (clock_gettime(2): only CLOCK_BOOTTIME goes on).
pub(crate) fn asleep() -> Duration {
    let awake = milliseconds(clock_gettime(ClockId::Monotonic));
    let all = milliseconds(clock_gettime(ClockId::Boottime));
    Duration::from_millis(u64::try_from(all.saturating_sub(awake)).unwrap_or(0))
}

/// How far the wall clock is ahead of the monotonic one, milliseconds: constant but for steps and sleep.
pub(crate) fn ahead() -> i64 {
    let steady = milliseconds(clock_gettime(ClockId::Monotonic));
    milliseconds(clock_gettime(ClockId::Realtime)).saturating_sub(steady)
}

fn milliseconds(time: Timespec) -> i64 {
    time.tv_sec
        .saturating_mul(1000)
        .saturating_add(time.tv_nsec / 1_000_000)
}
