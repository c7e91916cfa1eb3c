//! The one place that reads the clock, but for the dates of TLS certificates, which others hold against their own.
//!
//! Invariant: within one process time never falls. What expired stays so, whatever the system's clock is set to; a
//! new process compares it with the log's last entry instead.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Seconds by which a clock may be behind before it counts as set back, and the clocks of two servers on one database
/// may differ.
pub(crate) const TOLERANCE: i64 = 30;

/// When the process first asked.
static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
/// The most by which the system's clock was ever ahead of the time since then, in milliseconds.
static AHEAD: AtomicI64 = AtomicI64::new(i64::MIN);

/// Seconds since 1970. A clock before 1970 reads as 0, where everything has yet to begin: refuse.
pub(crate) fn now() -> i64 {
    let (running, ahead) = read();
    let most = AHEAD.fetch_max(ahead, Ordering::SeqCst).max(ahead);
    running.saturating_add(most) / 1000
}

/// Seconds by which the system's clock was set back since the process began, if more than [`TOLERANCE`].
pub(crate) fn set_back() -> Option<i64> {
    let (_, ahead) = read();
    let most = AHEAD.load(Ordering::SeqCst);
    let seconds = most.saturating_sub(ahead) / 1000;
    (most != i64::MIN && seconds > TOLERANCE).then_some(seconds)
}

/// How long the process has asked for the time, and by how much the system's clock is ahead of that.
fn read() -> (i64, i64) {
    let running = milliseconds(BEGUN.elapsed());
    let system = SystemTime::now().duration_since(UNIX_EPOCH);
    let system = system.map_or(0, milliseconds);
    let system = system.saturating_add(shift()).max(0);
    (running, system.saturating_sub(running))
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// In debug builds, milliseconds by which a test sets the system's clock: what the file says that
/// `TOUCHSTONE_CLOCK_SHIFT` names.
#[cfg(debug_assertions)]
fn shift() -> i64 {
    static FILE: LazyLock<Option<std::ffi::OsString>> =
        LazyLock::new(|| std::env::var_os("TOUCHSTONE_CLOCK_SHIFT"));
    let text = FILE.as_ref().map(std::fs::read_to_string);
    let text = text.and_then(Result::ok);
    text.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// None.
#[cfg(not(debug_assertions))]
fn shift() -> i64 {
    0
}
