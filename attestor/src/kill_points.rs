//! Named steps of a commit, of an exchange of the log's key, and of a location authority's end, at which a test ends
//! the process without warning, or stops it. In debug builds only; in others there is nothing here.

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The transaction has begun.
    Begun,
    /// Everything is written, and nothing is durable.
    Written,
    /// It is durable, and nobody knows.
    Committed,
    /// This process acts by it, and nobody was answered.
    Published,
    /// The log's next key is in its file, and nothing names it.
    KeyMade,
    /// The entry that names it is durable, and the old key has not handed over.
    KeyNamed,
    /// The handover is durable, and the old key is in its file.
    HandedOver,
    /// The old key is overwritten, and the new one is beside its place.
    Overwritten,
    /// A location authority is believed no more, and all of its tags are still current.
    Disbelieved,
    /// Some of them were taken back.
    PageSwept,
}

/// The process ends here if `TOUCHSTONE_KILL_POINT` names this step, as often as it says: `written:3`. With `:stop`
/// after it, it stops there until it is told to go on.
#[cfg(debug_assertions)]
pub(crate) fn pass(step: Step) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    static ARMED: OnceLock<Option<(String, AtomicU64, Signal)>> = OnceLock::new();
    let armed = ARMED.get_or_init(|| {
        let text = std::env::var("TOUCHSTONE_KILL_POINT").ok()?;
        let (name, times) = text.split_once(':')?;
        let (times, signal) = match times.strip_suffix(":stop") {
            Some(times) => (times, Signal::STOP),
            None => (times, Signal::KILL),
        };
        Some((name.to_owned(), AtomicU64::new(times.parse().ok()?), signal))
    });
    let Some((name, left, signal)) = armed else {
        return;
    };
    let here = format!("{step:?}").eq_ignore_ascii_case(name);
    if here && left.fetch_sub(1, Ordering::SeqCst) == 1 {
        let _delivered = kill_process(getpid(), *signal);
        // A stop takes hold of this thread a little later.
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}

/// Nothing.
#[cfg(not(debug_assertions))]
pub(crate) fn pass(_: Step) {}
