//! Named steps of a commit at which a test ends the process without warning. In debug builds only; in others there
//! is nothing here.

/// A step of a commit.
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
}

/// The process ends here if `TOUCHSTONE_KILL_POINT` names this step, as often as it says: `written:3`.
#[cfg(debug_assertions)]
pub(crate) fn pass(step: Step) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    static ARMED: OnceLock<Option<(String, AtomicU64)>> = OnceLock::new();
    let armed = ARMED.get_or_init(|| {
        let text = std::env::var("TOUCHSTONE_KILL_POINT").ok()?;
        let (name, times) = text.split_once(':')?;
        Some((name.to_owned(), AtomicU64::new(times.parse().ok()?)))
    });
    let Some((name, left)) = armed else { return };
    let here = format!("{step:?}").eq_ignore_ascii_case(name);
    if here && left.fetch_sub(1, Ordering::SeqCst) == 1 {
        let _never_returns = kill_process(getpid(), Signal::KILL);
        std::process::abort();
    }
}

/// Nothing.
#[cfg(not(debug_assertions))]
pub(crate) fn pass(_: Step) {}
