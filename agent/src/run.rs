//! The daemon: enrols if need be, then attests for ever, through reboots and network loss.

use std::error::Error as StdError;
use std::time::Duration;

use touchstone_evidence::wire::JoinToken;

use crate::attest::{self, Agent};
use crate::enrol::{self, enrol};
use crate::settings::Settings;
use crate::state::{self, Outcome, Records};

/// The pause after a first failure; it doubles with each one after it, up to the interval.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Doublings after which the pause certainly is the interval.
const DOUBLINGS_MAX: u32 = 16;

/// Why the daemon gave up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state folder.
    #[error(transparent)]
    State(#[from] state::Error),

    /// This host cannot be enrolled.
    #[error(transparent)]
    Enrol(#[from] enrol::Error),

    /// This host cannot attest.
    #[error(transparent)]
    Attest(#[from] attest::Error),
}

/// Attests every `interval`, give or take a tenth, until `stop` is done. With a `token` a host that is
/// not enrolled is enrolled first, however long the attestor takes to agree. `report` hears each outcome.
///
/// # Errors
/// What time does not mend: an unusable state folder, a TPM that is not there or has lost its key.
pub async fn run(
    settings: &Settings,
    token: Option<&JoinToken>,
    interval: Duration,
    mut report: impl FnMut(&Outcome),
    stop: impl Future<Output = ()>,
) -> Result<(), Error> {
    let mut stop = std::pin::pin!(stop);
    let mut agent = tokio::select! {
        agent = begin(settings, token, interval) => agent?,
        () = &mut stop => return Ok(()),
    };
    let gave_up = tokio::select! {
        error = rounds(&mut agent, interval, &mut report) => Err(error.into()),
        () = &mut stop => Ok(()),
    };
    agent.close().await;
    gave_up
}

async fn begin(
    settings: &Settings,
    token: Option<&JoinToken>,
    interval: Duration,
) -> Result<Agent, Error> {
    if let Some(token) = token
        && Records::at(&settings.state).identity()?.is_none()
    {
        let mut failures = 0;
        while let Err(error) = enrol(settings, token, false).await {
            if !error.may_pass() {
                return Err(error.into());
            }
            let error: &dyn StdError = &error;
            tracing::warn!(error, "not enrolled yet");
            tokio::time::sleep(pause(interval, failures, None, random())).await;
            failures = failures.saturating_add(1);
        }
    }
    Ok(Agent::open(settings).await?)
}

/// Returns only what time does not mend.
async fn rounds(
    agent: &mut Agent,
    interval: Duration,
    report: &mut impl FnMut(&Outcome),
) -> attest::Error {
    let mut failures = 0;
    loop {
        let wait = match agent.attest().await {
            Ok(outcome) => {
                report(&outcome);
                failures = 0;
                jittered(interval, random())
            }
            Err(error) if error.is_final() => return error,
            Err(error) => {
                let wait = pause(interval, failures, error.retry_after(), random());
                failures = failures.saturating_add(1);
                let error: &dyn StdError = &error;
                tracing::warn!(error, "not attested; trying again in {} s", wait.as_secs());
                wait
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// How long to wait after `failures` earlier failures in a row.
fn pause(interval: Duration, failures: u32, asked: Option<Duration>, random: u8) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << failures.min(DOUBLINGS_MAX));
    jittered(doubled.min(interval), random).max(asked.unwrap_or_default())
}

/// Nine to eleven tenths: hosts that began together drift apart.
fn jittered(time: Duration, random: u8) -> Duration {
    time.mul_f64(0.9 + 0.2 * f64::from(random) / 255.0)
}

/// Without a source of randomness there is no drift, which is no reason to stop.
fn random() -> u8 {
    let mut byte = [0];
    let _ = aws_lc_rs::rand::fill(&mut byte);
    let [byte] = byte;
    byte
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn jitter_stays_within_a_tenth() {
        assert_eq!(jittered(MINUTE, 0), Duration::from_secs(54));
        assert_eq!(jittered(MINUTE, 255), Duration::from_secs(66));
    }

    #[test]
    fn failures_slow_down_up_to_the_interval_and_obey_the_attestor() {
        let seconds = |failures, asked| pause(MINUTE, failures, asked, 0).as_millis();
        assert_eq!(seconds(0, None), 900);
        assert_eq!(seconds(3, None), 7_200);
        assert_eq!(seconds(u32::MAX, None), 54_000);
        assert_eq!(seconds(0, Some(Duration::from_secs(300))), 300_000);
        let short = pause(Duration::from_millis(10), 5, None, 255);
        assert_eq!(short, Duration::from_millis(11));
    }
}
