//! One host as its agent lets it live: a round each interval, and after a failure another try.
//!
//! The same pauses as in the agent's `run.rs`, which this program does without.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use crate::host::random;
use crate::load::Load;
use crate::tally::{Outcome, Round};

/// The pause after a first failure; it doubles with each one after it, up to the interval.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Doublings after which the pause certainly is the interval.
const DOUBLINGS_MAX: u32 = 16;

/// A round, of whom and from when to when.
pub(crate) struct Attested {
    pub(crate) number: usize,
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    pub(crate) round: Round,
}

/// Lives until nobody hears of it any more. It begins somewhere within the first interval, as hosts do that have
/// drifted apart.
pub(crate) async fn live(
    load: Arc<Load>,
    number: usize,
    interval: Duration,
    results: UnboundedSender<Attested>,
) {
    let mut failures = 0;
    let mut wait = interval.mul_f64(chance());
    loop {
        tokio::time::sleep(wait).await;
        let began = Instant::now();
        let round = load.round(number, began).await;
        wait = match round.outcome {
            Outcome::Answered { .. } => {
                failures = 0;
                jittered(interval, chance())
            }
            _ => {
                let wait = pause(interval, failures, round.retry_after, chance());
                failures = failures.saturating_add(1);
                wait
            }
        };
        let attested = Attested {
            number,
            began,
            ended: Instant::now(),
            round,
        };
        if results.send(attested).is_err() {
            return;
        }
    }
}

fn pause(interval: Duration, failures: u32, asked: Option<Duration>, chance: f64) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << failures.min(DOUBLINGS_MAX));
    jittered(doubled.min(interval), chance).max(asked.unwrap_or_default())
}

/// Nine to eleven tenths.
fn jittered(time: Duration, chance: f64) -> Duration {
    time.mul_f64(0.9 + 0.2 * chance)
}

/// From 0 to 1. Without a source of randomness there is no drift.
fn chance() -> f64 {
    let bytes = random::<2>().unwrap_or_default();
    f64::from(u16::from_be_bytes(bytes)) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_slow_down_up_to_the_interval_and_obey_the_attestor() {
        let minute = Duration::from_secs(60);
        let milliseconds = |failures, asked| pause(minute, failures, asked, 0.0).as_millis();
        assert_eq!(milliseconds(0, None), 900);
        assert_eq!(milliseconds(3, None), 7_200);
        assert_eq!(milliseconds(u32::MAX, None), 54_000);
        let asked = Some(Duration::from_secs(300));
        assert_eq!(milliseconds(0, asked), 300_000);
        assert_eq!(jittered(minute, 1.0), Duration::from_secs(66));
    }
}
