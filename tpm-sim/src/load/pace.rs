//! When things are due: evenly spread over a time, each at its own moment, whatever became of those before.

use std::thread;
use std::time::{Duration, Instant};

/// Calls `each` with its number when a turn is due, on a thread of its own: timers of the runtime are a millisecond
/// coarse, which is as long as a round takes.
pub(crate) fn start(
    began: Instant,
    rate: f64,
    duration: Duration,
    each: impl Fn(usize, Instant) + Send + 'static,
) {
    thread::spawn(move || {
        for (turn, after) in moments(rate, duration).enumerate() {
            let due = began + after;
            if let Some(wait) = due.checked_duration_since(Instant::now()) {
                thread::sleep(wait);
            }
            each(turn, due);
        }
    });
}

/// How many turns there are.
pub(crate) fn turns(rate: f64, duration: Duration) -> u64 {
    (rate * duration.as_secs_f64()).floor() as u64
}

/// After what time each is due.
fn moments(rate: f64, duration: Duration) -> impl Iterator<Item = Duration> {
    (0..turns(rate, duration)).map(move |turn| Duration::from_secs_f64(turn as f64 / rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_spread_evenly_over_the_duration() {
        let moments: Vec<Duration> = moments(4.0, Duration::from_secs(2)).collect();
        assert_eq!(moments.len(), 8);
        assert_eq!(moments[0], Duration::ZERO);
        for pair in moments.windows(2) {
            assert_eq!(pair[1] - pair[0], Duration::from_millis(250));
        }
        assert_eq!(super::moments(0.3, Duration::from_secs(2)).count(), 0);
    }
}
