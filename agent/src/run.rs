//! The daemon: enrols if need be, then attests for ever, through reboots and network loss.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use touchstone_evidence::wire::JoinToken;

use crate::attest::{self, Agent};
use crate::changes::Watch;
use crate::enrol::{self, enrol};
use crate::keyprovider::KeyProvider;
use crate::purge::Runtimes;
use crate::purge::guard::Guard;
use crate::settings::Settings;
use crate::state::{self, Outcome, Records};
use crate::tpm;
use crate::trouble::{self, Trouble};

/// The pause after a first failure; it doubles with each one after it, up to the interval.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Doublings after which the pause certainly is the interval.
const DOUBLINGS_MAX: u32 = 16;

/// Failures in a row after which a TPM behind tabrmd is looked for by a new process.
const FAILURES_BEHIND_TABRMD: u32 = 5;

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

impl Error {
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Attest(error) => error.retry_after(),
            Self::State(_) | Self::Enrol(_) => None,
        }
    }
}

/// Attests every `interval`, give or take a tenth, and at once when `now` is notified or when something
/// changed that evidence covers, until `stop` is done. With a `token` a host that is not enrolled is enrolled
/// first, however long the attestor takes to agree. `report` hears each outcome. Beside it the key provider is served,
/// where the settings name its socket, and decrypted images are purged from `runtimes` when the verdict turns.
///
/// # Errors
/// What time does not mend, see [`Trouble::ends_the_daemon`](crate::Trouble::ends_the_daemon): an unusable state folder, a TPM that has lost its
/// key. All else is tried again.
pub async fn run(
    settings: &Settings,
    runtimes: &Runtimes,
    token: Option<&JoinToken>,
    interval: Duration,
    mut report: impl FnMut(&Outcome),
    now: &Notify,
    stop: impl Future<Output = ()>,
) -> Result<(), Error> {
    let mut guard = Guard::begin(settings.state.clone(), runtimes.clone());
    let (outcomes, heard) = watch::channel(None);
    let report = |outcome: &Outcome| {
        outcomes.send_replace(Some(outcome.clone()));
        report(outcome);
    };
    let ended = tokio::select! {
        ended = attest_until(settings, token, interval, report, now, stop) => ended,
        never = guard.watch(heard) => match never {},
    };
    if let Err(error) = &ended
        && matches!(Trouble::from(error), Trouble::Ended | Trouble::Tpm)
    {
        guard.give_up("this host attests no more").await;
    }
    ended
}

async fn attest_until(
    settings: &Settings,
    token: Option<&JoinToken>,
    interval: Duration,
    mut report: impl FnMut(&Outcome),
    now: &Notify,
    stop: impl Future<Output = ()>,
) -> Result<(), Error> {
    let mut stop = std::pin::pin!(stop);
    // Before there is an identity: who asks then is told so.
    let keyprovider = KeyProvider::serve(&settings.keyprovider).await;
    let round_due = Arc::new(Notify::new());
    let mut pauses = Pauses {
        interval,
        now,
        round_due: Arc::clone(&round_due),
        watch: Watch::begin(&settings.boot_id),
    };
    let mut agent = tokio::select! {
        agent = begin(settings, token, &mut pauses) => agent?,
        () = &mut stop => return Ok(()),
    };
    keyprovider.open(agent.releases(round_due));
    let gave_up = tokio::select! {
        error = rounds(&mut agent, &settings.tcti, &mut pauses, &mut report) => Err(error),
        () = &mut stop => Ok(()),
    };
    drop(keyprovider);
    agent.close().await;
    gave_up
}

/// Goes on trying until all is there that a round takes.
async fn begin(
    settings: &Settings,
    token: Option<&JoinToken>,
    pauses: &mut Pauses<'_>,
) -> Result<Agent, Error> {
    let mut failures = 0;
    loop {
        let error = match open(settings, token).await {
            Ok(agent) => return Ok(agent),
            Err(error) if trouble::ends_the_daemon(&error) => return Err(error),
            Err(error) => error,
        };
        let wait = pause(pauses.interval, failures, None, random());
        failures = failures.saturating_add(1);
        let error: &dyn StdError = &error;
        tracing::warn!(
            error,
            "not ready; trying again in {:.1} s",
            wait.as_secs_f32()
        );
        pauses.wait(wait).await;
    }
}

async fn open(settings: &Settings, token: Option<&JoinToken>) -> Result<Agent, Error> {
    if let Some(token) = token
        && Records::at(&settings.state).identity()?.is_none()
    {
        enrol(settings, token, false).await?;
    }
    Ok(Agent::open(settings).await?)
}

/// Returns only what time does not mend in this process.
async fn rounds(
    agent: &mut Agent,
    tcti: &str,
    pauses: &mut Pauses<'_>,
    report: &mut impl FnMut(&Outcome),
) -> Error {
    let mut failures = 0;
    loop {
        let wait = match agent.attest().await.map_err(Error::from) {
            Ok(outcome) => {
                report(&outcome);
                if failures > 0 {
                    tracing::info!("attests again, after {failures} rounds that failed");
                }
                failures = 0;
                jittered(pauses.interval, random())
            }
            Err(error) if trouble::ends_the_daemon(&error) => return error,
            Err(error) if is_cut_off(&error, tcti, failures) => return error,
            Err(error) => {
                let wait = pause(pauses.interval, failures, error.retry_after(), random());
                failures = failures.saturating_add(1);
                let error: &dyn StdError = &error;
                tracing::warn!(
                    error,
                    "not attested; trying again in {:.1} s",
                    wait.as_secs_f32()
                );
                wait
            }
        };
        pauses.wait(wait).await;
    }
}

/// Whether this process may have lost the message bus: GLib, on which the TCTI of tabrmd rests, keeps a connection
/// that was closed for as long as the process lives.
fn is_cut_off(error: &Error, tcti: &str, failures: u32) -> bool {
    let unreachable = matches!(
        error,
        Error::Attest(attest::Error::Tpm(tpm::Error::Unreachable { .. }))
    );
    unreachable && failures >= FAILURES_BEHIND_TABRMD && tcti.starts_with("tabrmd")
}

/// What ends a pause between rounds.
struct Pauses<'a> {
    interval: Duration,
    now: &'a Notify,
    /// By a release.
    round_due: Arc<Notify>,
    watch: Watch,
}

impl Pauses<'_> {
    /// Until `wait` is over, or sooner if there is a reason.
    async fn wait(&mut self, wait: Duration) {
        let reason = tokio::select! {
            () = tokio::time::sleep(wait) => return,
            () = self.now.notified() => "asked by SIGHUP",
            () = self.round_due.notified() => "leases are revoked",
            change = self.watch.change() => change,
        };
        tracing::info!(reason, "a round at once");
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
